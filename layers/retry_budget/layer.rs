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

/// Lets no more calls pass than a request's budget pays for; see the [module docs](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitRetriesLayer(());

impl LimitRetriesLayer {
    /// Asks the budget that [`CountRequestsLayer`] gave the request.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for LimitRetriesLayer {
    type Service = LimitRetries<S>;

    fn layer(&self, inner: S) -> LimitRetries<S> {
        LimitRetries::new(inner)
    }
}
