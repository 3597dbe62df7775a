use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{LimitRetriesFuture, RetryBudget};
use crate::{body::AnswerBody, ext::Retries};

/// The service of [`CountRequestsLayer`](super::CountRequestsLayer); see the [module docs](super).
#[derive(Clone, Debug)]
pub struct CountRequests<S> {
    inner: S,
    budget: RetryBudget,
}

/// The service of [`LimitRetriesLayer`](super::LimitRetriesLayer); see the [module docs](super).
#[derive(Clone, Debug)]
pub struct LimitRetries<S> {
    inner: S,
}

impl<S> CountRequests<S> {
    pub(super) fn new(inner: S, budget: RetryBudget) -> Self {
        Self { inner, budget }
    }

    inner_service_accessors!();
}

impl<S> LimitRetries<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }

    inner_service_accessors!();
}

impl<S, B> Service<Request<B>> for CountRequests<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.budget.pay_in();
        let budget = self.budget.clone();
        request.extensions_mut().insert(Retries::new(move || budget.take()));
        self.inner.call(request)
    }
}

impl<S, B, R> Service<Request<B>> for LimitRetries<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = LimitRetriesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> LimitRetriesFuture<S::Future> {
        if !request.extensions().get::<Retries>().is_none_or(Retries::send) {
            return LimitRetriesFuture::refused();
        }
        LimitRetriesFuture::calling(self.inner.call(request))
    }
}
