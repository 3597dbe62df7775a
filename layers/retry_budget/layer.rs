use tower_layer::Layer;

use super::{CountRequests, LimitRetries, RetryBudget};

/// Pays into a budget for each request; see the [module docs](super).
#[derive(Clone, Debug)]
pub struct CountRequestsLayer(RetryBudget);

impl CountRequestsLayer {
    /// Pays into this budget.
    pub fn new(budget: RetryBudget) -> Self {
        Self(budget)
    }
}

impl<S> Layer<S> for CountRequestsLayer {
    type Service = CountRequests<S>;

    fn layer(&self, inner: S) -> CountRequests<S> {
        CountRequests::new(inner, self.0.clone())
    }
}

/// Takes from a budget for each call after a request's first; see the [module docs](super).
#[derive(Clone, Debug)]
pub struct LimitRetriesLayer(RetryBudget);

impl LimitRetriesLayer {
    /// Takes from this budget.
    pub fn new(budget: RetryBudget) -> Self {
        Self(budget)
    }
}

impl<S> Layer<S> for LimitRetriesLayer {
    type Service = LimitRetries<S>;

    fn layer(&self, inner: S) -> LimitRetries<S> {
        LimitRetries::new(inner, self.0.clone())
    }
}
