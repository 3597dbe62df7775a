use std::sync::Arc;

use serde_json::Value;

use super::Condition;
use crate::quota::QuotaReading;

/// What a gate makes of a quota that could not be had: there is no source, or the fetch failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// Every field counts as 0, as a missing one does. So `balance > 0` is closed, and `quota.used < 90` is open.
    #[default]
    Zero,
    /// The gate is closed.
    Skip,
    /// The gate is open.
    Allow,
}

/// What a gate decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// With the reason.
    Closed(Arc<str>),
}

impl OnUnknown {
    /// Why a gate is closed, for whoever shows it; `None` if it is open.
    pub fn why_closed(
        self,
        condition: &Condition,
        reading: Option<&QuotaReading>,
        error_count: u64,
    ) -> Option<Arc<str>> {
        match self.decide(condition, reading, error_count) {
            Verdict::Open => None,
            Verdict::Closed(reason) => Some(reason),
        }
    }

    /// Decides once the quota has been asked for; `None` if there was nothing to ask.
    pub(super) fn decide(self, condition: &Condition, reading: Option<&QuotaReading>, error_count: u64) -> Verdict {
        match (reading.and_then(QuotaReading::value), self) {
            (Some(quota), _) => decide(condition, quota, error_count),
            (None, Self::Zero) => decide(condition, &Value::Null, error_count),
            (None, Self::Allow) => Verdict::Open,
            (None, Self::Skip) => {
                let why = match reading {
                    Some(reading) => reading.reason().unwrap_or("it could not be had"),
                    None => "the provider has no quota source",
                };
                Verdict::Closed(format!("quota unknown: {why}").into())
            }
        }
    }
}

/// Decides by what is known.
pub(super) fn decide(condition: &Condition, quota: &Value, error_count: u64) -> Verdict {
    match condition.evaluate(quota, error_count) {
        Ok(true) => Verdict::Open,
        Ok(false) => Verdict::Closed(format!("closed: {}", condition.explain(quota, error_count).summary()).into()),
        Err(error) => Verdict::Closed(error.to_string().into()),
    }
}
