use std::sync::Arc;

use serde_json::Value;

use super::{
    Condition,
    language::{Headers, Known, Stop, Unknown, View},
};
use crate::quota::{HeaderReading, QuotaHandle, QuotaReading};

/// What a gate makes of a quota that could not be had: there is no source, the fetch failed, or no answer has come with
/// the headers that say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnknown {
    /// Every field counts as 0, as a missing one does. So `balance > 0` is closed, and `quota.used < 90` is open.
    #[default]
    Zero,
    /// The gate is closed.
    Skip,
    /// The gate is open, unless the condition is false whatever the quota.
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
    /// Decides before the quota was asked for; `None` if it has to be. `headers` is `None` if none are watched.
    pub(super) fn decide_early(
        self,
        condition: &Condition,
        headers: Option<&HeaderReading>,
        error_count: u64,
    ) -> Option<Verdict> {
        let known = Known { fetched: None, headers: self.headers(headers) };
        match weigh(condition, known, error_count) {
            Ok(verdict) => Some(verdict),
            Err(Unknown::Fetched) => None,
            Err(Unknown::Headers) => Some(self.decide_without(condition, known, error_count, NOT_SAID)),
        }
    }

    /// What a gate says by what is known now, for whoever shows it; nothing is fetched. `Ok` if it is open, with what it
    /// saw; otherwise why it is closed.
    ///
    /// # Errors
    ///
    /// The reason why the gate is closed.
    pub fn show(
        self,
        condition: &Condition,
        quota: Option<&QuotaHandle>,
        error_count: u64,
    ) -> Result<String, Arc<str>> {
        let (reading, headers) = (quota.map(QuotaHandle::peek), quota.and_then(QuotaHandle::headers));
        match self.decide(condition, reading.as_ref(), headers.as_ref(), error_count) {
            Verdict::Closed(reason) => Err(reason),
            Verdict::Open => {
                let fetched = reading.as_ref().and_then(QuotaReading::value);
                let known = Known { fetched, headers: self.headers(headers.as_ref()) };
                Ok(format!("open: {}", condition.explain_view(known.view(), error_count).summary()))
            }
        }
    }

    /// Decides once the quota has been asked for; `None` if there was nothing to ask.
    pub(super) fn decide(
        self,
        condition: &Condition,
        reading: Option<&QuotaReading>,
        headers: Option<&HeaderReading>,
        error_count: u64,
    ) -> Verdict {
        let fetched = self.unless_zero(reading.and_then(QuotaReading::value));
        let known = Known { fetched, headers: self.headers(headers) };
        let why = match weigh(condition, known, error_count) {
            Ok(verdict) => return verdict,
            Err(Unknown::Headers) => NOT_SAID,
            Err(Unknown::Fetched) => match reading {
                Some(reading) => reading.reason().unwrap_or("it could not be had"),
                None => "the provider has no quota source",
            },
        };
        self.decide_without(condition, known, error_count, why)
    }

    /// Decides although a part that matters could not be had, for this reason.
    fn decide_without(self, condition: &Condition, known: Known<'_>, error_count: u64, why: &str) -> Verdict {
        match self {
            Self::Allow if condition.may_hold(known, error_count) => Verdict::Open,
            Self::Allow | Self::Zero => closed(condition, known.view(), error_count),
            Self::Skip => Verdict::Closed(format!("quota unknown: {why}").into()),
        }
    }

    fn headers(self, reading: Option<&HeaderReading>) -> Headers<'_> {
        match reading {
            None => Headers::Fetched,
            Some(reading) => self.unless_zero(reading.value()).map_or(Headers::Unknown, Headers::Seen),
        }
    }

    /// A value that is not known counts as nothing, if that is the policy.
    fn unless_zero(self, value: Option<&Value>) -> Option<&Value> {
        match self {
            Self::Zero => Some(value.unwrap_or(&Value::Null)),
            Self::Skip | Self::Allow => value,
        }
    }
}

const NOT_SAID: &str = "no answer has said it lately";

/// The verdict on a condition, or what would have to be known for one.
fn weigh(condition: &Condition, known: Known<'_>, error_count: u64) -> Result<Verdict, Unknown> {
    match condition.evaluate_known(known, error_count) {
        Ok(true) => Ok(Verdict::Open),
        Ok(false) | Err(Stop::Failed(_)) => Ok(closed(condition, known.view(), error_count)),
        Err(Stop::Needs(unknown)) => Err(unknown),
    }
}

/// The verdict on a condition that does not hold.
fn closed(condition: &Condition, quota: View<'_>, error_count: u64) -> Verdict {
    let explanation = condition.explain_view(quota, error_count);
    let summary = explanation.summary();
    Verdict::Closed(if explanation.outcome().is_ok() { format!("closed: {summary}").into() } else { summary.into() })
}
