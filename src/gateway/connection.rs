use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::provider::ProviderError;

/// The connection that a request came on: an extension of every request that a [`Server`](crate::server::Server) takes.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    peer: SocketAddr,
    is_cut: AtomicBool,
    /// Wakes what waits for the cut.
    cutting: Arc<Notify>,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self(Arc::new(Shared { peer, is_cut: AtomicBool::new(false), cutting: Arc::default() }))
    }

    /// The address of the other end.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Ready when the server stops and waits no longer for the requests that are under way: what is still to be said
    /// has to be said now.
    pub fn cut(&self) -> Cut {
        Cut { notified: None, waker: None, shared: Arc::clone(&self.0) }
    }

    /// Makes every [`Cut`] of this connection ready.
    pub(crate) fn cut_now(&self) {
        self.0.is_cut.store(true, SeqCst);
        self.0.cutting.notify_waiters();
    }
}

/// The future of [`Connection::cut`].
#[pin_project]
#[derive(Debug)]
pub struct Cut {
    #[pin]
    notified: Option<OwnedNotified>,
    /// The task that is woken.
    waker: Option<Waker>,
    shared: Arc<Shared>,
}

impl Future for Cut {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        // It is looked at for each piece of a stream, and takes a lock only once.
        if !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            if this.notified.is_none() {
                this.notified.set(Some(Arc::clone(&this.shared.cutting).notified_owned()));
            }
            if this.notified.as_pin_mut().is_some_and(|notified| notified.poll(cx).is_ready()) {
                return Poll::Ready(());
            }
            *this.waker = Some(cx.waker().clone());
        }
        // A cut after this look wakes the task.
        if this.shared.is_cut.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A provider's body that breaks when its connection is cut, so that the client is told as of any other break.
#[pin_project]
#[derive(Debug)]
pub(crate) struct CutBody<B> {
    #[pin]
    inner: B,
    connection: Option<Connection>,
    /// Made when the body is first waited for. Boxed, as a body is moved about before.
    cut: Option<Pin<Box<Cut>>>,
}

impl<B> CutBody<B> {
    pub(super) fn new(inner: B, connection: Option<Connection>) -> Self {
        Self { inner, connection, cut: None }
    }
}

impl<B: Body<Data = Bytes, Error = ProviderError>> Body for CutBody<B> {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let Some(connection) = this.connection else { return Poll::Pending };
        let cut = this.cut.get_or_insert_with(|| Box::pin(connection.cut()));
        cut.as_mut().poll(cx).map(|()| Some(Err(ProviderError::stopping())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
