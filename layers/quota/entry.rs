use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{QuotaError, QuotaReading, QuotaSource, reading::Answer};

/// How the answers of a source are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaOptions {
    /// How long an answer is fresh. 300 s by default.
    pub ttl: Duration,
    /// How long a fetch may take, and how long a reader waits at the most. 5 s by default.
    pub timeout: Duration,
    /// How long a failed fetch is remembered, and not repeated. 10 s by default. A source that was told to
    /// [wait longer](QuotaError::with_retry_after) is left alone longer, up to `ttl`.
    pub negative_ttl: Duration,
    /// What a reader of an expired answer gets. [`Refresh::OnDemand`] by default.
    pub refresh: Refresh,
}

impl Default for QuotaOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(5),
            negative_ttl: Duration::from_secs(10),
            refresh: Refresh::OnDemand,
        }
    }
}

/// What a reader of an expired answer gets. One that was invalidated, or that could not be fetched, is always awaited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// The next answer, which it waits for.
    #[default]
    OnDemand,
    /// The expired answer, at once, while the next one is fetched.
    Background,
}

/// The quota of one backend.
pub(super) struct Entry {
    name: Box<str>,
    source: Box<dyn QuotaSource>,
    pub(super) options: QuotaOptions,
    known: ArcSwap<Known>,
    /// The fetch that is under way. `known` is written under this lock only, and read without it.
    flight: Mutex<Option<Flight>>,
}

/// What is known of a quota.
struct Known {
    /// The last good answer. It may be shown long after it stopped to be usable.
    last: Option<Arc<Answer>>,
    state: State,
}

enum State {
    /// Nothing to decide by, for this reason.
    Empty(Arc<str>),
    /// `last` is what the last fetch brought.
    Answered,
    /// The last fetch failed, and is not repeated while its age is less than `keep`.
    Failed { reason: Arc<str>, at: Instant, keep: Duration },
}

struct Flight {
    /// The entry was emptied after the fetch began, so that its answer may be older than what emptied it.
    outdated: bool,
    waiters: Vec<oneshot::Sender<QuotaReading>>,
}

impl Known {
    fn never_asked() -> Self {
        Self { last: None, state: State::Empty("not fetched yet".into()) }
    }

    /// What a decision may go by now.
    fn usable(&self, options: &QuotaOptions) -> Option<QuotaReading> {
        match (&self.state, &self.last) {
            (State::Answered, Some(answer)) if answer.at.elapsed() < options.ttl => {
                Some(QuotaReading::fresh(Arc::clone(answer)))
            }
            (State::Failed { reason, at, keep }, _) if at.elapsed() < *keep => {
                Some(QuotaReading::unknown(Arc::clone(reason)))
            }
            _ => None,
        }
    }

    /// Everything there is to show.
    fn shown(&self, options: &QuotaOptions) -> QuotaReading {
        let reason = match &self.state {
            State::Answered => match self.usable(options) {
                Some(fresh) => return fresh,
                None => "expired".into(),
            },
            State::Empty(reason) | State::Failed { reason, .. } => Arc::clone(reason),
        };
        QuotaReading::stale(self.last.clone(), reason)
    }
}

/// How a reader goes on that found nothing usable.
pub(super) enum Joined {
    /// Not at all: the answer came in the meantime.
    Answered(QuotaReading),
    /// It waits for the fetch that is under way.
    Waiting(oneshot::Receiver<QuotaReading>),
}

impl Entry {
    pub(super) fn new(name: &str, source: Box<dyn QuotaSource>, options: QuotaOptions) -> Self {
        Self {
            name: name.into(),
            source,
            options,
            known: ArcSwap::from_pointee(Known::never_asked()),
            flight: Mutex::default(),
        }
    }

    /// What can be had without waiting. An expired answer that may still be used sets off a fetch.
    pub(super) fn cached(self: &Arc<Self>) -> Option<QuotaReading> {
        let known = self.known.load();
        if let Some(reading) = known.usable(&self.options) {
            return Some(reading);
        }
        if self.options.refresh == Refresh::Background && matches!(known.state, State::Answered) {
            let mut flight = self.flight();
            // As in `join`: a fetch may have ended by now.
            if flight.is_none() && self.known.load().usable(&self.options).is_none() {
                *flight = Some(self.start(Vec::new()));
            }
            return Some(known.shown(&self.options));
        }
        None
    }

    pub(super) fn peek(&self) -> QuotaReading {
        self.known.load().shown(&self.options)
    }

