use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{FirstEventBody, FirstEventFuture};
use crate::{
    body::AnswerBody,
    ext::{AssumeBroken, Candidate, ClassifyFailure, Commit},
};

/// The service of [`FirstEventLayer`](crate::first_event::FirstEventLayer); see the [module docs](crate::first_event).
#[derive(Clone, Copy, Debug)]
pub struct FirstEvent<S, C = AssumeBroken> {
    inner: S,
    hold_limit: usize,
    classify: C,
}

impl<S, C> FirstEvent<S, C> {
    pub(super) fn new(inner: S, hold_limit: usize, classify: C) -> Self {
        Self { inner, hold_limit, classify }
    }

    inner_service_accessors!();
}

impl<S, B, R, C> Service<Request<B>> for FirstEvent<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes> + Unpin,
    C: ClassifyFailure<R::Error> + Clone,
{
    type Response = Response<AnswerBody<FirstEventBody<R>>>;
    type Error = S::Error;
    type Future = FirstEventFuture<S::Future, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The answer to a HEAD has nothing to wait for, and a route may want its answers as soon as their head is there.
        let commit = request.extensions().get::<Candidate>().map(|candidate| candidate.commit);
        let passes = request.method() == Method::HEAD || commit == Some(Commit::Headers);
        FirstEventFuture::new(self.inner.call(request), passes, self.hold_limit, self.classify.clone())
    }
}
