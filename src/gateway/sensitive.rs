use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

/// Marks what clients authenticate with, so that nothing prints it.
///
/// tower-http's layer makes room for each header that it looks for, in every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct SensitiveLayer;

impl<S> Layer<S> for SensitiveLayer {
    type Service = MarkSensitive<S>;

    fn layer(&self, inner: S) -> MarkSensitive<S> {
        MarkSensitive { inner }
    }
}

/// The service of [`SensitiveLayer`].
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkSensitive<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for MarkSensitive<S>
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
        for (name, value) in request.headers_mut() {
            // Compared as text, whose length tells most of them apart.
            if matches!(name.as_str(), "authorization" | "cookie" | "x-api-key" | "api-key") {
                value.set_sensitive(true);
            }
        }
        self.inner.call(request)
    }
}
