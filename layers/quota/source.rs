use std::{borrow::Cow, fmt, pin::Pin, time::Duration};

use serde_json::Value;

/// The future of [`QuotaSource::fetch`].
pub type QuotaFetch = Pin<Box<dyn Future<Output = Result<Value, QuotaError>> + Send>>;

/// Knows how to ask for the quota of one backend.
///
/// Implemented for closures `Fn() -> impl Future<Output = Result<Value, QuotaError>>`.
pub trait QuotaSource: Send + Sync + 'static {
    /// Asks. The future is dropped when it takes longer than the [timeout](super::QuotaOptions::timeout).
    fn fetch(&self) -> QuotaFetch;
}

impl<F, Fut> QuotaSource for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, QuotaError>> + Send + 'static,
{
    fn fetch(&self) -> QuotaFetch {
        Box::pin(self())
    }
}

/// Why a quota could not be had. The message is shown to operators and may reach clients: it holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaError {
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl QuotaError {
    /// An error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), retry_after: None }
    }

    /// Says how long not to ask again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long not to ask again, if the source said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for QuotaError {}
