//! The server: a listener in front of a [`Gateway`](crate::Gateway), or of any service like it.

mod strict;

use std::{convert::Infallible, error::Error, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tower_service::Service;

use self::strict::Strict;
use crate::gateway::{instance_id, request_id::Ids};

/// The limits of a [`Server`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size of a request's head in bytes, answered with 431 above. 64 KiB.
    pub header_bytes: usize,
    /// The time for a whole request head. 10 s.
    pub header_timeout: Duration,
    /// Connections at a time; further ones are closed at once. 20,000.
    pub connections: usize,
    /// The time that requests have to finish when the server stops. 30 s.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            connections: 20_000,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// A bound listener, ready to serve HTTP/1.1 and HTTP/2.
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
}

impl Server {
    /// Binds to an address; port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// What the system says: the address is in use, or not this machine's, or needs more rights.
    pub async fn bind(address: SocketAddr, limits: Limits) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, limits })
    }

    /// The address that was bound.
    ///
    /// # Errors
    ///
    /// If the system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is ready, then closes the listener and lets the requests that were accepted finish, up to
    /// the shutdown timeout. Returns how many connections had to be cut.
    ///
    /// A request without exactly one `Host`, with a transfer encoding beside `chunked` (400), or with a target over
    /// 16 KiB (414) does not reach the service, and its connection is closed.
    pub async fn serve<S, B>(self, service: S, stop: impl Future<Output = ()>) -> usize
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { listener, limits } = self;
        let builder = connection_builder(&limits);
        let places = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let ids = Ids::new(instance_id());
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let stream = tokio::select! {
                // In this order, so that a signal is listened for before the first connection is taken, and heard before
                // the next one.
                biased;
                () = &mut stop => break,
                // Takes the finished ones out of the set, which would grow without end.
                Some(_) = connections.join_next() => continue,
                stream = accept(&listener) => stream,
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(limit = limits.connections, "too many connections; refused one");
                continue;
            };
            let service = TowerToHyperService::new(Strict::new(service.clone(), ids.clone()));
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            connections.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!(after = ?limits.shutdown_timeout, "requests were still running; their connections are cut");
        }
        // A connection that is done may not have been taken out of the set yet.
        while connections.try_join_next().is_some() {}
        let cut = connections.len();
        connections.shutdown().await;
        cut
    }
}

fn connection_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer, hyper does not enforce its header timeout.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(100)
        // hyper's least is 8 KiB.
        .max_buf_size(limits.header_bytes.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}

/// The next connection. Running out of file descriptors passes, so the server waits it out.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Events are small and have to leave at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
