//! What is known of a credential file, and what that means for a request.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    disk::{Content, Signature},
    document::{Document, Fault},
    options::CredentialFileOptions,
};
use crate::oauth::{Credential, CredentialError, Fingerprint};

/// A token with less time left than this counts as expired: a request takes a while to get where it is judged.
const MARGIN: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// A `Retry-After` is heard up to here: one that is wrong must not hold a login back for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// A snapshot. The task of a [flight](super::flight) alone replaces it.
#[derive(Clone, Default)]
pub(super) struct State {
    /// The credential to serve; gone when the file holds something that is none.
    pub(super) document: Option<Arc<Document>>,
    /// What is wrong with the file now, as the end of a sentence that starts with it.
    pub(super) problem: Option<Arc<str>>,
    /// The file as it was last read; `None` reads it again.
    pub(super) signature: Option<Signature>,
    pub(super) content: Option<Fingerprint>,
    /// Why the document's refresh token is no good, once that is known.
    pub(super) dead: Option<Arc<str>>,
    pub(super) backoff: Option<Backoff>,
    /// The document could not be written to the file, and this is when to try again.
    pub(super) unwritten: Option<Instant>,
}

#[derive(Clone)]
pub(super) struct Backoff {
    failures: u32,
    pub(super) until: Instant,
    reason: Arc<str>,
}

/// What someone wants of the credential file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To know how things are.
    Look,
    /// A token that has not expired.
    Usable,
    /// A token other than this one.
    Not(Fingerprint),
}

pub(super) enum Verdict {
    Serve(Credential),
    Refresh(Arc<Document>),
    Deny(Denied),
}

/// No token.
#[derive(Clone)]
pub(super) struct Denied {
    pub(super) error: CredentialError,
    /// There is nothing to renew a token with, so a provider's own refusal says as much.
    pub(super) no_means: bool,
}

impl Denied {
    pub(super) fn invalid(error: String) -> Self {
        Self { error: CredentialError::invalid(error), no_means: false }
    }

    pub(super) fn unavailable(error: String, retry_after: Duration) -> Self {
        Self { error: CredentialError::unavailable(error, retry_after), no_means: false }
    }
}

impl State {
    /// The credential, if it is good for a while.
    pub(super) fn fresh(&self, now: SystemTime) -> Option<&Arc<Document>> {
        self.document.as_ref().filter(|document| document.left(now).is_none_or(|left| left > MARGIN))
    }

    /// The credential, if it is good for this moment.
    pub(super) fn valid(&self, now: SystemTime) -> Option<&Arc<Document>> {
        self.document.as_ref().filter(|document| document.left(now).is_none_or(|left| !left.is_zero()))
    }

    /// Whether nothing is known that speaks against a refresh.
    pub(super) fn may_refresh(&self) -> bool {
        self.problem.is_none() && self.dead.is_none() && self.held_back().is_none()
    }

    fn held_back(&self) -> Option<&Backoff> {
        self.backoff.as_ref().filter(|backoff| backoff.until > Instant::now())
    }

    pub(super) fn judge(&self, need: Need, now: SystemTime, options: &CredentialFileOptions) -> Verdict {
        let Some(document) = &self.document else {
            let problem = self.problem.as_deref().unwrap_or("could not be read");
            return Verdict::Deny(Denied::invalid(options.sentence(problem)));
        };
        let refused = need == Need::Not(document.credential.fingerprint());
        if !refused && self.fresh(now).is_some() {
            return Verdict::Serve(document.credential.clone());
        }
        let token = if refused { "holds a token that the provider refuses" } else { "holds a token that has expired" };
        let denied = if let Some(problem) = &self.problem {
            // What is in memory came from the file. If that is gone, someone logged out.
            Denied::invalid(options.sentence(problem))
        } else if options.usable_grant().is_none() {
            Denied { no_means: true, ..Denied::invalid(options.sentence(token)) }
        } else if document.refresh.is_none() {
            let what = format!("{token}, and no refresh token");
            Denied { no_means: true, ..Denied::invalid(options.sentence(what)) }
        } else if let Some(reason) = &self.dead {
            let what = format!("{token}, and its refresh token is refused too ({reason})");
            Denied::invalid(options.sentence(what))
        } else if let Some(backoff) = self.held_back() {
            let what = format!("{token}, and it cannot be refreshed now ({})", backoff.reason);
            Denied::unavailable(options.plain_sentence(what), backoff.until - Instant::now())
        } else {
            return Verdict::Refresh(Arc::clone(document));
        };
        Verdict::Deny(denied)
    }

    /// The state after the file was read, and whether it is likely to look better in a moment.
    pub(super) fn after_read(&self, read: &io::Result<Content>, options: &CredentialFileOptions) -> (Self, bool) {
        let content = match read {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (self.with_problem("does not exist"), self.document.is_some());
            }
            Err(error) => return (self.with_problem(&*format!("cannot be read: {error}")), false),
        };
        let fingerprint = Fingerprint::of(&content.bytes);
        let changed = self.content != Some(fingerprint);
        // What is in memory is newer than what could not be written.
        if !changed && self.document.is_some() && (self.problem.is_none() || self.unwritten.is_some()) {
            return (Self { problem: None, signature: content.signature, ..self.clone() }, false);
        }
        let kept = if changed { Self::default() } else { self.clone() };
        let read = Self { signature: content.signature, content: Some(fingerprint), ..kept };
        match Document::parse(&content.bytes, options) {
            Ok(document) => (Self { document: Some(Arc::new(document)), problem: None, ..read }, false),
            Err(Fault::Unfinished(what)) => (self.with_problem(what), true),
            Err(Fault::Wrong(what)) => (Self { document: None, problem: Some(what.into()), ..read }, false),
        }
    }

    /// The state with what was known, and something wrong with the file.
    fn with_problem(&self, problem: impl Into<Arc<str>>) -> Self {
        Self { problem: Some(problem.into()), signature: None, ..self.clone() }
    }

    /// The state after a refresh failed for a reason that may pass.
    pub(super) fn after_failure(&self, reason: &str, retry_after: Option<Duration>) -> Self {
        let failures = self.backoff.as_ref().map_or(0, |backoff| backoff.failures).saturating_add(1);
        let wait = FIRST_BACKOFF.saturating_mul(1 << (failures - 1).min(10)).min(MAX_BACKOFF);
        let until = Instant::now() + wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        Self { backoff: Some(Backoff { failures, until, reason: reason.into() }), ..self.clone() }
    }
}
