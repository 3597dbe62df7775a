//! The server: a listener in front of a [`Gateway`](crate::Gateway), or of any service like it.

mod begun;
mod connection;
mod heads;
mod io;
mod linger;
mod refuse;
mod state;
mod strict;
mod tls;

use std::{convert::Infallible, error::Error, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tower_service::Service;

pub use self::tls::{Tls, TlsError};
use self::{
    connection::{Connections, Phase},
    refuse::Refusals,
    state::State,
};
pub use crate::gateway::connection::{Connection, Cut};
use crate::gateway::{instance_id, request_id::Ids};

/// The most header fields of a request.
const MOST_FIELDS: usize = 100;

/// How long a server that stops still takes connections, and then reads from them: what clients sent before they could
/// know is answered.
const LINGER: Duration = Duration::from_millis(50);

/// The time that is left, after the shutdown timeout, to say that an answer ends here.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The limits of a [`Server`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size of a request's head in bytes, answered with 431 above. 64 KiB.
    pub header_bytes: usize,
    /// The time for a whole request head, answered with 408 after, and for a TLS handshake. 10 s.
    pub header_timeout: Duration,
    /// The time after which a connection without a request is closed. 75 s. With none at all no connection is kept: each
    /// answer of HTTP/1 closes its own, and the others have `header_timeout`.
    pub keep_alive_timeout: Duration,
    /// Connections at a time; further ones are answered with 503 and closed at once. 20,000.
    pub connections: usize,
    /// The time that requests have to finish when the server stops. 30 s.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            connections: 20_000,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// A bound listener, ready to serve HTTP/1.1 and HTTP/2, with or without TLS.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use pointsman::server::{Limits, Server};
/// use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = Server::bind(([127, 0, 0, 1], 0).into(), Limits::default()).await?;
/// println!("listening on http://{}", server.local_addr()?);
/// let hello = service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new("hello".to_owned())));
/// let stop = async {}; // at once
/// server.serve(hello, stop).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
    tls: Option<Tls>,
}

impl Server {
    /// Binds to an address; port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// What the system says: the address is in use, or not this machine's, or needs more rights.
    pub async fn bind(address: SocketAddr, limits: Limits) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, limits, tls: None })
    }

    /// Speaks TLS, and nothing else.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The address that was bound.
    ///
    /// # Errors
    ///
    /// If the system cannot tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is ready, then closes the listener and lets the requests that were accepted finish, up to
    /// the shutdown timeout. Those that are left get a last word: a 503, or what the service says on
    /// [`Connection::cut`]. Returns how many connections had to be cut.
    ///
    /// A request that another server could read in another way (400), with a target over 16 KiB (414), with more than
    /// 100 header fields (431), and `CONNECT` and `TRACE` (405) do not reach the service, and their connection is
    /// closed. The service finds a [`Connection`] among the extensions of each request.
    pub async fn serve<S, B>(self, service: S, stop: impl Future<Output = ()>) -> usize
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { listener, limits, tls } = self;
        let ids = Ids::new(instance_id());
        let serving = Arc::new(Connections::new(&limits, ids.clone()));
        let places = Arc::new(Semaphore::new(limits.connections));
        let refusals = Refusals::new(tls.is_some(), ids);
        // Looks for new certificates as long as this server runs.
        let _watching = tls.as_ref().map(Tls::watch);
        let (phase, phases) = watch::channel(Phase::Serve);
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(async {
            stop.await;
            tokio::time::sleep(LINGER).await;
        });
        loop {
            let (stream, peer) = tokio::select! {
                // In this order, so that a signal is listened for before the first connection is taken, and heard before
                // the next one.
                biased;
                () = &mut stop => break,
                // Takes the finished ones out of the set, which would grow without end.
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener) => accepted,
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(limit = limits.connections, "too many connections; refused one");
                refusals.refuse(stream);
                continue;
            };
            let (state, service, phases) = (State::new(peer), service.clone(), phases.clone());
            let serving = Arc::clone(&serving);
            // Two tasks, so that the one without TLS has no room for it.
            match tls.clone() {
                None => connections.spawn(serving.serve(stream, service, state, phases, place)),
                Some(tls) => connections.spawn(async move {
                    match timeout(limits.header_timeout, tls.accept(stream)).await {
                        Ok(Ok(stream)) => serving.serve(stream, service, state, phases, place).await,
                        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                        Err(_) => tracing::debug!("a TLS handshake took too long"),
                    }
                }),
            };
        }
        drop(listener);
        tokio::time::sleep(LINGER).await;
        phase.send_replace(Phase::Drain);
        let all_closed = async |connections: &mut JoinSet<()>| while connections.join_next().await.is_some() {};
        if timeout(limits.shutdown_timeout, all_closed(&mut connections)).await.is_ok() {
            return 0;
        }
        let cut = connections.len();
        tracing::warn!(after = ?limits.shutdown_timeout, cut, "requests were still running; their connections are cut");
        phase.send_replace(Phase::Cut);
        // Some clients do not read what they are told.
        let _ = timeout(LAST_WORDS, all_closed(&mut connections)).await;
        connections.shutdown().await;
        cut
    }
}

/// The next connection. Running out of file descriptors passes, so the server waits it out.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Events are small and have to leave at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
