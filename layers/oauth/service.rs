use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{OAuthFuture, TokenSource, headers::TokenHeaders};
use crate::body::{AnswerBody, ReplayBody};

/// The service of [`OAuthLayer`](super::OAuthLayer); see the [module docs](super).
pub struct OAuth<S, T> {
    inner: S,
    source: Option<Arc<T>>,
    headers: Arc<TokenHeaders>,
}

impl<S, T> OAuth<S, T> {
    pub(super) fn new(inner: S, source: Option<Arc<T>>, headers: Arc<TokenHeaders>) -> Self {
        Self { inner, source, headers }
    }

    inner_service_accessors!();
}

impl<S: Clone, T> Clone for OAuth<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), source: self.source.clone(), headers: Arc::clone(&self.headers) }
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for OAuth<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth").field("inner", &self.inner).field("source", &self.source).finish_non_exhaustive()
    }
}

impl<S, T, B> Service<Request<ReplayBody>> for OAuth<S, T>
where
    S: Service<Request<ReplayBody>, Response = Response<B>> + Clone,
    T: TokenSource,
{
    type Response = Response<AnswerBody<B>>;
    type Error = S::Error;
    type Future = OAuthFuture<S, T, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReplayBody>) -> OAuthFuture<S, T, B> {
        let Some(source) = &self.source else { return OAuthFuture::passing(self.inner.call(request)) };
        // The instance that was polled ready goes with the future, which may need it a second time.
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        OAuthFuture::new(ready, request, Arc::clone(source), Arc::clone(&self.headers))
    }
}
