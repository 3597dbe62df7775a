use tower_layer::Layer;

use super::{Condition, ConditionGate, OnUnknown};

/// Lets a request pass only while a [`Condition`] holds. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct ConditionLayer {
    /// `None` is whatever the candidate says.
    rule: Option<Rule>,
}

/// What decides whether a gate is open.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) condition: Condition,
    pub(super) on_unknown: OnUnknown,
}

impl ConditionLayer {
    /// The same condition for every request.
    pub fn new(condition: Condition) -> Self {
        Self { rule: Some(Rule { condition, on_unknown: OnUnknown::default() }) }
    }

    /// The condition, and what becomes of an unknown quota, from the request's [`Candidate`](crate::ext::Candidate). A
    /// candidate without a condition, or a request without a candidate, always passes.
    pub fn from_candidate() -> Self {
        Self { rule: None }
    }

    /// What becomes of a quota that could not be had. A layer that asks the candidate ignores it, since the candidate
    /// says this too.
    #[must_use]
    pub fn on_unknown(mut self, on_unknown: OnUnknown) -> Self {
        if let Some(rule) = &mut self.rule {
            rule.on_unknown = on_unknown;
        }
        self
    }
}

impl<S> Layer<S> for ConditionLayer {
    type Service = ConditionGate<S>;

    fn layer(&self, inner: S) -> ConditionGate<S> {
        ConditionGate::new(inner, self.rule.clone())
    }
}
