use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use memchr::memmem::{self, Finder};

use super::{Credential, CredentialError};
use crate::body::ReplayBody;

/// Stands for the token in a header's template.
const PLACEHOLDER: &[u8] = b"{token}";

/// The headers that carry a credential, and their values for the credential used last.
pub(super) struct TokenHeaders {
    /// The first is the token's own.
    templates: Vec<(HeaderName, HeaderValue)>,
    /// A token serves many requests: rendered once, its headers are pointers to copy.
    rendered: ArcSwapOption<Rendered>,
}

/// The headers of one credential.
pub(super) struct Rendered {
    pub(super) credential: Credential,
    headers: Vec<(HeaderName, HeaderValue)>,
    token: Finder<'static>,
}

impl TokenHeaders {
    pub(super) fn new(templates: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { templates, rendered: ArcSwapOption::empty() }
    }

    pub(super) fn render(&self, credential: Credential) -> Result<Arc<Rendered>, CredentialError> {
        let cached = self.rendered.load();
        if let Some(rendered) = cached.as_ref().filter(|rendered| rendered.is_for(&credential)) {
            return Ok(Arc::clone(rendered));
        }
        let headers = self
            .templates
            .iter()
            .map(|(name, template)| Some((name.clone(), fill(template, credential.token())?)))
            .collect::<Option<_>>()
            .ok_or_else(|| CredentialError::invalid("the token holds characters that no header can carry"))?;
        let token = Finder::new(credential.token()).into_owned();
        let rendered = Arc::new(Rendered { credential, headers, token });
        self.rendered.store(Some(Arc::clone(&rendered)));
        Ok(rendered)
    }
}

impl Rendered {
    fn is_for(&self, credential: &Credential) -> bool {
        self.credential.fingerprint() == credential.fingerprint() && self.credential.endpoint() == credential.endpoint()
    }

    /// Puts the credential in, in place of the client's.
    pub(super) fn put_into(&self, request: &mut Request<ReplayBody>) {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if self.headers.iter().all(|(name, _)| *name != header::AUTHORIZATION) {
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        if let Some(endpoint) = self.credential.endpoint() {
            request.extensions_mut().insert(endpoint.clone());
        }
    }

    /// Removes whatever header of an answer echoes the token.
    pub(super) fn remove_from(&self, headers: &mut HeaderMap) {
        let echoes = |value: &HeaderValue| self.token.find(value.as_bytes()).is_some();
        if self.credential.token().is_empty() || !headers.values().any(echoes) {
            return;
        }
        let kept = headers.iter().filter(|(_, value)| !echoes(value));
        *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
}

/// The template with the token in each of its places; `None` if that is no header value.
pub(super) fn fill(template: &HeaderValue, token: &str) -> Option<HeaderValue> {
    let bytes = template.as_bytes();
    let mut filled = Vec::with_capacity(bytes.len() + token.len());
    let mut rest = 0;
    for at in memmem::find_iter(bytes, PLACEHOLDER) {
        filled.extend_from_slice(&bytes[rest..at]);
        filled.extend_from_slice(token.as_bytes());
        rest = at + PLACEHOLDER.len();
    }
    if rest == 0 {
        return Some(template.clone());
    }
    filled.extend_from_slice(&bytes[rest..]);
    let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(filled)).ok()?;
    value.set_sensitive(true);
    Some(value)
}
