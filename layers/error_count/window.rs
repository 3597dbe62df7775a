use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The errors of one backend within a rolling window.
///
/// Errors within one second of a bucket's first error share the bucket, and leave the window together, when the age
/// of that first error reaches the window's length. So an error leaves up to a second early, and memory is bounded
/// by the length of the window, whatever the rate: 16 bytes for each second of it.
#[derive(Debug)]
pub struct ErrorWindow {
    length: Duration,
    /// Where the clock of the numbers below starts.
    epoch: Instant,
    /// The errors in all buckets.
    total: AtomicU64,
    /// When the oldest bucket leaves, in nanoseconds since the epoch; [`NEVER`] if there is none.
    next_expiry: AtomicU64,
    buckets: Mutex<VecDeque<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// When its first error was recorded, in nanoseconds since the epoch.
    first: u64,
    errors: u64,
}

const BUCKET_NANOS: u64 = 1_000_000_000;
const NEVER: u64 = u64::MAX;

impl ErrorWindow {
    /// An empty window of this length.
    pub fn new(length: Duration) -> Self {
        Self {
            length,
            epoch: Instant::now(),
            total: AtomicU64::new(0),
            next_expiry: AtomicU64::new(NEVER),
            buckets: Mutex::default(),
        }
    }

    /// The age at which an error no longer counts.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Counts an error, now.
    pub fn record(&self) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        self.prune(&mut buckets, now);
        match buckets.back_mut() {
            Some(last) if now.saturating_sub(last.first) < BUCKET_NANOS => last.errors += 1,
            _ => buckets.push_back(Bucket { first: now, errors: 1 }),
        }
        self.publish(&buckets, self.total.load(Ordering::Relaxed) + 1);
    }

    /// How many errors there are in the window.
    ///
    /// Never waits: while another thread is about to take expired errors out, the number may still include them.
    pub fn count(&self) -> u64 {
        let now = self.now();
        if now >= self.next_expiry.load(Ordering::Acquire)
            && let Ok(mut buckets) = self.buckets.try_lock()
        {
            self.prune(&mut buckets, now);
        }
        self.total.load(Ordering::Acquire)
    }

    /// Forgets all errors.
    pub fn reset(&self) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.clear();
        self.publish(&buckets, 0);
    }

    fn prune(&self, buckets: &mut VecDeque<Bucket>, now: u64) {
        let mut total = self.total.load(Ordering::Relaxed);
        while let Some(oldest) = buckets.front()
            && self.expiry(oldest) <= now
        {
            total -= oldest.errors;
            buckets.pop_front();
        }
        self.publish(buckets, total);
    }

    /// Tells the readers what is in the buckets. The expiry goes last, so that whoever sees it sees its total too.
    fn publish(&self, buckets: &VecDeque<Bucket>, total: u64) {
        let next_expiry = buckets.front().map_or(NEVER, |oldest| self.expiry(oldest));
        self.total.store(total, Ordering::Release);
        self.next_expiry.store(next_expiry, Ordering::Release);
    }

    fn expiry(&self, bucket: &Bucket) -> u64 {
        bucket.first.saturating_add(nanos(self.length))
    }

    fn now(&self) -> u64 {
        nanos(Instant::now().saturating_duration_since(self.epoch))
    }
}

