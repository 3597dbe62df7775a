use std::sync::Arc;

use http::Response;

use super::ErrorWindow;
use crate::{
    body::{BodyEnd, Report},
    ext::{EarlyFailure, FailureStatuses, GateClosed},
};

/// Reads the errors of the backend that a request goes to: a request extension, set by
/// [`ErrorCount`](super::ErrorCount).
#[derive(Clone, Debug)]
pub struct ErrorCountHandle(Arc<ErrorWindow>);

impl ErrorCountHandle {
    /// A handle on `window`.
    pub fn new(window: Arc<ErrorWindow>) -> Self {
        Self(window)
    }

    /// How many errors of the backend are in its window now.
    pub fn count(&self) -> u64 {
        self.0.count()
    }
}

/// What a layer counts, and where.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) window: Arc<ErrorWindow>,
    pub(super) statuses: FailureStatuses,
}

/// What the head of a response says about the backend.
pub(super) enum Judgement {
    Failure,
    /// Good so far; it is a failure if the body breaks.
    UpToTheBody,
    NoFailure,
}

impl Tally {
    pub(super) fn judge<B>(&self, response: &Response<B>) -> Judgement {
        let (status, extensions) = (response.status(), response.extensions());
        if extensions.get::<GateClosed>().is_some() {
            Judgement::NoFailure
        } else if self.statuses.contains(status) || extensions.get::<EarlyFailure>().is_some() {
            Judgement::Failure
        } else if status.is_success() {
            Judgement::UpToTheBody
        } else {
            Judgement::NoFailure
        }
    }
}

/// Counts a body that breaks; see [`ReportBody`](crate::body::ReportBody).
#[derive(Debug)]
pub struct ErrorReport {
    /// `None` if the body does not matter, because the head said it all.
    pub(super) tally: Option<Arc<Tally>>,
}

impl Report for ErrorReport {
    fn report(self, end: BodyEnd) {
        if let (BodyEnd::Error, Some(tally)) = (end, self.tally) {
            tally.window.record();
        }
    }
}
