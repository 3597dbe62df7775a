use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::HeaderMap;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};

use super::{
    QuotaReading,
    entry::{Entry, Joined, cut_off, no_answer_within},
    headers::Watch,
};

const NO_SOURCE: &str = "no quota source";

/// Reads the quota of one backend: a request extension, set by [`Quota`](super::Quota), and what
/// [`QuotaCache::handle`](super::QuotaCache::handle) gives.
#[derive(Clone, Debug, Default)]
pub struct QuotaHandle {
    source: Option<Arc<Entry>>,
    watch: Option<Arc<Watch>>,
}

impl QuotaHandle {
    pub(super) fn with_source(self, source: Arc<Entry>) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(super) fn with_watch(self, watch: Arc<Watch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The quota if it can be had without waiting: a fresh answer, or a failure that is still remembered.
    ///
    /// With [`Refresh::Background`](super::Refresh::Background) also an expired answer; a fetch is started then.
    ///
    /// # Panics
    ///
    /// If a fetch has to be started and this is not called within a Tokio runtime.
    pub fn cached(&self) -> Option<QuotaReading> {
        match &self.source {
            Some(source) => source.cached(),
            None => Some(QuotaReading::unknown(NO_SOURCE)),
        }
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
        QuotaRead(self.source.clone().map_or(Read::NoSource, Read::Unpolled))
    }

    /// What the headers of the last answer said, which is the quota's `headers`. `None` if no headers are watched.
    pub fn headers(&self) -> Option<HeaderReading> {
        Some(HeaderReading { fields: self.watch.as_ref()?.current() })
    }

    /// Empties the entry: the next read fetches. An answer that is on its way is outdated, and nobody gets it. What
    /// headers said is forgotten.
    ///
    /// The last answer is kept for [`peek`](Self::peek), as a stale one.
    pub fn invalidate(&self) {
        self.source.iter().for_each(|source| source.invalidate());
        self.watch.iter().for_each(|watch| watch.forget());
    }

    /// What there is to show, the last known answer included however old it is. Never fetches.
    pub fn peek(&self) -> QuotaReading {
        self.source.as_ref().map_or_else(|| QuotaReading::unknown(NO_SOURCE), |source| source.peek())
    }

    pub(super) fn clear(&self) {
        self.source.iter().for_each(|source| source.clear());
        self.watch.iter().for_each(|watch| watch.forget());
    }

    /// Takes in what an answer says. `changed` if that makes everything outdated that was known before.
    pub(super) fn observe(&self, headers: &HeaderMap, changed: bool) {
        if let (Some(source), true) = (&self.source, changed) {
            source.invalidate();
        }
        if let Some(watch) = &self.watch
            && !watch.observe(headers)
            && changed
        {
            watch.forget();
        }
    }
}

/// What the headers of a backend's answers said.
#[derive(Clone, Debug)]
pub struct HeaderReading {
    fields: Option<Arc<Value>>,
}

impl HeaderReading {
    /// An object with a field for each header that was there, by its name in lower case. `None` if no answer has come,
    /// or what it said is over.
    ///
    /// A number is a number, `true` and `false` are booleans. A time, which is what every header with `reset` in its name
    /// says, is the number of seconds from the answer until then. A value of the form `ent=300&rem=12.5` is an object.
    /// Anything else is a string.
    pub fn value(&self) -> Option<&Value> {
        self.fields.as_deref()
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
    Unpolled(Arc<Entry>),
    Waiting(Waiting),
    NoSource,
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
    pub(super) fn no_source() -> Self {
        Self(Read::NoSource)
    }
}

impl Future for QuotaRead {
    type Output = QuotaReading;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<QuotaReading> {
        let read = &mut self.0;
        loop {
            let reading = match read {
                Read::Unpolled(source) => match source.cached() {
                    Some(reading) => reading,
                    None => match source.join() {
                        Joined::Answered(reading) => reading,
                        Joined::Waiting(answer) => {
                            let limit = source.options.timeout;
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
                Read::NoSource => QuotaReading::unknown(NO_SOURCE),
                Read::Done => panic!("a future is not polled after it is ready"),
            };
            *read = Read::Done;
            return Poll::Ready(reading);
        }
    }
}
