use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep};

use super::ProviderError;

/// A provider's response body: its frames as they come, and an error when nothing comes for too long.
#[pin_project]
#[derive(Debug)]
pub struct ProviderBody {
    #[pin]
    inner: Incoming,
    idle_timeout: Duration,
    /// Made when the body is first waited for, and moved on only when it fires: a frame costs a look at the clock.
    #[pin]
    timer: Option<Sleep>,
    waiting_since: Instant,
}

impl ProviderBody {
    pub(super) fn new(inner: Incoming, idle_timeout: Duration) -> Self {
        Self { inner, idle_timeout, timer: None, waiting_since: Instant::now() }
    }
}

impl Body for ProviderBody {
    type Data = Bytes;
    type Error = ProviderError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProviderError>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            *this.waiting_since = Instant::now();
            return Poll::Ready(frame.map(|frame| frame.map_err(ProviderError::broken)));
        }
        loop {
            let due = *this.waiting_since + *this.idle_timeout;
            match this.timer.as_mut().as_pin_mut() {
                None => this.timer.set(Some(tokio::time::sleep_until(due))),
                Some(mut timer) => match timer.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) if Instant::now() >= due => {
                        return Poll::Ready(Some(Err(ProviderError::idle_timeout(*this.idle_timeout))));
                    }
                    Poll::Ready(()) => timer.reset(due),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
