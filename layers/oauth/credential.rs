use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::StatusCode;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{body::ErrorAnswer, ext::Endpoint};

/// A token, and the base URL that it is for if it names one.
///
/// Cloning copies a pointer, and the last clone wipes the token from memory. `Debug` shows the [`Fingerprint`], never the token.
#[derive(Clone)]
pub struct Credential {
    inner: Arc<Inner>,
}

struct Inner {
    token: Zeroizing<String>,
    endpoint: Option<Endpoint>,
    fingerprint: Fingerprint,
}

impl Credential {
    /// A token for the provider's own base URL.
    pub fn new(token: impl Into<String>) -> Self {
        Self::build(token.into(), None)
    }

    /// A token for the base URL that came with it.
    pub fn with_endpoint(token: impl Into<String>, endpoint: Endpoint) -> Self {
        Self::build(token.into(), Some(endpoint))
    }

    fn build(token: String, endpoint: Option<Endpoint>) -> Self {
        let fingerprint = Fingerprint::of(token.as_bytes());
        Self { inner: Arc::new(Inner { token: token.into(), endpoint, fingerprint }) }
    }

    /// The secret itself.
    pub fn token(&self) -> &str {
        &self.inner.token
    }

    /// The base URL that the token is for, if it is not the provider's own.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.inner.endpoint.as_ref()
    }

    /// What tells this token from another without showing it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("fingerprint", &self.inner.fingerprint)
            .field("endpoint", &self.inner.endpoint)
            .finish()
    }
}

/// The SHA-256 of a secret. Compared whole; shown as its first 12 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `secret`.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why no credential can be had, in words fit for the client: they must not hold a secret.
#[derive(Clone, Debug)]
pub struct CredentialError {
    message: Arc<str>,
    /// `Some` if it may go better later.
    retry_after: Option<Duration>,
}

impl CredentialError {
    /// It takes a person to mend this: the request is answered with 401 and the code `oauth_credentials_invalid`.
    pub fn invalid(message: impl Into<Arc<str>>) -> Self {
        Self { message: message.into(), retry_after: None }
    }

    /// It may mend itself, not before `retry_after`: the request is answered with 503 and the code
    /// `oauth_refresh_failed`.
    pub fn unavailable(message: impl Into<Arc<str>>, retry_after: Duration) -> Self {
        Self { message: message.into(), retry_after: Some(retry_after) }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same with another wait, if there is one at all.
    pub(super) fn with_wait(&self, wait: Duration) -> Self {
        Self { message: Arc::clone(&self.message), retry_after: self.retry_after.map(|_| wait) }
    }

    pub(super) fn to_answer(&self) -> ErrorAnswer {
        let message = Cow::Owned(String::from(&*self.message));
        match self.retry_after {
            None => ErrorAnswer::new(StatusCode::UNAUTHORIZED, "oauth_credentials_invalid", message),
            Some(wait) => ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "oauth_refresh_failed", message)
                .retry_after(wait.max(Duration::from_secs(1))),
        }
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CredentialError {}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    #[test]
    fn a_token_is_wiped_when_the_last_copy_is_dropped() {
        fn is_wiped(_: &impl ZeroizeOnDrop) {}

        is_wiped(&Credential::new("token").inner.token);
    }
}
