//! The typed extensions by which layers talk to each other: who sets them, who reads them.
//!
//! | extension | on | set by | read by |
//! |---|---|---|---|
//! | [`Candidate`] | request | route | condition, error count, rate-limit retry, first event, provider |
//! | [`QuotaHandle`](crate::quota::QuotaHandle) | request | quota | condition |
//! | [`ErrorCountHandle`](crate::error_count::ErrorCountHandle) | request | error count | condition |
//! | [`Endpoint`] | request | oauth | provider |
//! | [`Retries`] | request | retry budget | retry budget, rate-limit retry, oauth |
//! | [`GateClosed`] | response | condition, retry budget | route, error count |
//! | [`EarlyFailure`] | response | first event | route, error count |
//! | [`RateLimited`] | response | rate-limit retry | quota |
//! | [`Trail`] | response | route | whoever reports what happened |
//!
//! Every extension is optional: a layer that does not find one does without, which is what makes each of them useful
//! alone.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{StatusCode, Uri};
use smallvec::SmallVec;

#[cfg(feature = "condition")]
use crate::condition::{Condition, OnUnknown};

/// Where a request is to go, decided by the route layer and read by everything below it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The name of the provider, as its backend is called in the configuration.
    pub provider: Arc<str>,
    /// The model that the provider is asked for.
    pub model: Arc<str>,
    /// The gate in front of the provider; `None` is always open.
    #[cfg(feature = "condition")]
    pub condition: Option<Arc<Condition>>,
    /// What it means for the condition that no quota could be had.
    #[cfg(feature = "condition")]
    pub on_unknown: OnUnknown,
    /// When the answer is final.
    pub commit: Commit,
    /// Whether the route has further candidates to turn to if this one fails.
    pub others_remain: bool,
    /// When the whole request has to be at its commit point; the route gives up then.
    pub deadline: Option<Instant>,
}

impl Candidate {
    /// An unconditional candidate with no others behind it and no deadline.
    pub fn new(provider: impl Into<Arc<str>>, model: impl Into<Arc<str>>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            #[cfg(feature = "condition")]
            condition: None,
            #[cfg(feature = "condition")]
            on_unknown: OnUnknown::default(),
            commit: Commit::default(),
            others_remain: false,
            deadline: None,
        }
    }
}

/// When an answer is final, and the next candidate is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// When the first event of a stream, or the first byte of another body, is there.
    #[default]
    FirstEvent,
    /// When the head of the answer is there.
    Headers,
}

/// The base URL that a credential brings along: requests with that credential go there, and not to the provider's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub Uri);

/// Pays for what is sent of a request, from its second sending on. All copies of the request share it.
///
/// A layer that has an answer and would rather send the request again pays beforehand, with [`reserve`](Self::reserve):
/// where that fails, what the provider said is the better answer.
#[derive(Clone)]
pub struct Retries(Arc<Sendings<dyn Fn() -> bool + Send + Sync>>);

struct Sendings<F: ?Sized> {
    was_sent: AtomicBool,
    is_paid: AtomicBool,
    take: F,
}

impl Retries {
    /// Of a request that was not sent yet. `take` takes one retry out of a budget, if there is one.
    pub fn new(take: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Sendings { was_sent: AtomicBool::new(false), is_paid: AtomicBool::new(false), take }))
    }

    /// Pays for the next sending; `false` if nothing is left for it.
    pub fn reserve(&self) -> bool {
        let has_paid = (self.0.take)();
        self.0.is_paid.fetch_or(has_paid, Relaxed);
        has_paid
    }

    /// Notes that the request is sent, and pays if that is still to be done; `false` if it must not be sent.
    pub fn send(&self) -> bool {
        !self.0.was_sent.swap(true, Relaxed) || self.0.is_paid.swap(false, Relaxed) || (self.0.take)()
    }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").field("was_sent", &self.0.was_sent).finish_non_exhaustive()
    }
}

/// Marks an answer of a gate that let nothing through: the provider was not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateClosed {
    /// Why, in words fit for the client: `closed: balance > 0 (balance = 0)`.
    pub reason: Arc<str>,
}

impl GateClosed {
    /// A closed gate with the reason to show.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into() }
    }
}

/// How an attempt failed when there is no answer of the provider's to judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// Whether the request may have been carried out, and billed, all the same.
    pub ambiguous: bool,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// No connection: name resolution, TCP or TLS failed.
    Unreachable,
    /// Nothing came in time.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Broken,
    /// A successful status with nothing behind it.
    Empty,
    /// A successful status with an error inside.
    ErrorEvent,
}

impl Failure {
    /// No connection could be made, so nothing was sent.
    pub const UNREACHABLE: Self = Self { kind: FailureKind::Unreachable, ambiguous: false };
    /// The request went out, and no answer came in time.
    pub const TIMEOUT: Self = Self { kind: FailureKind::Timeout, ambiguous: true };
    /// The request went out, and the answer broke.
    pub const BROKEN: Self = Self { kind: FailureKind::Broken, ambiguous: true };
    /// The provider said success, and nothing followed.
    pub const EMPTY: Self = Self { kind: FailureKind::Empty, ambiguous: true };
    /// The provider said success, and then that it failed; so there is no doubt that it did.
    pub const ERROR_EVENT: Self = Self { kind: FailureKind::ErrorEvent, ambiguous: false };

