use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use super::{
    QuotaReading,
    entry::{Entry, Joined, cut_off, no_answer_within},
};

/// Reads the quota of one backend: a request extension, set by [`Quota`](super::Quota), and what
/// [`QuotaCache::handle`](super::QuotaCache::handle) gives.
#[derive(Clone, Debug)]
pub struct QuotaHandle(Arc<Entry>);

impl QuotaHandle {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Self(entry)
    }

    /// The quota if it can be had without waiting: a fresh answer, or a failure that is still remembered.
    ///
    /// With [`Refresh::Background`](super::Refresh::Background) also an expired answer; a fetch is started then.
    ///
    /// # Panics
    ///
    /// If a fetch has to be started and this is not called within a Tokio runtime.
    pub fn cached(&self) -> Option<QuotaReading> {
        self.0.cached()
    }

    /// The quota, fetched if need be.
    ///
    /// It is [`cached`](Self::cached) if that is something, and otherwise the answer of the one fetch that all readers
    /// share. Nothing happens until the future is polled; dropped, it leaves the fetch running.
    ///
    /// # Panics
    ///
    /// The future panics if it has to wait and is not polled within a Tokio runtime.
    pub fn read(&self) -> QuotaRead {
        QuotaRead(Read::Unpolled(self.clone()))
    }

    /// Empties the entry: the next read fetches. An answer that is on its way is outdated, and nobody gets it.
    ///
    /// The last answer is kept for [`peek`](Self::peek), as a stale one.
    pub fn invalidate(&self) {
        self.0.invalidate();
    }

    /// What there is to show, the last known answer included however old it is. Never fetches.
    pub fn peek(&self) -> QuotaReading {
        self.0.peek()
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

/// The future of [`QuotaHandle::read`].
///
/// It is ready after the [timeout](super::QuotaOptions::timeout) at the latest, with an unknown quota.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct QuotaRead(Read);

#[derive(Debug)]
enum Read {
    Unpolled(QuotaHandle),
    Waiting(Waiting),
    Unknown(&'static str),
    Done,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Receiver<QuotaReading>,
    limit: Duration,
    /// Boxed, because it is large and few reads have to wait.
    deadline: Pin<Box<Sleep>>,
}

impl QuotaRead {
    pub(super) fn unknown(reason: &'static str) -> Self {
        Self(Read::Unknown(reason))
    }
}

impl Future for QuotaRead {
    type Output = QuotaReading;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<QuotaReading> {
        let read = &mut self.0;
        loop {
            let reading = match read {
                Read::Unpolled(handle) => match handle.cached() {
                    Some(reading) => reading,
                    None => match handle.0.join() {
                        Joined::Answered(reading) => reading,
                        Joined::Waiting(answer) => {
                            let limit = handle.0.options.timeout;
                            *read = Read::Waiting(Waiting { answer, limit, deadline: Box::pin(sleep(limit)) });
                            continue;
                        }
                    },
                },
                Read::Waiting(waiting) => match Pin::new(&mut waiting.answer).poll(cx) {
                    Poll::Ready(Ok(reading)) => reading,
                    Poll::Ready(Err(_)) => QuotaReading::unknown(cut_off().message()),
                    Poll::Pending => {
                        ready!(waiting.deadline.as_mut().poll(cx));
                        QuotaReading::unknown(no_answer_within(waiting.limit).message())
                    }
                },
                Read::Unknown(reason) => QuotaReading::unknown(*reason),
                Read::Done => panic!("a future is not polled after it is ready"),
            };
            *read = Read::Done;
            return Poll::Ready(reading);
        }
    }
}
