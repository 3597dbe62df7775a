use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{QuotaFuture, QuotaHandle};

/// The service of [`QuotaLayer`](super::QuotaLayer); see the [module docs](super).
#[derive(Clone, Debug)]
pub struct Quota<S> {
    inner: S,
    handle: Option<QuotaHandle>,
}

impl<S> Quota<S> {
    pub(super) fn new(inner: S, handle: Option<QuotaHandle>) -> Self {
        Self { inner, handle }
    }

    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for Quota<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = QuotaFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> QuotaFuture<S::Future> {
        if let Some(handle) = &self.handle {
            request.extensions_mut().insert(handle.clone());
        }
        QuotaFuture::new(self.inner.call(request), self.handle.clone())
    }
}
