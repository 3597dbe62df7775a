//! A token source that reads, and may refresh, the credential file of a command-line login.

mod disk;
mod document;
mod endpoint;
mod flight;
mod grant;
mod lock;
mod login;
mod options;
mod state;
#[cfg(test)]
mod tests;

use std::{fmt, fmt::Display, io, path::Path, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

pub(super) use self::{
    document::expires,
    endpoint::{is_loopback, matches_host, normalize},
};
use self::{
    flight::Shared,
    state::{Denied, Need},
};
pub use self::{
    login::{Removed, Tokens},
    options::{CredentialFileOptions, Expiry, GrantEncoding, Mode, RefreshGrant},
};
use super::{Credential, Fingerprint, SourceFuture, TokenSource, clock, server::Client};
use crate::body::ReplayBody;

/// The tokens in a JSON file that a vendor's login wrote, described by [`CredentialFileOptions`].
///
/// # Reading
///
/// The content is kept in memory. When a request needs a token, and at most once a second, the file's time, size and
/// inode are looked at; if one of them differs, the file is read again. So a file that appears late, is replaced by
/// rename, rewritten in place or made readable is picked up without a restart. A file that is missing, unreadable, empty
/// or half-written leaves what was read before in use; one that holds something else is answered with 401 and the code
/// `oauth_credentials_invalid`. The file is never deleted, but by [`remove`](Self::remove) when nothing else is in it.
///
/// # Refreshing
///
/// One refresh runs at a time, in a task of its own: any number of requests share it, and none of them aborts it by
/// leaving. Other processes are kept out by the vendor's lock file, if one is configured, and by a lock on a file
/// `.NAME.pointsman.lock` beside the credential file; under these locks the file is read again, and a token that
/// someone else refreshed is used as it is. A new token is written to the file (through a temporary file with mode 0600
/// that is synced and renamed; what a killed process left of such a file is removed) before it is used. If it cannot be
/// written, it is used from memory, and written as soon as that works.
///
/// Members of the file that are not known stay, with their values. Their order does not: `serde_json` writes an object's
/// keys in alphabetical order, unless its feature `preserve_order` is on somewhere in the program. A number that a
/// double cannot hold is rounded.
///
/// A refresh that fails for a reason that may pass is tried again after 5 s, then twice as long each time up to 5 min,
/// and not before the `Retry-After` of the answer (an hour at the most); meanwhile the old token serves while it is
/// valid. A refresh token that the endpoint answers with 400 or 401 is not sent again until the file changes.
#[derive(Clone)]
pub struct CredentialFile {
    shared: Arc<Shared>,
}

impl CredentialFile {
    /// The file that `options` describe, refreshed over `client`: any HTTP service for requests with a full URL. It must
    /// not follow redirects.
    pub fn new<C, B>(options: CredentialFileOptions, client: C) -> Self
    where
        C: Service<Request<ReplayBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Display,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Display,
    {
        Self { shared: Arc::new(Shared::new(options, Box::new(Client(client)))) }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.shared.options.path
    }

    /// What is known of the file, without looking at it.
    pub fn status(&self) -> CredentialStatus {
        let state = self.shared.state.load();
        let document = state.document.as_ref();
        CredentialStatus {
            fingerprint: document.map(|document| document.credential.fingerprint()),
            expires_at: document.and_then(|document| document.expires),
            refreshable: document.is_some_and(|document| document.refresh.is_some()) && state.dead.is_none(),
            unwritten: state.unwritten.is_some(),
            problem: state.problem.as_ref().map(|problem| self.shared.options.sentence(problem)),
        }
    }

    /// Looks at the file, without refreshing, and tells what is known of it.
    pub async fn check(&self) -> CredentialStatus {
        // What comes of it is in the status.
        let _ = Arc::clone(&self.shared).obtain(Need::Look).await;
        self.status()
    }

    /// Writes the tokens of a new login to the file, as a refresh would (see the type's docs), and gives its status.
    ///
    /// A file that is not there is made, with mode 0600, and its folder with 0700. Nothing of the login before stays.
    /// Something that is no JSON object is kept beside the file, as `NAME.bak`.
    ///
    /// # Errors
    ///
    /// That the file cannot be read or written, or that another program does not give it free.
    pub async fn store(&self, tokens: &Tokens) -> io::Result<CredentialStatus> {
        self.shared.store(tokens.clone()).await?;
        Ok(self.check().await)
    }

    /// Takes the tokens out of the file, and deletes it if nothing else is in it. The token server is not told.
    ///
    /// # Errors
    ///
    /// That the file cannot be read or written, that it holds no JSON object, or that another program does not give it
    /// free.
    pub async fn remove(&self) -> io::Result<Removed> {
        self.shared.remove().await
    }

    /// Waits until no refresh is under way, and tries once more to write a token that could not be written: for a
    /// graceful shutdown, after which no request asks for a token.
    pub async fn settle(&self) {
        self.shared.settle().await;
    }
}

/// What is known of a [`CredentialFile`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// The fingerprint of the access token in use, if there is one.
    pub fingerprint: Option<Fingerprint>,
    /// When that token expires, if it is known to.
    pub expires_at: Option<SystemTime>,
    /// Whether there is a refresh token that is not known to be refused.
    pub refreshable: bool,
    /// Whether the token in use could not be written to the file, which holds a dead one.
    pub unwritten: bool,
    /// What is wrong with the file, in a sentence.
    pub problem: Option<String>,
}

impl TokenSource for CredentialFile {
    fn current(&self) -> Option<Credential> {
        if self.shared.look_due() {
            return None;
        }
        let state = self.shared.state.load();
        let now = clock::now();
        let document = state.fresh(now)?;
        if self.shared.options.mode == Mode::Proactive
            && self.shared.options.grant.is_some()
            && document.left(now).is_some_and(|left| left < self.shared.advisory)
        {
            self.shared.refresh_in_background(&state, document);
        }
        Some(document.credential.clone())
    }

    fn token(&self) -> SourceFuture<Credential> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            Arc::clone(&shared).obtain(Need::Usable).await.or_else(|denied| {
                // Short of time, but not yet expired.
                let state = shared.state.load();
                state.valid(clock::now()).map(|document| document.credential.clone()).ok_or(denied.error)
            })
        })
    }

    fn refused(&self, refused: &Credential) -> SourceFuture<Option<Credential>> {
        let shared = Arc::clone(&self.shared);
        let need = Need::Not(refused.fingerprint());
        Box::pin(async move {
            match shared.obtain(need).await {
                Ok(credential) => Ok(Some(credential)),
                Err(Denied { no_means: true, .. }) => Ok(None),
                Err(denied) => Err(denied.error),
            }
        })
    }
}

impl fmt::Debug for CredentialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialFile").field("path", &self.path()).field("status", &self.status()).finish()
    }
}
