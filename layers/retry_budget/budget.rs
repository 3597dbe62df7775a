use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

/// What one retry costs. Smaller parts of one are paid in.
const ONE: i64 = 1000;

/// How many retries there may be; see the [module docs](super). Clones share it.
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What is left, in thousandths of a retry.
    left: AtomicI64,
    /// The most that can be left, and what a request pays in, likewise.
    most: i64,
    ratio: i64,
    /// Retries a second.
    floor: u32,
    start: Instant,
    /// Up to when the floor has been paid in, in milliseconds since the start.
    paid_until: AtomicU64,
}

impl RetryBudget {
    /// A generous one: 3 retries for each request, 10 a second, and 10,000 at once.
    ///
    /// So a route that finds its provider only at the fourth place works for good, and when nothing works at all, no
    /// provider gets much more than four times what clients ask for.
    pub fn new() -> Self {
        Self::of(10_000, 3 * ONE, 10)
    }

    fn of(burst: u32, ratio: i64, floor: u32) -> Self {
        let most = i64::from(burst) * ONE;
        Self(Arc::new(Shared {
            left: AtomicI64::new(most),
            most,
            ratio,
            floor,
            start: Instant::now(),
            paid_until: AtomicU64::new(0),
        }))
    }

    fn burst_now(&self) -> u32 {
        u32::try_from(self.0.most / ONE).unwrap_or(u32::MAX)
    }

    /// How many retries a request pays in: a part of one, or several. Not a number, and less than nothing, are nothing.
    /// The budget is a new one, and full.
    #[must_use]
    pub fn ratio(self, ratio: f64) -> Self {
        // A cast from a float stays within the range, and makes 0 of what is not a number.
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        let ratio = (ratio.clamp(0.0, 1e6) * 1e3) as i64;
        Self::of(self.burst_now(), ratio, self.0.floor)
    }

    /// How many retries a second there may be, however few requests come. The budget is a new one, and full.
    #[must_use]
    pub fn floor(self, per_second: u32) -> Self {
        Self::of(self.burst_now(), self.0.ratio, per_second)
    }

    /// How many retries can be saved up. The budget is a new one, and full.
    #[must_use]
    pub fn burst(self, retries: u32) -> Self {
        Self::of(retries, self.0.ratio, self.0.floor)
    }

    /// Counts a request.
    pub(super) fn pay_in(&self) {
        self.add(self.0.ratio);
    }

    /// Takes one retry, if there is one.
    pub(super) fn take(&self) -> bool {
        let Shared { left, floor, start, paid_until, .. } = &*self.0;
        let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = paid_until.fetch_max(now, Relaxed);
        // Thousandths in a millisecond are ones in a second.
        let earned = now.saturating_sub(before).saturating_mul(u64::from(*floor));
        self.add(i64::try_from(earned).unwrap_or(i64::MAX));
        left.fetch_update(Relaxed, Relaxed, |left| (left >= ONE).then(|| left - ONE)).is_ok()
    }

    fn add(&self, amount: i64) {
        let Shared { left, most, .. } = &*self.0;
        // Full, as it is nearly always, it is left alone.
        let _ = left.fetch_update(Relaxed, Relaxed, |left| {
            (amount > 0 && left < *most).then(|| left.saturating_add(amount).min(*most))
        });
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}
