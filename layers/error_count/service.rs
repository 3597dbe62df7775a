use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{ErrorCountFuture, ErrorCountHandle, ErrorReport, state::Tally};
use crate::{body::ReportBody, ext::Candidate};

/// The service of [`ErrorCountLayer`](super::ErrorCountLayer); see the [module docs](super).
#[derive(Clone, Debug)]
pub struct ErrorCount<S> {
    inner: S,
    tally: Arc<Tally>,
}

impl<S> ErrorCount<S> {
    pub(super) fn new(inner: S, tally: Arc<Tally>) -> Self {
        Self { inner, tally }
    }

    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for ErrorCount<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<ReportBody<R, ErrorReport>>;
    type Error = S::Error;
    type Future = ErrorCountFuture<S::Future>;

    /// An error here ends the attempt as one of the call would, so it counts too.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            self.tally.window.record();
            error
        })
    }

    fn call(&mut self, mut request: Request<B>) -> ErrorCountFuture<S::Future> {
        let deadline = request.extensions().get::<Candidate>().and_then(|candidate| candidate.deadline);
        request.extensions_mut().insert(ErrorCountHandle::new(Arc::clone(&self.tally.window)));
        ErrorCountFuture::new(self.inner.call(request), Arc::clone(&self.tally), deadline)
    }
}
