//! Credential files from the configuration, and the HTTP client that renews or exchanges what is in them.

use std::error::Error;

use http::{HeaderName, HeaderValue, header};
use hyper_util::client::legacy;
use pointsman_layers::oauth::{
    Credential, CredentialFile, CredentialFileOptions, ExchangeOptions, OAuthLayer, RefreshGrant, SourceFuture,
    TokenExchange, TokenSource,
};
use tower::ServiceExt as _;

use crate::{
    config::{Exchange, Grant, OAuth},
    provider::{Client, presets::AuthForm},
};

/// Where the tokens of a backend come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The file's token is sent.
    File(CredentialFile),
    /// The file's token is exchanged for the one that is sent.
    Exchange(TokenExchange<CredentialFile>),
}

impl Source {
    /// The source that `oauth` describes, or why it cannot be used.
    pub(super) fn new(oauth: &OAuth, client: Client) -> Result<Self, String> {
        let file = credential_file(oauth, client.clone())?;
        Ok(match &oauth.exchange {
            Some(exchange) => Self::Exchange(TokenExchange::new(file, exchange_options(exchange, oauth)?, client)),
            None => Self::File(file),
        })
    }

    /// The credential file.
    pub(super) fn file(&self) -> &CredentialFile {
        match self {
            Self::File(file) => file,
            Self::Exchange(exchange) => exchange.source(),
        }
    }

    /// What is wrong, in a sentence.
    pub(super) fn problem(&self) -> Option<String> {
        let exchange = match self {
            Self::File(_) => None,
            Self::Exchange(exchange) => exchange.problem(),
        };
        self.file().status().problem.or(exchange)
    }
}

impl TokenSource for Source {
    fn current(&self) -> Option<Credential> {
        match self {
            Self::File(file) => file.current(),
            Self::Exchange(exchange) => exchange.current(),
        }
    }

    fn token(&self) -> SourceFuture<Credential> {
        match self {
            Self::File(file) => file.token(),
            Self::Exchange(exchange) => exchange.token(),
        }
    }

    fn refused(&self, refused: &Credential) -> SourceFuture<Option<Credential>> {
        match self {
            Self::File(file) => file.refused(refused),
            Self::Exchange(exchange) => exchange.refused(refused),
        }
    }
}

/// The file that `oauth` describes, or why it cannot be used.
pub(crate) fn credential_file(oauth: &OAuth, client: Client) -> Result<CredentialFile, String> {
    let mut options = CredentialFileOptions::new(&oauth.path)
        .access(&oauth.access)
        .refresh(&oauth.refresh)
        .expiry(oauth.expiry.clone())
        .mode(oauth.mode)
        .lock_stale(oauth.lock_stale)
        .allow_hosts(oauth.allow_hosts.iter().cloned())
        .remedy(&oauth.remedy);
    if let Some(endpoint) = &oauth.endpoint {
        options = options.endpoint(endpoint);
    }
    if let Some(lock) = &oauth.lock {
        options = options.lock(lock);
    }
    if let Some(grant) = &oauth.grant {
        options = options.grant(refresh_grant(grant)?);
    }
    Ok(CredentialFile::new(options, client.map_err(innermost)))
}

fn refresh_grant(grant: &Grant) -> Result<RefreshGrant, String> {
    let refresh = RefreshGrant::new(grant.token_url.clone()).map_err(|error| error.to_string())?;
    let refresh = refresh.encoding(grant.encoding).client_id(&grant.client_id);
    Ok(grant.fields.iter().fold(refresh, |refresh, (name, value)| refresh.field(name, value)))
}

fn exchange_options(exchange: &Exchange, oauth: &OAuth) -> Result<ExchangeOptions, String> {
    let options = ExchangeOptions::new(exchange.url.clone()).map_err(|error| error.to_string())?;
    let mut options = options
        .access(&exchange.access)
        .expiry(exchange.expiry.clone())
        .allow_hosts(oauth.allow_hosts.iter().cloned())
        .remedy(&oauth.remedy);
    if let Some((name, template)) = token_header(&exchange.auth) {
        options = options.token_header(name, template);
    }
    if let Some(endpoint) = &exchange.endpoint {
        options = options.endpoint(endpoint);
    }
    let headers = exchange.headers.iter();
    Ok(headers.fold(options, |options, (name, value)| options.header(name.clone(), value.clone())))
}

/// The header in which a token travels in this form, for a layer to fill in.
pub(super) fn token_header(auth: &AuthForm) -> Option<(HeaderName, HeaderValue)> {
    Some((auth.header_name()?, auth.header_value("{token}").ok()?))
}

/// The layer that puts in the tokens of `source`, with the headers that go with them; without a source, one that passes
/// requests on.
pub(super) fn layer(oauth: Option<&OAuth>, source: Option<Source>) -> OAuthLayer<Source> {
    let layer = OAuthLayer::optional(source);
    let headers = oauth.map(|oauth| &oauth.headers).into_iter().flatten();
    headers.fold(layer, |layer, (name, value)| layer.header(name.clone(), value.clone()))
}

/// The headers that this layer puts in.
pub(super) fn headers(oauth: &OAuth) -> impl Iterator<Item = HeaderName> {
    [header::AUTHORIZATION].into_iter().chain(oauth.headers.keys().cloned())
}

/// The innermost cause says it best: `connection refused`, not `client error (Connect)`.
pub(crate) fn innermost(error: legacy::Error) -> String {
    let mut cause: &dyn Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
