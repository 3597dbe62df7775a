use std::sync::Arc;

use tower_layer::Layer;

use super::{ErrorCount, ErrorWindow, state::Tally};
use crate::ext::FailureStatuses;

/// Counts the errors of one backend; see the [module docs](super).
#[derive(Clone, Debug)]
pub struct ErrorCountLayer {
    tally: Tally,
}

impl ErrorCountLayer {
    /// Counts into `window`.
    pub fn new(window: Arc<ErrorWindow>) -> Self {
        Self { tally: Tally { window, statuses: FailureStatuses::default() } }
    }

    /// Replaces the statuses that count as errors.
    #[must_use]
    pub fn statuses(mut self, statuses: FailureStatuses) -> Self {
        self.tally.statuses = statuses;
        self
    }
}

impl<S> Layer<S> for ErrorCountLayer {
    type Service = ErrorCount<S>;

    fn layer(&self, inner: S) -> ErrorCount<S> {
        ErrorCount::new(inner, Arc::new(self.tally.clone()))
    }
}
