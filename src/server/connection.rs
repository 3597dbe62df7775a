use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Sleep},
};
use tower_service::Service;

use super::{
    Limits, MOST_FIELDS,
    begun::{Begun, Version},
    io::Watched,
    state::{State, Waits},
    strict::Strict,
};
use crate::gateway::request_id::Ids;

/// The most that is read at a time, in bytes.
const LARGEST_READ: usize = 256 * 1024;

/// The time that the other end has to take part in the end of a connection.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// What the server wants of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serve,
    /// Answer what has begun, and close.
    Drain,
    /// Say now what is still to be said.
    Cut,
}

/// What all connections have in common.
pub(super) struct Connections {
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
    header_bytes: usize,
    header_timeout: Duration,
    /// How long a connection may wait for a request.
    idle_timeout: Duration,
    ids: Ids,
}

impl Connections {
    pub(super) fn new(limits: &Limits, ids: Ids) -> Self {
        let &Limits { header_bytes, header_timeout, keep_alive_timeout, .. } = limits;
        // Even where none is kept, there is time for a request.
        let idle_timeout = if keep_alive_timeout.is_zero() { header_timeout } else { keep_alive_timeout };
        let builder = builder(limits, idle_timeout);
        let (http1, http2) = (builder.clone().http1_only(), builder.http2_only());
        Self { http1, http2, header_bytes, header_timeout, idle_timeout, ids }
    }

    /// Serves one connection to its end. It has its place among the connections until then.
    pub(super) async fn serve<I, S, B>(
        self: Arc<Self>,
        io: I,
        service: S,
        state: Arc<State>,
        mut phase: watch::Receiver<Phase>,
        _place: OwnedSemaphorePermit,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let service = TowerToHyperService::new(Strict::new(service, Arc::clone(&state), self.ids.clone()));
        let mut io = Begun::new(Watched::new(io, self.header_bytes, Arc::clone(&state), self.ids.clone()));
        let mut late = pin!(tokio::time::sleep(self.idle_timeout));
        let version = loop {
            tokio::select! {
                biased;
                version = poll_fn(|cx| io.poll_version(cx)) => break version,
                changed = phase.changed() => match changed.map(|()| *phase.borrow_and_update()) {
                    Ok(Phase::Serve) => {}
                    // Nothing has been asked for.
                    Ok(Phase::Drain | Phase::Cut) | Err(_) => return,
                },
                waits = poll_fn(|cx| self.poll_late(&state, late.as_mut(), false, cx)) => match waits {
                    Waits::ForHead { .. } => state.expire(),
                    Waits::ForRequest { .. } => return,
                },
            }
        };
        let builder = if version == Version::Http2 { &self.http2 } else { &self.http1 };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let mut is_leaving = false;
        loop {
            let waits = poll_fn(|cx| self.poll_late(&state, late.as_mut(), is_leaving, cx));
            tokio::select! {
                biased;
                // First, so that what has been sent is read before the connection is asked to close.
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended with an error");
                    }
                    return;
                }
                changed = phase.changed() => match changed.map(|()| *phase.borrow_and_update()) {
                    Ok(Phase::Serve) => {}
                    Ok(Phase::Drain) => connection.as_mut().graceful_shutdown(),
                    Ok(Phase::Cut) => state.cut(),
                    // The server is gone, and its connections with it.
                    Err(_) => return,
                },
                waits = waits => {
                    if std::mem::replace(&mut is_leaving, true) {
                        return;
                    }
                    state.touch();
                    match waits {
                        Waits::ForHead { .. } => state.expire(),
                        Waits::ForRequest { .. } => connection.as_mut().graceful_shutdown(),
                    }
                }
            }
        }
    }

    /// What the connection has waited for for too long.
    fn poll_late(
        &self,
        state: &State,
        mut late: Pin<&mut Sleep>,
        is_leaving: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Waits> {
        loop {
            let Some(waits) = state.waits() else { return Poll::Pending };
            let due = self.due(waits, is_leaving);
            // Put off only when it fires: most of the time it is moved on by one request after another.
            if due < late.deadline() || late.is_elapsed() {
                late.as_mut().reset(due);
            }
            ready!(late.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(waits);
            }
        }
    }

    /// When a connection has waited for long enough.
    fn due(&self, waits: Waits, is_leaving: bool) -> Instant {
        match waits {
            Waits::ForHead { since } | Waits::ForRequest { since } if is_leaving => since + FAREWELL,
            Waits::ForHead { since } => since + self.header_timeout,
            Waits::ForRequest { since } => since + self.idle_timeout,
        }
    }
}

fn builder(limits: &Limits, idle_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .keep_alive(!limits.keep_alive_timeout.is_zero())
        .timer(TokioTimer::new())
        // hyper's closes without a word, and takes an idle connection for a late head.
        .header_read_timeout(None)
        .max_headers(MOST_FIELDS)
        // Large bodies are read in large pieces; what a head may take is seen to by `Watched`.
        .max_buf_size(limits.header_bytes.max(LARGEST_READ));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(250)
        // Streams that the client has reset while nobody had looked at them yet, and those that were reset for an error.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        // What one stream may hold of an answer that its client does not read.
        .max_send_buf_size(256 * 1024)
        // Finds out that the other end is gone although nothing is sent.
        .keep_alive_interval(idle_timeout.max(Duration::from_secs(1)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
