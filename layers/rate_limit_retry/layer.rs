use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tower_layer::Layer;

use super::{Backoff, Exhausted, Policy, RateLimitRetry};

/// Holds a request whose answer is a rate limit, and sends it once more; see the [module docs](super).
#[derive(Clone, Debug)]
pub struct RateLimitRetryLayer {
    settings: Settings,
}

/// What the layer gives to its services.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    pub(super) backoff: Backoff,
    pub(super) exhausted: Exhausted,
    pub(super) label: Arc<str>,
    random: Arc<dyn Fn() -> f64 + Send + Sync>,
    pub(super) wall_clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl RateLimitRetryLayer {
    /// Holds as `policy` says. All services in front of one backend share its `backoff`.
    pub fn new(policy: Policy, backoff: Backoff) -> Self {
        let settings = Settings {
            policy,
            backoff,
            exhausted: Exhausted::default(),
            label: Arc::from("provider"),
            random: Arc::new(fastrand::f64),
            wall_clock: Arc::new(SystemTime::now),
        };
        Self { settings }
    }

    /// The words by which the provider says that waiting will not help; [`Exhausted::GENERIC`] by default.
    #[must_use]
    pub fn exhausted(mut self, words: Exhausted) -> Self {
        self.settings.exhausted = words;
        self
    }

    /// What the backend is called in logs and in the layer's own answers; `provider` by default.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.settings.label = label.into();
        self
    }

    /// Where random numbers come from: evenly spread, from 0 up to but not including 1. By default from a generator of
    /// the thread's own.
    #[must_use]
    pub fn random(mut self, source: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.settings.random = Arc::new(source);
        self
    }

    /// The time of day, for hints that name a point in time in an answer without a `Date`; by default the system's.
    #[must_use]
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.wall_clock = Arc::new(clock);
        self
    }
}

impl<S> Layer<S> for RateLimitRetryLayer {
    type Service = RateLimitRetry<S>;

    fn layer(&self, inner: S) -> RateLimitRetry<S> {
        RateLimitRetry::new(inner, Arc::new(self.settings.clone()))
    }
}

impl Settings {
    /// A random part of a duration.
    pub(super) fn random_part(&self, of: Duration) -> Duration {
        let part = (self.random)();
        // Someone else's generator, so not even "not a number" may panic here.
        if part > 0.0 { of.mul_f64(part.min(1.0)) } else { Duration::ZERO }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("policy", &self.policy)
            .field("backoff", &self.backoff)
            .field("exhausted", &self.exhausted)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
