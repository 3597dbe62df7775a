use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{PeekedBody, RateLimitRetryFuture, layer::Settings};
use crate::body::AnswerBody;

/// The service of [`RateLimitRetryLayer`](super::RateLimitRetryLayer); see the [module docs](super).
#[derive(Clone, Debug)]
pub struct RateLimitRetry<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> RateLimitRetry<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for RateLimitRetry<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Clone,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<AnswerBody<PeekedBody<R>>>;
    type Error = S::Error;
    type Future = RateLimitRetryFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> RateLimitRetryFuture<S, B, R> {
        // The instance that was polled ready goes with the future; a fresh clone stays.
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        RateLimitRetryFuture::new(ready, request, Arc::clone(&self.settings))
    }
}
