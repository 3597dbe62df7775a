use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, uri::PathAndQuery};
use hyper_util::client::legacy;
use memchr::memmem::Finder;
use pin_project::pin_project;
use pointsman_layers::{body::ReplayBody, ext::Endpoint};
use tokio::time::Sleep;
use tower_service::Service;

use super::{
    Client, ProviderBody, ProviderError,
    body::Inner,
    headers::{self, Credential},
    http1::{Exchange, Http1},
    presets::Dialect,
    url::BaseUrl,
};

/// How long to wait for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection: name resolution, TCP and TLS together. 10 s.
    pub connect: Duration,
    /// From sending the request to the head of the answer. 60 s.
    pub headers: Duration,
    /// Between two frames of the answer. 120 s.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), headers: Duration::from_secs(60), idle: Duration::from_secs(120) }
    }
}

/// One provider: takes a request for a path of the API, sends it to the provider's host with the provider's credential,
/// and hands its answer up as it comes.
///
/// The client's own credential, cookies, hop-by-hop and forwarding headers stay behind; everything else goes through
/// untouched, the body byte for byte. The answer loses its hop-by-hop headers, cookies, and whatever echoes the
/// credential. Redirects are not followed.
///
/// # Cancellation
///
/// Dropping the future or the body closes the connection to the provider, or resets the HTTP/2 stream.
#[derive(Clone)]
pub struct Provider {
    /// All of it, as a provider is cloned for each request.
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    client: Client,
    /// Goes before the client where it can be used.
    http1: Option<Http1>,
    settings: Settings,
}

struct Settings {
    base: BaseUrl,
    /// The headers that replace the client's, the credential among them.
    own: HeaderMap,
    dialect: Option<Spoken>,
    /// Finds the credential in what comes back.
    secret: Option<Finder<'static>>,
    client_credential: Credential,
    timeouts: Timeouts,
}

/// A dialect, with the headers that its requests have instead of the others.
struct Spoken {
    dialect: Dialect,
    own: HeaderMap,
    /// Those that a request only has if the client sends none.
    defaults: HeaderMap,
}

/// Builds a [`Provider`].
pub struct ProviderBuilder {
    settings: Settings,
    headers: HeaderMap,
}

impl Provider {
    /// A provider below `base_url`, or `None` if that has no scheme or host.
    pub fn builder(base_url: &Uri) -> Option<ProviderBuilder> {
        let settings = Settings {
            base: BaseUrl::new(base_url)?,
            own: HeaderMap::new(),
            dialect: None,
            secret: None,
            client_credential: Credential::Clients,
            timeouts: Timeouts::default(),
        };
        Some(ProviderBuilder { settings, headers: HeaderMap::new() })
    }
}

impl ProviderBuilder {
    /// Sets a header on every request, replacing the client's, and the credential if that is in it. A hop-by-hop header,
    /// `Content-Length` and `Expect` are not taken: each connection has its own.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if !headers::concerns_the_connection(&name) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Sets the header that carries the credential. `secret` is the part of the value that must never come back.
    #[must_use]
    pub fn credential(mut self, name: HeaderName, mut value: HeaderValue, secret: &str) -> Self {
        value.set_sensitive(true);
        self.settings.secret = (!secret.is_empty()).then(|| Finder::new(secret).into_owned());
        self.settings.own = HeaderMap::from_iter([(name, value)]);
        self
    }

    /// Sends requests for the paths of this dialect with its own headers, and the credential in its own form.
    #[must_use]
    pub fn dialect(mut self, dialect: &Dialect, credential: Option<(HeaderName, HeaderValue)>) -> Self {
        let defaults = dialect.headers.iter();
        let defaults = defaults.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let (own, defaults) = (credential.into_iter().collect(), defaults.collect());
        self.settings.dialect = Some(Spoken { dialect: dialect.clone(), own, defaults });
        self
    }

    /// Lets the client's own `Authorization` and key headers travel on.
    #[must_use]
    pub fn forward_client_auth(mut self) -> Self {
        self.settings.client_credential = Credential::Forwarded;
        self
    }

    /// Sends these headers of the request as they are: a layer above, such as
    /// [`OAuthLayer`](pointsman_layers::oauth::OAuthLayer), has replaced the client's.
    #[must_use]
    pub fn credential_from_above(mut self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings.client_credential = Credential::FromAbove(headers.into_iter().collect());
        self
    }

    /// Replaces the default timeouts. That for connections is the [`Client`]'s.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.settings.timeouts = timeouts;
        self
    }

    /// The provider, on this client.
    pub fn build(self, client: Client) -> Provider {
        let Self { mut settings, headers } = self;
        let root = settings.base.url(PathAndQuery::from_static("/"));
        let http1 = root.ok().and_then(|root| Http1::new(client.connector.clone(), &root));
        for own in [&mut settings.own].into_iter().chain(settings.dialect.as_mut().map(|spoken| &mut spoken.own)) {
            own.extend(headers.clone());
        }
        Provider { shared: Arc::new(Shared { client, http1, settings }) }
    }
}

