use pointsman_layers::rate_limit_retry::{Exhausted, Policy};

/// What to do about a provider's rate limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hold {
    /// Whether to hold a request, and for how long.
    pub policy: Policy,
    /// What the log calls the provider.
    pub label: String,
    /// What the provider says when waiting is of no use.
    pub exhausted: Exhausted,
}
