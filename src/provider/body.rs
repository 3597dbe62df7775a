use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{ProviderError, http1::Http1Body, service::Shared};

/// A provider's response body: its frames as they come, and an error when nothing comes for too long.
pub struct ProviderBody {
    inner: Inner,
    provider: Arc<Shared>,
    /// Made when the body is first waited for, and moved on only when it fires: a frame costs a look at the clock.
    /// Boxed, so that the body can be moved.
    timer: Option<Pin<Box<Sleep>>>,
    /// When the reader began to wait for the next frame. Not set while it does not ask: a slow reader is not a slow
    /// provider.
    waiting_since: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Inner {
    Hyper(Incoming),
    Http1(Http1Body),
}

impl ProviderBody {
    pub(super) fn new(inner: Inner, provider: Arc<Shared>) -> Self {
        Self { inner, provider, timer: None, waiting_since: None }
    }
}

impl Inner {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        match self {
            Self::Hyper(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(ProviderError::broken)))
            }
            Self::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(ProviderError::http1)))
            }
        }
    }
}

impl Body for ProviderBody {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        if let Poll::Ready(mut frame) = self.inner.poll_frame(cx) {
            self.waiting_since = None;
            if let Some(Ok(frame)) = &mut frame
                && let Some(trailers) = frame.trailers_mut()
            {
                self.provider.clean_trailers(trailers);
            }
            return Poll::Ready(frame);
        }
        let idle_timeout = self.provider.idle_timeout();
        let due = *self.waiting_since.get_or_insert_with(Instant::now) + idle_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(Some(Err(ProviderError::idle_timeout(idle_timeout))));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Hyper(body) => body.is_end_stream(),
            Inner::Http1(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Hyper(body) => body.size_hint(),
            Inner::Http1(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ProviderBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
