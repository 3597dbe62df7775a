use std::task::{Context, Poll};

use http::{
    Request,
    header::{self, Entry},
};
use tower_layer::Layer;
use tower_service::Service;

use super::client_keys;

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
        // Looked up, as far more headers are there than these.
        for name in [header::AUTHORIZATION, header::COOKIE, client_keys::X_API_KEY, client_keys::API_KEY] {
            if request.headers().contains_key(&name)
                && let Entry::Occupied(mut values) = request.headers_mut().entry(name)
            {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        self.inner.call(request)
    }
}
