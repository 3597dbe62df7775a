//! Hybrids: the first model thinks, the second answers.
//!
//! A request for `hybrid:[A,B]` becomes two, and each goes along a route of its own, through every layer of its
//! providers:
//!
//! 1. The conversation goes to the first model as a stream, without tools, until its [reasoning](reasoning) is complete;
//!    then that stream is dropped, and with it the model's work.
//! 2. The client's own request goes to the second model, with the reasoning put into its messages.
//!
//! A client that asked for a stream sees the reasoning as it comes, then the second model's events with the id of the
//! stream; any other finds it beside the answer. What the first model used is added to the usage. Before the client has
//! seen anything, a failure is a status; after that, it is an event and the end.
//!
//! # Cancellation
//!
//! Nothing is spawned: the future and the body do the work while they are polled, and drop it when they are dropped.

mod answer;
mod conversation;
mod driven;
mod exchange;
mod json;
mod reasoning;
mod response;
mod tags;
#[cfg(test)]
mod tests;
mod thinking;
mod usage;

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use pointsman_layers::{
    body::{ErrorAnswer, ReplayBody},
    route::{Resolved, Route},
};

use self::{conversation::Conversation, exchange::Exchange};
use crate::config;

/// The response body of a hybrid. Boxed: it is one of several, and there are two models behind it.
pub(super) type HybridBody<E> = UnsyncBoxBody<Bytes, E>;

/// The two sides of a hybrid.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    /// To the model that thinks.
    pub(super) reasoning: Arc<Route>,
    /// To the model that answers.
    pub(super) execution: Arc<Route>,
    /// Whether each candidate that may answer takes system messages.
    pub(super) execution_takes_system_messages: bool,
}

/// Answers the requests for hybrids.
#[derive(Debug)]
pub(super) struct Hybrids {
    settings: Arc<config::Hybrid>,
    random: Mutex<fastrand::Rng>,
}

/// What became of the first model's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Reasoned,
    Nothing,
    Skipped,
    Failed,
}

impl Outcome {
    /// Says so on a response.
    fn on<B>(self, mut response: Response<B>) -> Response<B> {
        const HYBRID: HeaderName = HeaderName::from_static("x-pointsman-hybrid");
        let word = match self {
            Self::Reasoned => "reasoned",
            Self::Nothing => "no-reasoning",
            Self::Skipped => "reasoning-skipped",
            Self::Failed => "reasoning-failed",
        };
        response.headers_mut().insert(HYBRID, HeaderValue::from_static(word));
        response
    }
}

impl Hybrids {
    /// Hybrids as they are configured. `random` decides whether the first model reasons, where that is left to chance.
    pub(super) fn new(settings: config::Hybrid, random: fastrand::Rng) -> Self {
        Self { settings: Arc::new(settings), random: Mutex::new(random) }
    }

    /// Answers a request; `send` takes one along a route.
    pub(super) async fn answer<F, A, B>(
        self: Arc<Self>,
        send: F,
        request: Request<ReplayBody>,
        sides: Sides,
    ) -> Response<HybridBody<B::Error>>
    where
        F: Fn(Request<ReplayBody>, Resolved) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<B>, Infallible>> + Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: fmt::Display + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let answer = match self.read(&head, &body) {
            Ok((conversation, reasons)) => {
                let (settings, id) = (Arc::clone(&self.settings), self.stream_id());
                let exchange = Exchange { settings, send, head, conversation, sides, id };
                if reasons { exchange.run().await } else { exchange.without_reasoning().await }
            }
            Err(answer) => Err(answer),
        };
        answer.unwrap_or_else(|answer| answer.into_response::<HybridBody<B::Error>>().map(BodyExt::boxed_unsync))
    }

    /// The conversation of a request, and whether the first model is to reason about it.
    fn read(&self, head: &http::request::Parts, body: &ReplayBody) -> Result<(Conversation, bool), ErrorAnswer> {
        let refused = |code, message| Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, code, message).param("model"));
        if self.settings.disable_hybrid_backend {
            return refused("hybrid_disabled", "hybrids are disabled here; ask for one of the models");
        }
        if !head.uri.path().ends_with("/chat/completions") {
            return refused("hybrid_unsupported", "a hybrid answers chat completions alone: /v1/chat/completions");
        }
        let conversation = Conversation::read(body)?;
        let reasons = self.reasons(&conversation);
        Ok((conversation, reasons))
    }

    fn reasons(&self, conversation: &Conversation) -> bool {
        let settings = &self.settings;
        let probability = settings.reasoning_injection_probability;
        if probability == 0.0 || (conversation.ends_with_tool_result() && !settings.hybrid_reason_on_tool_turns) {
            return false;
        }
        conversation.turns() < settings.hybrid_reasoning_force_initial_turns
            || self.random(|random| random.f64() < probability)
    }

    fn stream_id(&self) -> String {
        format!("chatcmpl-{:016x}", self.random(|random| random.u64(..)))
    }

    fn random<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
