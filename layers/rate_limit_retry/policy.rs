use std::{fmt, time::Duration};

/// When and how long [`RateLimitRetryLayer`](super::RateLimitRetryLayer) holds a request.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) enabled: bool,
    pub(super) max_wait: Duration,
    pub(super) random_min: Duration,
    pub(super) random_max: Duration,
    pub(super) max_waiters: usize,
    pub(super) max_backoff: Duration,
    pub(super) when: When,
    pub(super) jitter: Duration,
}

/// Which requests are worth a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Every request.
    #[default]
    Always,
    /// Only one that has no other candidate left; see [`Candidate::others_remain`](crate::ext::Candidate). While a
    /// backoff is active, the others are answered at once.
    LastCandidate,
}

impl Default for Policy {
    /// Holds every request once, for up to 10 s; without a hint, for 3 to 10 s.
    fn default() -> Self {
        Self {
            enabled: true,
            max_wait: Duration::from_secs(10),
            random_min: Duration::from_secs(3),
            random_max: Duration::from_secs(10),
            max_waiters: 1000,
            max_backoff: Duration::from_secs(3600),
            when: When::Always,
            jitter: Duration::from_millis(2),
        }
    }
}

impl Policy {
    /// The default policy with other waits, in seconds, as they come from a configuration.
    ///
    /// `max_wait` bounds every wait; 0 retries at once. Without a hint the wait is drawn between `random_min` and
    /// `random_max`.
    ///
    /// ```
    /// use pointsman_layers::rate_limit_retry::Policy;
    ///
    /// assert!(Policy::from_seconds(10.0, 3.0, 10.0).is_ok());
    /// let error = Policy::from_seconds(10.0, 12.0, 10.0).unwrap_err();
    /// assert_eq!(error.field(), "random_min_seconds");
    /// assert_eq!(error.to_string(), "random_min_seconds is 12, which is more than random_max_seconds, 10");
    /// ```
    ///
    /// # Errors
    ///
    /// If a number is negative, infinite, not a number or out of all bounds, or if `random_min > random_max`.
    pub fn from_seconds(max_wait: f64, random_min: f64, random_max: f64) -> Result<Self, PolicyError> {
        let policy = Self {
            max_wait: seconds("max_wait_seconds", max_wait)?,
            random_min: seconds("random_min_seconds", random_min)?,
            random_max: seconds("random_max_seconds", random_max)?,
            ..Self::default()
        };
        if random_min > random_max {
            let problem = Problem::MoreThanMax(random_max);
            return Err(PolicyError { field: "random_min_seconds", value: random_min, problem });
        }
        Ok(policy)
    }

    /// Whether anything is held at all; by default yes. If not, requests and answers pass at once, and answers are
    /// only marked.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Which requests are held; by default all.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// How many requests may wait at a time; by default 1,000. A limit of none holds nothing.
    #[must_use]
    pub fn max_waiters(mut self, limit: usize) -> Self {
        self.max_waiters = limit;
        self
    }

    /// How long a backoff is believed at the most, whatever its hint said; by default an hour.
    #[must_use]
    pub fn max_backoff(mut self, limit: Duration) -> Self {
        self.max_backoff = limit;
        self
    }

    /// How far apart those who would wake together do wake, on average; by default 2 ms, so that a thousand need two
    /// seconds, and a second at the most. This is on top of the wait. Timers have a resolution of 1 ms.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter.min(Duration::from_secs(1));
        self
    }

    /// How late the last of those who wake together may come. It takes twice as many as may wait at a time, so only
    /// those are stopped who come while many others leave.
    pub(super) fn longest_turn(&self) -> Duration {
        self.jitter.saturating_mul(u32::try_from(self.max_waiters).unwrap_or(u32::MAX)).saturating_mul(2)
    }
}

/// Two centuries: far beyond any wait, and far from any overflow.
const MAX_SECONDS: f64 = 200.0 * 365.0 * 86_400.0;

fn seconds(field: &'static str, value: f64) -> Result<Duration, PolicyError> {
    let problem = if !value.is_finite() {
        Problem::NotFinite
    } else if value < 0.0 {
        Problem::Negative
    } else if value > MAX_SECONDS {
        Problem::TooLong
    } else {
        return Ok(Duration::from_secs_f64(value));
    };
    Err(PolicyError { field, value, problem })
}

/// A wait that cannot be.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyError {
    field: &'static str,
    value: f64,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Problem {
    Negative,
    NotFinite,
    TooLong,
    MoreThanMax(f64),
}

impl PolicyError {
    /// The number at fault: `max_wait_seconds`, `random_min_seconds` or `random_max_seconds`.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, problem } = self;
        match problem {
            Problem::Negative => write!(f, "{field} is {value}, but must not be negative"),
            Problem::NotFinite => write!(f, "{field} is {value}, but must be a finite number"),
            Problem::TooLong => write!(f, "{field} is {value}, which is too long"),
            Problem::MoreThanMax(max) => {
                write!(f, "{field} is {value}, which is more than random_max_seconds, {max}")
            }
        }
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_cannot_be_is_named() {
        for (numbers, field) in [
            ([-1.0, 3.0, 10.0], "max_wait_seconds"),
            ([f64::NAN, 3.0, 10.0], "max_wait_seconds"),
            ([f64::INFINITY, 3.0, 10.0], "max_wait_seconds"),
            ([1e300, 3.0, 10.0], "max_wait_seconds"),
            ([10.0, -0.5, 10.0], "random_min_seconds"),
            ([10.0, f64::NAN, 10.0], "random_min_seconds"),
            ([10.0, 3.0, f64::NEG_INFINITY], "random_max_seconds"),
            ([10.0, 3.0, f64::NAN], "random_max_seconds"),
            ([10.0, 11.0, 10.0], "random_min_seconds"),
        ] {
            let [max_wait, min, max] = numbers;
            let error = Policy::from_seconds(max_wait, min, max).expect_err("cannot be");
            assert_eq!(error.field(), field, "{numbers:?}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
        for [max_wait, min, max] in [[0.0, 0.0, 0.0], [10.0, 3.0, 10.0], [-0.0, 5.0, 5.0], [1.0, 20.0, 30.0]] {
            assert!(Policy::from_seconds(max_wait, min, max).is_ok());
        }
    }
}
