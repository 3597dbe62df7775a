//! The contract that every layer keeps, as laws that any layer can be held to.
//!
//! A law puts a [`Row`]'s layer around a [`Probe`] and looks at what the probe sees and what comes out on top. It knows
//! nothing else of the layer: a new one is a new row.

mod laws;
mod probe;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pointsman_layers::body::ReplayBody;
use tower_layer::Layer;
use tower_service::Service;

use self::probe::{Plan, Seen};
pub use self::{
    laws::*,
    probe::{Probe, ProbeBody, ProbeError},
};

/// What a layer makes of a [`Probe`]. The bounds are the law that a service is `Send + Sync + Clone`, its future `Send`,
/// and that the errors are those of the inner service.
pub trait Subject:
    Service<Request<ReplayBody>, Response = Response<Self::Body>, Error = ProbeError, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error = ProbeError> + Send + 'static;
}

impl<S, B> Subject for S
where
    S: Service<Request<ReplayBody>, Response = Response<B>, Error = ProbeError, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error = ProbeError> + Send + 'static,
{
    type Body = B;
}

/// What a layer does with an error of the service inside.
#[derive(Clone, Copy, Debug)]
pub enum Errors {
    /// Passes it on as it is. What most layers do.
    PassThrough,
    /// Makes a response of it, and of the error of a stream's body an event.
    Answer,
}

/// A layer under test, and a request that it lets pass.
#[derive(Clone, Debug)]
pub struct Row<L> {
    layer: L,
    request: fn() -> Request<ReplayBody>,
    errors: Errors,
}

impl<L> Row<L> {
    /// A layer that lets a chat completion for `some-model` pass, and passes errors through.
    pub fn new(layer: L) -> Self {
        Self { layer, request: chat, errors: Errors::PassThrough }
    }

    /// Another request, for a layer that would not let the usual one pass.
    #[must_use]
    pub fn request(mut self, request: fn() -> Request<ReplayBody>) -> Self {
        self.request = request;
        self
    }

    /// What the layer does with an error of the service inside.
    #[must_use]
    pub fn errors(mut self, errors: Errors) -> Self {
        self.errors = errors;
        self
    }
}

impl<L> Row<L>
where
    L: Layer<Probe, Service: Subject>,
{
    /// The layer around a probe, and what the probe sees.
    fn around(&self, plan: Plan) -> (L::Service, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (self.layer.layer(Probe::new(plan, seen.clone())), seen)
    }
}

/// A chat completion for `some-model`.
pub fn chat() -> Request<ReplayBody> {
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(r#"{"model":"some-model","stream":true,"messages":[{"role":"user","content":"hello"}]}"#.into())
        .expect("a request of constants")
}
