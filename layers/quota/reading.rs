use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

/// What is known of a quota at one moment. A clone shares the value.
#[derive(Clone, Debug)]
pub struct QuotaReading {
    answer: Option<Arc<Answer>>,
    freshness: Freshness,
    reason: Option<Arc<str>>,
}

/// An answer of a source, and when it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) at: Instant,
}

/// How far a [`QuotaReading`] can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The answer is younger than its time to live.
    Fresh,
    /// There is an answer, but it expired, was invalidated, or could not be fetched anew.
    Stale,
    /// There is no answer.
    Unknown,
}

impl QuotaReading {
    pub(super) fn fresh(answer: Arc<Answer>) -> Self {
        Self { answer: Some(answer), freshness: Freshness::Fresh, reason: None }
    }

    /// The last answer, if there ever was one, and why it is not fresh.
    pub(super) fn stale(last: Option<Arc<Answer>>, reason: Arc<str>) -> Self {
        let freshness = if last.is_some() { Freshness::Stale } else { Freshness::Unknown };
        Self { answer: last, freshness, reason: Some(reason) }
    }

    pub(super) fn unknown(reason: impl Into<Arc<str>>) -> Self {
        Self::stale(None, reason.into())
    }

    /// The quota; `None` if it is unknown.
    pub fn value(&self) -> Option<&Value> {
        self.answer.as_ref().map(|answer| &answer.value)
    }

    /// Why the quota is not fresh, in words; `None` if it is.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How far the value can be relied on.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// How long ago the answer came; `None` if there is none.
    pub fn age(&self) -> Option<Duration> {
        self.answer.as_ref().map(|answer| answer.at.elapsed())
    }
}