    /// Waits for the fetch that is under way; starts one if there is none.
    pub(super) fn join(self: &Arc<Self>) -> Joined {
        let mut flight = self.flight();
        let (waiter, answer) = oneshot::channel();
        match flight.as_mut() {
            Some(flight) => flight.waiters.push(waiter),
            None => {
                // Between the look without the lock and this one a fetch may have ended.
                if let Some(reading) = self.known.load().usable(&self.options) {
                    return Joined::Answered(reading);
                }
                *flight = Some(self.start(vec![waiter]));
            }
        }
        Joined::Waiting(answer)
    }

    /// Empties the entry for decisions. The last answer can still be shown.
    pub(super) fn invalidate(&self) {
        let mut flight = self.flight();
        let last = self.known.load().last.clone();
        if last.is_some() {
            self.empty(&mut flight, Known { last, state: State::Empty("invalidated".into()) });
        } else {
            self.empty(&mut flight, Known::never_asked());
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.empty(&mut self.flight(), Known::never_asked());
    }

    fn empty(&self, flight: &mut Option<Flight>, known: Known) {
        if let Some(flight) = flight {
            flight.outdated = true;
        }
        self.known.store(Arc::new(known));
    }

    fn start(self: &Arc<Self>, waiters: Vec<oneshot::Sender<QuotaReading>>) -> Flight {
        // In a task of its own, so that a reader that leaves does not take the answer from the others.
        tokio::spawn(Fetching { entry: Arc::clone(self), ended: false }.run());
        Flight { outdated: false, waiters }
    }

    /// Ends the fetch that is under way, and hands its result to whoever waits. An outdated result is dropped; if
    /// somebody waits, this returns false, and there has to be another fetch.
    fn finish(&self, result: Result<Value, QuotaError>) -> bool {
        let mut slot = self.flight();
        let Some(flight) = slot.as_mut() else { return true };
        if flight.outdated {
            flight.waiters.retain(|waiter| !waiter.is_closed());
            if flight.waiters.is_empty() {
                *slot = None;
            } else {
                flight.outdated = false;
            }
            return slot.is_none();
        }
        let now = Instant::now();
        let (known, reading) = match result {
            Ok(value) => {
                let answer = Arc::new(Answer { value, at: now });
                let known = Known { last: Some(Arc::clone(&answer)), state: State::Answered };
                (known, QuotaReading::fresh(answer))
            }
            Err(error) => {
                tracing::warn!(backend = &*self.name, %error, "the quota could not be fetched");
                let QuotaOptions { ttl, negative_ttl, .. } = self.options;
                let keep = negative_ttl.max(error.retry_after().unwrap_or_default().min(ttl));
                let reason: Arc<str> = error.message().into();
                let state = State::Failed { reason: Arc::clone(&reason), at: now, keep };
                (Known { last: self.known.load().last.clone(), state }, QuotaReading::unknown(reason))
            }
        };
        self.known.store(Arc::new(known));
        let waiters = slot.take().map(|flight| flight.waiters).unwrap_or_default();
        drop(slot);
        for waiter in waiters {
            // A reader that left does not matter.
            let _ = waiter.send(reading.clone());
        }
        true
    }

    fn flight(&self) -> MutexGuard<'_, Option<Flight>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("options", &self.options)
            .field("quota", &self.peek())
            .finish_non_exhaustive()
    }
}

/// The task that fetches. One that ends early, in a panic of the source or with its runtime, counts as failed, so that
/// the next reader does not wait for it.
struct Fetching {
    entry: Arc<Entry>,
    ended: bool,
}

impl Fetching {
    async fn run(mut self) {
        while !self.ended {
            let limit = self.entry.options.timeout;
            let result = match timeout(limit, self.entry.source.fetch()).await {
                Ok(result) => result,
                Err(_) => Err(no_answer_within(limit)),
            };
            self.ended = self.entry.finish(result);
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if !self.ended && !self.entry.finish(Err(cut_off())) {
            // Whoever still waits finds the channel closed.
            *self.entry.flight() = None;
        }
    }
}

pub(super) fn no_answer_within(limit: Duration) -> QuotaError {
    QuotaError::new(format!("no answer within {limit:?}"))
}

pub(super) fn cut_off() -> QuotaError {
    QuotaError::new("the fetch was cut off")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fresh_answer_and_a_remembered_failure_are_read_without_the_lock() {
        let answer = async || Ok::<_, QuotaError>(json!(1));
        let failure = async || Err::<Value, _>(QuotaError::new("refused"));
        for source in [Box::new(answer) as Box<dyn QuotaSource>, Box::new(failure)] {
            let entry = Arc::new(Entry::new("a", source, QuotaOptions::default()));
            let Joined::Waiting(waiter) = entry.join() else { panic!("nothing is known yet") };
            waiter.await.unwrap();

            let _writing = entry.flight();
            assert!(entry.cached().is_some());
            entry.peek();
        }
    }
}
