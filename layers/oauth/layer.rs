use std::{fmt, sync::Arc};

use http::{HeaderName, HeaderValue, header};
use tower_layer::Layer;

use super::{OAuth, headers::TokenHeaders};

/// Puts a credential on each request and renews it when it is refused; see the [module docs](super).
pub struct OAuthLayer<T> {
    source: Option<Arc<T>>,
    token_header: (HeaderName, HeaderValue),
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl<T> OAuthLayer<T> {
    /// Sends the tokens of `source` as `Authorization: Bearer …`.
    pub fn new(source: T) -> Self {
        Self::optional(Some(source))
    }

    /// The same, where there may be no source: requests then pass untouched.
    pub fn optional(source: Option<T>) -> Self {
        let token_header = (header::AUTHORIZATION, HeaderValue::from_static("Bearer {token}"));
        Self { source: source.map(Arc::new), token_header, headers: Vec::new() }
    }

    /// Sends the token in this header instead. `{token}` in the value stands for it: `token {token}` is GitHub's form,
    /// and `{token}` alone is a bare key. The client's own `Authorization` goes in any case.
    #[must_use]
    pub fn token_header(mut self, name: HeaderName, template: HeaderValue) -> Self {
        self.token_header = (name, template);
        self
    }

    /// Sets another header on every request, replacing the client's. `{token}` in the value stands for the token.
    #[must_use]
    pub fn header(mut self, name: HeaderName, template: HeaderValue) -> Self {
        self.headers.push((name, template));
        self
    }
}

impl<T> Clone for OAuthLayer<T> {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), token_header: self.token_header.clone(), headers: self.headers.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for OAuthLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthLayer").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<S, T> Layer<S> for OAuthLayer<T> {
    type Service = OAuth<S, T>;

    fn layer(&self, inner: S) -> OAuth<S, T> {
        let templates = [&self.token_header].into_iter().chain(&self.headers).cloned().collect();
        OAuth::new(inner, self.source.clone(), Arc::new(TokenHeaders::new(templates)))
    }
}
