use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use pointsman_layers::body::ReplayBody;
use tokio::time::Timeout;
use tower_service::Service;

/// The pooled HTTP client that all providers share: HTTP/1.1, and HTTP/2 where TLS negotiates it.
///
/// Certificates are checked by the platform's verifier, or against the bundled Mozilla roots where the platform has
/// none.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) inner: legacy::Client<Connector, ReplayBody>,
    pub(super) connector: Connector,
}

impl Client {
    /// A client that gives up on a connection (name resolution, TCP and TLS together) after `connect_timeout`.
    pub fn new(connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.enforce_http(false);
        // Shared out among the addresses of a host, so that one where nobody answers leaves time for the next. A little
        // longer than all of connecting may take: a single address is given up by the connector below, which says why.
        tcp.set_connect_timeout(Some(connect_timeout.saturating_add(Duration::from_millis(10))));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls_config()).https_or_http().enable_all_versions();
        let connector = Connector { inner: https.wrap_connector(tcp), timeout: connect_timeout };
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .build(connector.clone());
        Self { inner, connector }
    }
}

/// For requests beside the API, such as one for a quota: sent as it is, answered as it comes.
impl Service<Request<ReplayBody>> for Client {
    type Response = Response<Incoming>;
    type Error = legacy::Error;
    type Future = legacy::ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), legacy::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> legacy::ResponseFuture {
        self.inner.request(request)
    }
}

fn tls_config() -> rustls::ClientConfig {
    use rustls_platform_verifier::BuilderVerifierExt as _;

    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default protocol versions")
    };
    match builder().with_platform_verifier() {
        Ok(config) => config.with_no_client_auth(),
        Err(_) => {
            let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
            builder().with_root_certificates(roots).with_no_client_auth()
        }
    }
}

/// A connector with a deadline on the whole of connecting, which hyper's own has for TCP alone.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

type Inner = HttpsConnector<HttpConnector>;

/// A connection in the making.
pub(super) type Dialing = Connecting<<Inner as Service<Uri>>::Future>;

impl Service<Uri> for Connector {
    type Response = <Inner as Service<Uri>>::Response;
    type Error = <Inner as Service<Uri>>::Error;
    type Future = Dialing;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Box::pin(tokio::time::timeout(self.timeout, self.inner.call(uri)));
        Connecting { inner, timeout: self.timeout }
    }
}

/// The future of a [`Connector`]. Boxed, once for each connection, as hyper's client wants it `Unpin`.
pub(super) struct Connecting<F> {
    inner: Pin<Box<Timeout<F>>>,
    timeout: Duration,
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<io::Error>,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx).map(|result| {
            result.unwrap_or_else(|_| {
                let text = format!("no connection within {:?}", self.timeout);
                Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
            })
        })
    }
}
