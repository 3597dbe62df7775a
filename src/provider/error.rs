use std::{error::Error, fmt, time::Duration};

use pointsman_layers::ext::{ClassifyFailure, Failure, FailureKind};

use super::http1;

/// Why a provider gave no answer, or broke one off.
///
/// Its text names what went wrong and no part of the request, so it can be shown to a client.
#[derive(Debug)]
pub struct ProviderError {
    kind: Kind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connect,
    HeaderTimeout(Duration),
    IdleTimeout(Duration),
    Broken,
    InvalidUrl,
    NoAnswer,
    Stopping,
}

impl ProviderError {
    pub(super) fn header_timeout(timeout: Duration) -> Self {
        Self { kind: Kind::HeaderTimeout(timeout), source: None }
    }

    pub(super) fn idle_timeout(timeout: Duration) -> Self {
        Self { kind: Kind::IdleTimeout(timeout), source: None }
    }

    pub(super) fn invalid_url(source: http::Error) -> Self {
        Self { kind: Kind::InvalidUrl, source: Some(source.into()) }
    }

    pub(super) fn broken(source: hyper::Error) -> Self {
        Self { kind: Kind::Broken, source: Some(source.into()) }
    }

    pub(super) fn no_answer() -> Self {
        Self { kind: Kind::NoAnswer, source: None }
    }

    /// The answer is given up because the gateway stops.
    pub(crate) fn stopping() -> Self {
        Self { kind: Kind::Stopping, source: None }
    }

    pub(super) fn http1(error: http1::Error) -> Self {
        match error {
            http1::Error::Connect(source) => Self { kind: Kind::Connect, source: Some(source) },
            http1::Error::Broken(source) => Self { kind: Kind::Broken, source: Some(source.into()) },
        }
    }

    pub(super) fn request(source: hyper_util::client::legacy::Error) -> Self {
        let kind = if source.is_connect() { Kind::Connect } else { Kind::Broken };
        Self { kind, source: Some(source.into()) }
    }

    /// What the error means for the request: whether it can have been carried out.
    pub fn failure(&self) -> Failure {
        match self.kind {
            Kind::Connect => Failure::UNREACHABLE,
            Kind::HeaderTimeout(_) | Kind::IdleTimeout(_) => Failure::TIMEOUT,
            Kind::Broken | Kind::NoAnswer | Kind::Stopping => Failure::BROKEN,
            Kind::InvalidUrl => Failure { kind: FailureKind::Unreachable, ambiguous: false },
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Connect => f.write_str("could not connect")?,
            Kind::HeaderTimeout(timeout) => return write!(f, "no answer within {timeout:?}"),
            Kind::IdleTimeout(timeout) => return write!(f, "nothing more came for {timeout:?}"),
            Kind::Broken => f.write_str("the connection broke")?,
            Kind::NoAnswer => return f.write_str("the connection switched to another protocol"),
            Kind::Stopping => return f.write_str("the gateway stops"),
            Kind::InvalidUrl => f.write_str("the request's path cannot be joined to the provider's URL")?,
        }
        // The innermost cause says it best: `connection refused`, not `client error (Connect)`.
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(inner) = cause.and_then(Error::source) {
            cause = Some(inner);
        }
        match cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Reads a [`ProviderError`] for the layers above.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassifyProviderError;

impl ClassifyFailure<ProviderError> for ClassifyProviderError {
    fn classify(&self, error: &ProviderError) -> Failure {
        error.failure()
    }
}
