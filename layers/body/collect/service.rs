use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::CollectFuture;
use crate::body::{AnswerBody, ReplayBody};

/// The service of [`CollectLayer`](crate::body::CollectLayer); see there.
#[derive(Clone, Copy, Debug)]
pub struct Collect<S> {
    inner: S,
    limit: usize,
    frame_timeout: Option<Duration>,
}

impl<S> Collect<S> {
    pub(super) fn new(inner: S, limit: usize, frame_timeout: Option<Duration>) -> Self {
        Self { inner, limit, frame_timeout }
    }

    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for Collect<S>
where
    S: Service<Request<ReplayBody>, Response = Response<R>> + Clone,
    B: Body,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = CollectFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> CollectFuture<S, B> {
        // The instance that was polled ready goes with the future; a fresh clone stays.
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        CollectFuture::new(ready, request, self.limit, self.frame_timeout)
    }
}