    /// The status that stands for this failure when no better one is known: 504 for a timeout, else 502.
    pub fn status(self) -> StatusCode {
        match self.kind {
            FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Tells what an error from below means for the request that it ended.
///
/// Implemented for closures `Fn(&E) -> Failure`, and by [`AssumeBroken`] for every error.
pub trait ClassifyFailure<E> {
    /// What `error` means.
    fn classify(&self, error: &E) -> Failure;
}

impl<E, F: Fn(&E) -> Failure> ClassifyFailure<E> for F {
    fn classify(&self, error: &E) -> Failure {
        self(error)
    }
}

/// Takes every error for a connection that broke after the request went out: the careful reading of an error of which
/// nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct AssumeBroken;

impl<E> ClassifyFailure<E> for AssumeBroken {
    fn classify(&self, _: &E) -> Failure {
        Failure::BROKEN
    }
}

/// The statuses that count as a failure of the provider; any other is an answer, or the request's own fault.
///
/// By default 401, 402, 403, 404, 408, 409, 425, 429 and every 5xx.
///
/// ```
/// use http::StatusCode;
/// use pointsman_layers::ext::FailureStatuses;
///
/// let usual = FailureStatuses::default();
/// assert!(usual.contains(StatusCode::TOO_MANY_REQUESTS) && usual.contains(StatusCode::BAD_GATEWAY));
/// assert!(!usual.contains(StatusCode::BAD_REQUEST));
///
/// let only_overload = FailureStatuses::from_iter([StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE]);
/// assert!(!only_overload.contains(StatusCode::BAD_GATEWAY));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FailureStatuses {
    /// One bit for each status from 100 to 999.
    bits: [u64; 15],
}

impl FailureStatuses {
    /// Whether `status` is one of them.
    pub fn contains(&self, status: StatusCode) -> bool {
        let (word, bit) = Self::position(status);
        self.bits[word] & bit != 0
    }

    /// The statuses in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = StatusCode> {
        (100..=999).filter_map(|code| StatusCode::from_u16(code).ok()).filter(|status| self.contains(*status))
    }

    fn position(status: StatusCode) -> (usize, u64) {
        let index = usize::from(status.as_u16()) - 100;
        (index / 64, 1 << (index % 64))
    }
}

impl Default for FailureStatuses {
    fn default() -> Self {
        let client_side = [401, 402, 403, 404, 408, 409, 425, 429];
        client_side.into_iter().chain(500..=599).filter_map(|code| StatusCode::from_u16(code).ok()).collect()
    }
}

/// These statuses and no others.
impl FromIterator<StatusCode> for FailureStatuses {
    fn from_iter<I: IntoIterator<Item = StatusCode>>(statuses: I) -> Self {
        let mut bits = [0; 15];
        for status in statuses {
            let (word, bit) = Self::position(status);
            bits[word] |= bit;
        }
        Self { bits }
    }
}

impl fmt::Debug for FailureStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|status| status.as_u16())).finish()
    }
}

/// Marks an answer whose status was made from the first event of a stream, or from a body that broke or ended before
/// its first byte: the provider itself had said success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyFailure(pub Failure);

/// Marks an answer below which a rate limit was seen, even if a retry recovered from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// How long the provider asked to wait, if it said.
    pub retry_after: Option<Duration>,
}

/// What was tried to answer a request, in order.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Mostly one.
    attempts: SmallVec<[Attempt; 1]>,
    answered: Option<usize>,
}

impl Trail {
    /// Adds the next attempt.
    pub fn push(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// Notes that the answer handed up is that of the attempt at `index`.
    pub fn set_answered(&mut self, index: usize) {
        self.answered = Some(index);
    }

    /// The attempts, first to last; skipped candidates are among them.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The attempt whose answer was handed up, good or bad; `None` if the answer is the route's own.
    pub fn answered(&self) -> Option<&Attempt> {
        self.answered.and_then(|index| self.attempts.get(index))
    }

    /// How many candidates were asked, skipped ones left out.
    pub fn sent(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.outcome.was_sent()).count()
    }
}

/// One candidate of a [`Trail`].
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The provider that was tried or skipped.
    pub provider: Arc<str>,
    /// The model that it was asked for.
    pub model: Arc<str>,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, up to the commit point.
    pub elapsed: Duration,
}

/// What came of an [`Attempt`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Its gate was closed, for the reason given; nothing was sent.
    Skipped(Arc<str>),
    /// It answered, and its answer was handed up.
    Answered(StatusCode),
    /// It answered, and the answer was one to move on from.
    Refused(StatusCode),
    /// It said success and then failed before anything of the answer was handed up; the status is what that means.
    FailedEarly(StatusCode, Failure),
    /// There was no answer; the text is the error's.
    Failed(Failure, Arc<str>),
}

impl Outcome {
    /// Whether the provider was asked at all.
    pub fn was_sent(&self) -> bool {
        !matches!(self, Self::Skipped(_))
    }

    /// Whether the request may have been carried out although it counts as failed.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::FailedEarly(_, failure) | Self::Failed(failure, _) => failure.ambiguous,
            Self::Skipped(_) | Self::Answered(_) | Self::Refused(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_failure_statuses_are_the_documented_ones() {
        let codes: Vec<u16> = FailureStatuses::default().iter().map(|status| status.as_u16()).collect();
        let documented: Vec<u16> = [401, 402, 403, 404, 408, 409, 425, 429].into_iter().chain(500..=599).collect();
        assert_eq!(codes, documented);
    }

    #[test]
    fn failure_statuses_hold_what_they_were_collected_from() {
        let edges = [100, 163, 164, 499, 600, 999].map(|code| StatusCode::from_u16(code).unwrap());
        let statuses = FailureStatuses::from_iter(edges);
        assert!(statuses.iter().eq(edges));
        assert_eq!(FailureStatuses::from_iter([]).iter().count(), 0);
    }
}
