use std::{convert::Infallible, error::Error, net::SocketAddr};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service;

use super::upstream::bound;

/// A service behind a plain hyper server, HTTP/1 and HTTP/2, on a port of its own. Dropping it stops both.
#[derive(Debug)]
pub struct Served {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Served {
    /// Serves `service`, a clone of it per connection.
    pub fn start<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let listener = bound().listen(1024).expect("a bound socket listens");
        let addr = listener.local_addr().expect("a listener has an address");
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    // The client sees how a connection ended; there is nobody else to tell.
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { addr, accepting }
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
