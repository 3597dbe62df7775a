use std::{fmt, future::ready, pin::Pin, sync::Arc};

use super::{Credential, CredentialError};

/// What a [`TokenSource`] gives when it may have to wait. It does not borrow from the source.
pub type SourceFuture<T> = Pin<Box<dyn Future<Output = Result<T, CredentialError>> + Send>>;

/// Where tokens come from.
///
/// Dropping a future that a source gave must not abort a refresh that others wait for, or that cannot be taken back: a
/// refresh runs in a task of its own.
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is good as far as is known, if one is at hand. Asked for every request, so it must neither wait nor
    /// lock.
    fn current(&self) -> Option<Credential>;

    /// A token, after a refresh if one is needed. Asked when there is no [`current`](Self::current) one.
    fn token(&self) -> SourceFuture<Credential>;

    /// Tells that the provider refused this token and asks for another one; `None` hands the refusal up to the client.
    fn refused(&self, refused: &Credential) -> SourceFuture<Option<Credential>>;
}

impl<T: TokenSource + ?Sized> TokenSource for Arc<T> {
    fn current(&self) -> Option<Credential> {
        T::current(self)
    }

    fn token(&self) -> SourceFuture<Credential> {
        T::token(self)
    }

    fn refused(&self, refused: &Credential) -> SourceFuture<Option<Credential>> {
        T::refused(self, refused)
    }
}

/// A key that never changes.
#[derive(Clone)]
pub struct StaticToken(Credential);

impl StaticToken {
    /// The key.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Credential::new(token))
    }
}

impl TokenSource for StaticToken {
    fn current(&self) -> Option<Credential> {
        Some(self.0.clone())
    }

    fn token(&self) -> SourceFuture<Credential> {
        Box::pin(ready(Ok(self.0.clone())))
    }

    fn refused(&self, _: &Credential) -> SourceFuture<Option<Credential>> {
        Box::pin(ready(Ok(None)))
    }
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StaticToken").field(&self.0.fingerprint()).finish()
    }
}
