use tower_layer::Layer;

use super::FirstEvent;
use crate::ext::AssumeBroken;

/// Waits for the first event of a stream, or the first bytes of another answer, before the response is handed up.
/// See the [module docs](crate::first_event).
///
/// `C` is how errors of the body below are told apart; see [`classify`](Self::classify).
#[derive(Clone, Copy, Debug)]
pub struct FirstEventLayer<C = AssumeBroken> {
    hold_limit: usize,
    classify: C,
}

impl FirstEventLayer {
    /// Holds up to 1 MiB, and takes every error of the body below for a broken connection.
    pub fn new() -> Self {
        Self { hold_limit: 1024 * 1024, classify: AssumeBroken }
    }
}

impl Default for FirstEventLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> FirstEventLayer<C> {
    /// How much may be held while the first event is not complete, in bytes of memory. When there is more, the response
    /// is handed up as it is: a stream that long is an answer.
    #[must_use]
    pub fn hold_limit(mut self, bytes: usize) -> Self {
        self.hold_limit = bytes;
        self
    }

    /// Tells the errors of the body below apart, as a [`ClassifyFailure`](crate::ext::ClassifyFailure): a timeout
    /// becomes a 504 and everything else a 502. A closure has to name its argument's type: `|error: &hyper::Error| ...`.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> FirstEventLayer<D> {
        FirstEventLayer { hold_limit: self.hold_limit, classify }
    }
}

impl<S, C: Clone> Layer<S> for FirstEventLayer<C> {
    type Service = FirstEvent<S, C>;

    fn layer(&self, inner: S) -> FirstEvent<S, C> {
        FirstEvent::new(inner, self.hold_limit, self.classify.clone())
    }
}