impl Service<Request<ReplayBody>> for Provider {
    type Response = Response<ProviderBody>;
    type Error = ProviderError;
    type Future = ProviderFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProviderError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> ProviderFuture {
        let shared = &self.shared;
        let Shared { client, http1, settings } = &**shared;
        // A credential may bring along the base URL that it is for.
        let brought = request.extensions().get::<Endpoint>().and_then(|endpoint| BaseUrl::new(&endpoint.0));
        let base = brought.as_ref().unwrap_or(&settings.base);
        let invalid = |error| ProviderFuture::failed(ProviderError::invalid_url(error), shared);
        let target = match base.join(request.uri()) {
            Ok(target) => target,
            Err(error) => return invalid(error),
        };
        let spoken = settings.dialect.as_ref().filter(|spoken| spoken.dialect.covers(request.uri().path()));
        let (mut parts, body) = request.into_parts();
        let fields = settings.fields(&parts.headers, spoken);
        let is_elsewhere = brought.as_ref().is_some_and(|brought| !brought.is_beside(&settings.base));
        let response = match http1.as_ref().filter(|_| !is_elsewhere) {
            Some(http1) => Sent::Http1(http1.request(parts.method.clone(), &target, fields, body)),
            None => {
                parts.headers = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
                parts.uri = match base.url(target) {
                    Ok(url) => url,
                    Err(error) => return invalid(error),
                };
                // The version is the client's; the connection to the provider has its own.
                parts.version = http::Version::HTTP_11;
                Sent::Hyper(client.inner.request(Request::from_parts(parts, body)))
            }
        };
        let timer = tokio::time::sleep(settings.timeouts.headers);
        ProviderFuture { state: State::Sent { response, timer }, shared: Arc::clone(shared) }
    }
}

impl Shared {
    /// How long to wait for a frame of an answer.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.settings.timeouts.idle
    }

    /// Removes from the trailers of an answer what must not reach a client.
    pub(super) fn clean_trailers(&self, trailers: &mut HeaderMap) {
        headers::clean_response(trailers, self.settings.secret.as_ref());
        trailers.remove(http::header::CONTENT_LENGTH);
    }
}

impl Settings {
    /// The headers of a request to the provider.
    fn fields<'a>(
        &'a self,
        client: &'a HeaderMap,
        spoken: Option<&'a Spoken>,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let own = spoken.map_or(&self.own, |spoken| &spoken.own);
        // They are few, so this is faster than to look one up.
        let is_own = |name: &HeaderName| own.keys().any(|own| own == name);
        let clients = headers::travelling(client, &self.client_credential).filter(move |(name, _)| !is_own(name));
        let defaults = spoken.into_iter().flat_map(|spoken| &spoken.defaults);
        let missing = defaults.filter(move |(name, _)| !is_own(name) && !client.contains_key(*name));
        own.iter().chain(missing).chain(clients)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("base", &self.shared.settings.base).finish_non_exhaustive()
    }
}

impl fmt::Debug for ProviderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderBuilder").field("base", &self.settings.base).finish_non_exhaustive()
    }
}

/// The response future of [`Provider`].
#[pin_project]
pub struct ProviderFuture {
    #[pin]
    state: State,
    shared: Arc<Shared>,
}

#[pin_project(project = StateProj)]
enum State {
    Sent {
        response: Sent,
        #[pin]
        timer: Sleep,
    },
    Failed(Option<ProviderError>),
}

enum Sent {
    Hyper(legacy::ResponseFuture),
    Http1(Exchange),
}

impl Sent {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Inner>, ProviderError>> {
        match self {
            Self::Hyper(response) => {
                let response = Pin::new(response).poll(cx).map_ok(|response| response.map(Inner::Hyper));
                response.map_err(ProviderError::request)
            }
            Self::Http1(exchange) => {
                let response = Pin::new(exchange).poll(cx).map_ok(|response| response.map(Inner::Http1));
                response.map_err(ProviderError::http1)
            }
        }
    }
}

impl ProviderFuture {
    fn failed(error: ProviderError, shared: &Arc<Shared>) -> Self {
        Self { state: State::Failed(Some(error)), shared: Arc::clone(shared) }
    }
}

impl Future for ProviderFuture {
    type Output = Result<Response<ProviderBody>, ProviderError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let settings = &this.shared.settings;
        match this.state.project() {
            StateProj::Sent { response, timer } => match response.poll(cx) {
                // The one informational status that hyper hands up: nobody asked for another protocol.
                Poll::Ready(Ok(response)) if response.status().is_informational() => {
                    Poll::Ready(Err(ProviderError::no_answer()))
                }
                Poll::Ready(Ok(mut response)) => {
                    headers::clean_response(response.headers_mut(), settings.secret.as_ref());
                    // The version is the provider's; whoever hands the answer on has its own.
                    *response.version_mut() = http::Version::HTTP_11;
                    Poll::Ready(Ok(response.map(|body| ProviderBody::new(body, Arc::clone(this.shared)))))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => timer.poll(cx).map(|()| Err(ProviderError::header_timeout(settings.timeouts.headers))),
            },
            StateProj::Failed(error) => {
                Poll::Ready(Err(error.take().expect("a future is not polled after it is ready")))
            }
        }
    }
}

impl fmt::Debug for ProviderFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderFuture").finish_non_exhaustive()
    }
}