/// A window of one hour.
impl Default for ErrorWindow {
    fn default() -> Self {
        Self::new(Duration::from_secs(3600))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    fn buckets(window: &ErrorWindow) -> usize {
        window.buckets.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_leaves_when_its_age_reaches_the_window() {
        let window = ErrorWindow::default();
        window.record();
        advance(Duration::from_secs(10)).await;
        window.record();
        advance(HOUR - Duration::from_secs(10) - Duration::from_nanos(1)).await;
        assert_eq!(window.count(), 2);
        advance(Duration::from_nanos(1)).await;
        assert_eq!(window.count(), 1);
        advance(Duration::from_secs(10)).await;
        assert_eq!(window.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_within_a_second_leave_with_the_first_of_them() {
        let window = ErrorWindow::new(HOUR);
        window.record();
        advance(Duration::from_millis(999)).await;
        window.record();
        advance(Duration::from_millis(1)).await;
        window.record();
        assert_eq!((window.count(), buckets(&window)), (3, 2));
        advance(HOUR - Duration::from_secs(1)).await;
        assert_eq!(window.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_window_starts_again() {
        let window = ErrorWindow::default();
        window.record();
        window.reset();
        assert_eq!(window.count(), 0);
        advance(HOUR / 2).await;
        window.record();
        advance(HOUR / 2).await;
        assert_eq!(window.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn windows_of_no_and_of_endless_length_work() {
        let (none, endless) = (ErrorWindow::new(Duration::ZERO), ErrorWindow::new(Duration::MAX));
        none.record();
        endless.record();
        advance(HOUR * 24 * 365).await;
        assert_eq!((none.count(), endless.count()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_errors_take_no_more_buckets_than_the_window_has_seconds() {
        let window = ErrorWindow::default();
        let mut most = 0;
        for _ in 0..10_000 {
            for _ in 0..100 {
                window.record();
            }
            advance(Duration::from_millis(700)).await;
            most = most.max(buckets(&window));
        }
        assert!((1000..=3600).contains(&most), "{most} buckets");
        // Buckets start every 1.4 s with 200 errors; the last 3600 s hold 2571 of them.
        assert_eq!(window.count(), 2571 * 200);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Record,
        Wait(u64),
        Reset,
    }

    proptest! {
        #[test]
        fn a_window_counts_as_a_list_of_instants_does(
            length in prop_oneof![Just(300), Just(1000), Just(2500), Just(10_000)],
            steps in prop::collection::vec(
                prop_oneof![
                    5 => Just(Step::Record),
                    1 => Just(Step::Reset),
                    3 => (0u64..1500).prop_map(Step::Wait),
                    1 => Just(Step::Wait(1000)),
                    1 => (0u64..12_000).prop_map(Step::Wait),
                ],
                0..80,
            ),
        ) {
            paused().block_on(async {
                let length = Duration::from_millis(length);
                let window = ErrorWindow::new(length);
                // For each error the time of the first in its bucket.
                let mut errors: Vec<Instant> = Vec::new();
                for step in steps {
                    let now = Instant::now();
                    match step {
                        Step::Record => {
                            window.record();
                            let shared = errors.last().copied().filter(|first| {
                                now - *first < length && now - *first < Duration::from_secs(1)
                            });
                            errors.push(shared.unwrap_or(now));
                        }
                        Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
                        Step::Reset => {
                            window.reset();
                            errors.clear();
                        }
                    }
                    let live = errors.iter().filter(|first| Instant::now() - **first < length).count();
                    prop_assert_eq!(window.count(), live as u64);
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn threads_that_record_and_read_at_once_lose_nothing() {
        const WRITERS: u64 = 4;
        const ERRORS: u64 = 20_000;
        let runtime = paused();
        let clock = runtime.handle();
        let window = {
            let _clock = clock.enter();
            ErrorWindow::default()
        };
        let start = Barrier::new(WRITERS as usize + 2);
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    let _clock = clock.enter();
                    start.wait();
                    for _ in 0..ERRORS {
                        window.record();
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let _clock = clock.enter();
                    start.wait();
                    let mut last = 0;
                    for _ in 0..WRITERS * ERRORS {
                        let count = window.count();
                        assert!((last..=WRITERS * ERRORS).contains(&count), "{count} after {last}");
                        last = count;
                    }
                });
            }
        });

        assert_eq!(window.total.load(Ordering::Relaxed), WRITERS * ERRORS);

        // All of it expires at once, under the eyes of several readers.
        runtime.block_on(advance(HOUR));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _clock = clock.enter();
                    window.count();
                });
            }
        });
        assert_eq!((window.total.into_inner(), window.buckets.into_inner().unwrap().len()), (0, 0));
    }

    #[test]
    fn a_reader_does_not_wait_for_a_writer() {
        let runtime = paused();
        let _clock = runtime.enter();
        let window = ErrorWindow::default();
        window.record();
        let writing = window.buckets.lock().unwrap();
        assert_eq!(window.count(), 1);
        runtime.block_on(advance(HOUR));
        assert_eq!(window.count(), 1, "it is the writer's to prune");
        drop(writing);
        assert_eq!(window.count(), 0);
    }
}
