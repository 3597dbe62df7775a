use std::{fmt, time::Duration};

use http::{HeaderName, HeaderValue, Uri, header};

use crate::oauth::{
    Expiry,
    file::matches_host,
    server::{InsecureUrl, require_secure},
};

/// Describes an exchange; see [`TokenExchange`](super::TokenExchange).
#[derive(Clone)]
pub struct ExchangeOptions {
    pub(super) url: Uri,
    pub(super) token_header: (HeaderName, HeaderValue),
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) access: String,
    pub(super) endpoint: Option<String>,
    pub(super) expiry: Expiry,
    pub(super) allow_hosts: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) remedy: Option<String>,
}

impl ExchangeOptions {
    /// A GET of `url` with the long-lived token as `Authorization: Bearer …`, answered with a JSON object that has the
    /// token at `/token`, no endpoint and no expiry. It is given 15 s.
    ///
    /// # Errors
    ///
    /// If the URL is not `https`; plain `http` is for loopback hosts only.
    pub fn new(url: Uri) -> Result<Self, InsecureUrl> {
        require_secure(&url)?;
        Ok(Self {
            url,
            token_header: (header::AUTHORIZATION, HeaderValue::from_static("Bearer {token}")),
            headers: Vec::new(),
            access: "/token".into(),
            endpoint: None,
            expiry: Expiry::None,
            allow_hosts: Vec::new(),
            timeout: Duration::from_secs(15),
            remedy: None,
        })
    }

    /// Sends the long-lived token in this header instead. `{token}` in the value stands for it: `token {token}` is
    /// GitHub's form.
    #[must_use]
    pub fn token_header(mut self, name: HeaderName, template: HeaderValue) -> Self {
        self.token_header = (name, template);
        self
    }

    /// Sets a further header of the request.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The JSON pointer of the token in the answer.
    #[must_use]
    pub fn access(mut self, pointer: impl Into<String>) -> Self {
        self.access = pointer.into();
        self
    }

    /// The JSON pointer of the base URL that the token is for. It is used as it is.
    #[must_use]
    pub fn endpoint(mut self, pointer: impl Into<String>) -> Self {
        self.endpoint = Some(pointer.into());
        self
    }

    /// Where the answer says when the token expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// The hosts that the endpoint may have; `*` stands for any text without a dot. None by default.
    #[must_use]
    pub fn allow_hosts<I: IntoIterator<Item: Into<String>>>(mut self, patterns: I) -> Self {
        self.allow_hosts.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// How long the exchange may take as a whole.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What a person can do when the long-lived token is no good: ``run `vendor login` ``.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn allows_host(&self, host: &str) -> bool {
        self.allow_hosts.iter().any(|pattern| matches_host(pattern, host))
    }

    /// A sentence about the exchange: who answers it, and what came of it.
    pub(super) fn sentence(&self, what: impl fmt::Display) -> String {
        format!("the token exchange at {} {what}", self.url.host().unwrap_or_default())
    }

    /// The same with the remedy.
    pub(super) fn sentence_with_remedy(&self, what: impl fmt::Display) -> String {
        let sentence = self.sentence(what);
        match &self.remedy {
            Some(remedy) => format!("{sentence}; {remedy}"),
            None => sentence,
        }
    }
}

/// Shows the names of the headers only: a value may be a secret.
impl fmt::Debug for ExchangeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeOptions")
            .field("url", &self.url)
            .field("token_header", &self.token_header.0)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("access", &self.access)
            .field("endpoint", &self.endpoint)
            .field("expiry", &self.expiry)
            .field("allow_hosts", &self.allow_hosts)
            .finish_non_exhaustive()
    }
}
