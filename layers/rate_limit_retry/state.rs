use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::{Instant, Sleep},
};

use super::Policy;

/// Until when a backend wants to be left alone, and who waits for that; clones share it.
///
/// Make one for each backend, and keep it when the layers around it are rebuilt. Reading it takes no lock.
#[derive(Clone, Debug)]
pub struct Backoff {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    created: Instant,
    /// The deadline in nanoseconds since `created`; 0 is none.
    deadline: AtomicU64,
    queue: Mutex<Queue>,
    cleared: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    /// The first and the last of the times, one close behind the other, that were handed out most recently.
    chain: Option<(Instant, Instant)>,
}

impl Queue {
    /// How long after `target` to wake, behind those who would wake then too; and the first of those.
    fn turn(&mut self, target: Instant, step: Duration, longest: Duration) -> (Instant, Duration) {
        let (first, time) = match self.chain {
            // Two who read the clock to tell one deadline do not get quite the same.
            Some((first, last)) if first <= target + step && target < last + step => (first, last + step),
            _ => (target, target),
        };
        let turn = (time - target).min(longest);
        self.chain = Some((first, target + turn));
        (first, turn)
    }
}

/// The deadline as it was at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot(u64);

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// No backoff, and nobody waiting.
    pub fn new() -> Self {
        let shared = Shared {
            created: Instant::now(),
            deadline: AtomicU64::new(0),
            queue: Mutex::default(),
            cleared: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Backs off for this long from now, unless a later deadline is recorded already.
    pub fn record(&self, wait: Duration) {
        let deadline = self.shared.created.elapsed().saturating_add(wait).as_nanos();
        self.shared.deadline.fetch_max(u64::try_from(deadline).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// How much of the backoff is left, if one is active.
    pub fn remaining(&self) -> Option<Duration> {
        let Snapshot(deadline) = self.snapshot();
        // The usual case does not even read the clock.
        if deadline == 0 {
            return None;
        }
        Duration::from_nanos(deadline).checked_sub(self.shared.created.elapsed()).filter(|rest| !rest.is_zero())
    }

    /// Ends the backoff, and wakes those who wait for it, in order.
    pub fn clear(&self) {
        self.clear_unless_changed(self.snapshot());
    }

    /// How many requests wait, for the backoff or for their retry.
    pub fn waiters(&self) -> usize {
        self.queue().waiting
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.shared.deadline.load(Ordering::Acquire))
    }

    /// Ends the backoff if it is still the one that was seen.
    ///
    /// An answer to a request that was sent before a backoff was recorded says nothing against it.
    pub(super) fn clear_unless_changed(&self, Snapshot(seen): Snapshot) {
        let deadline = &self.shared.deadline;
        if seen != 0 && deadline.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.shared.cleared.notify_waiters();
        }
    }

    /// Joins those who wait, unless there are as many as may.
    ///
    /// Who wants to wake at `target` while others are to wake then comes after them, `step` after the last.
    pub(super) fn enter(&self, policy: &Policy, target: Instant, step: Duration) -> Option<Waiter> {
        let mut queue = self.queue();
        if queue.waiting >= policy.max_waiters {
            return None;
        }
        queue.waiting += 1;
        let longest_turn = policy.longest_turn();
        let (line, turn) = queue.turn(target, step, longest_turn);
        Some(Waiter { backoff: self.clone(), step, longest_turn, line, turn })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Two counters are never left half-changed.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait; dropping it leaves.
#[derive(Debug)]
pub(super) struct Waiter {
    backoff: Backoff,
    step: Duration,
    longest_turn: Duration,
    /// The time of the first of those it lines up with.
    line: Instant,
    /// How long after its target it wakes.
    pub(super) turn: Duration,
}

impl Waiter {
    /// Lines up again if its line does not reach to this target.
    fn wait_for(&mut self, target: Instant) {
        let mut queue = self.backoff.queue();
        if queue.chain.is_some_and(|(first, last)| first == self.line && target < last) {
            return;
        }
        (self.line, self.turn) = queue.turn(target, self.step, self.longest_turn);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut queue = self.backoff.queue();
        queue.waiting -= 1;
        if queue.waiting == 0 {
            queue.chain = None;
        }
    }
}

/// Waits until the backoff is over or cleared, and then for its turn.
///
/// Ends with the time it took, or, if the deadline moved out of reach meanwhile, with how much of it remains.
#[pin_project]
#[derive(Debug)]
pub(super) struct BackoffOver {
    waiter: Waiter,
    started: Instant,
    limit: Duration,
    #[pin]
    sleep: Sleep,
    #[pin]
    cleared: OwnedNotified,
}

impl BackoffOver {
    pub(super) fn new(waiter: Waiter, limit: Duration) -> Self {
        // Registered before the deadline is read, so that no clearing is missed.
        let cleared = Arc::clone(&waiter.backoff.shared.cleared).notified_owned();
        let rest = waiter.backoff.remaining().unwrap_or_default();
        let sleep = tokio::time::sleep(rest + waiter.turn);
        Self { waiter, started: Instant::now(), limit, sleep, cleared }
    }
}

impl Future for BackoffOver {
    type Output = Result<Duration, Duration>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if this.cleared.as_mut().poll(cx).is_ready() {
                this.cleared.set(Arc::clone(&this.waiter.backoff.shared.cleared).notified_owned());
                this.sleep.as_mut().reset(Instant::now() + this.waiter.turn);
                continue;
            }
            ready!(this.sleep.as_mut().poll(cx));
            let waited = this.started.elapsed();
            match this.waiter.backoff.remaining() {
                None => return Poll::Ready(Ok(waited)),
                Some(rest) if waited.saturating_add(rest) > *this.limit => return Poll::Ready(Err(rest)),
                Some(rest) => {
                    // With its old turn it would wake among those who came later, for this deadline.
                    let end = Instant::now() + rest;
                    this.waiter.wait_for(end);
                    this.sleep.as_mut().reset(end + this.waiter.turn);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_later_deadline_wins() {
        let backoff = Backoff::new();
        assert_eq!(backoff.remaining(), None);
        backoff.record(Duration::from_secs(5));
        backoff.record(Duration::from_secs(3));
        assert_eq!(backoff.clone().remaining(), Some(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(4)).await;
        backoff.record(Duration::from_secs(7));
        assert_eq!(backoff.remaining(), Some(Duration::from_secs(7)));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(backoff.remaining(), None);
        backoff.record(Duration::MAX);
        assert!(backoff.remaining().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_seen_is_cleared() {
        let backoff = Backoff::new();
        let before = backoff.snapshot();
        backoff.record(Duration::from_secs(5));
        backoff.clear_unless_changed(before);
        assert!(backoff.remaining().is_some());
        backoff.clear_unless_changed(backoff.snapshot());
        assert_eq!(backoff.remaining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_makes_room() {
        let (backoff, now) = (Backoff::new(), Instant::now());
        let step = Duration::from_secs(1);
        let policy = Policy::default().max_waiters(2).jitter(step);
        let enter = || backoff.enter(&policy, now, step);
        let (first, second) = (enter(), enter());
        assert!(enter().is_none());
        drop(first);
        let third = enter().expect("there is room");
        assert_eq!(third.turn, Duration::from_secs(2));
        drop((second, third));
        assert_eq!(backoff.waiters(), 0);
        assert_eq!(enter().expect("there is room").turn, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_who_would_wake_together_are_spread() {
        let (backoff, now) = (Backoff::new(), Instant::now());
        let mut waiters = Vec::new();
        let mut turn = |target| {
            let target = now + Duration::from_millis(target);
            waiters.push(backoff.enter(&Policy::default(), target, Duration::from_millis(10)).expect("there is room"));
            waiters.last().expect("just pushed").turn.as_millis()
        };
        assert_eq!([turn(5_000), turn(5_001), turn(2_000), turn(2_030)], [0, 9, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wake_just_before_the_first_waits_behind_the_last() {
        let (backoff, end) = (Backoff::new(), Instant::now() + Duration::from_secs(5));
        let step = Duration::from_millis(2);
        let mut waiters = Vec::new();
        // The deadline is the same, but the clock is read twice to tell when it is.
        let mut wakes = |early| {
            let target = end - Duration::from_micros(early);
            waiters.push(backoff.enter(&Policy::default(), target, step).expect("there is room"));
            (target + waiters.last().expect("just pushed").turn - end).as_micros()
        };
        assert_eq!([wakes(0), wakes(3), wakes(1), wakes(7)], [0, 2_000, 4_000, 6_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clearing_wakes_in_turn() {
        let backoff = Backoff::new();
        backoff.record(Duration::from_secs(60));
        let started = Instant::now();
        let end = started + Duration::from_secs(60);
        let wait = || {
            let waiter = backoff.enter(&Policy::default(), end, Duration::from_millis(5)).expect("there is room");
            tokio::spawn(BackoffOver::new(waiter, Duration::from_secs(60)))
        };
        let (first, second) = (wait(), wait());
        tokio::time::sleep(Duration::from_secs(2)).await;
        backoff.clear();
        assert!(first.await.expect("no panic").is_ok());
        assert_eq!(started.elapsed(), Duration::from_millis(2_000));
        assert!(second.await.expect("no panic").is_ok());
        assert_eq!(started.elapsed(), Duration::from_millis(2_005));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_is_followed_within_the_limit() {
        let backoff = Backoff::new();
        backoff.record(Duration::from_secs(3));
        let wait = |limit| {
            let waiter = backoff.enter(&Policy::default(), Instant::now(), Duration::ZERO).expect("there is room");
            tokio::spawn(BackoffOver::new(waiter, Duration::from_secs(limit)))
        };
        let (patient, impatient) = (wait(10), wait(5));
        tokio::time::sleep(Duration::from_secs(1)).await;
        backoff.record(Duration::from_secs(7));
        assert_eq!(impatient.await.expect("no panic"), Err(Duration::from_secs(5)));
        assert_eq!(patient.await.expect("no panic"), Ok(Duration::from_secs(8)));
    }
}
