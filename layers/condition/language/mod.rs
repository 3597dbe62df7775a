//! The expression language: source -> tokens -> steps that run without a stack, and back to a tree for whoever reads it.

mod diagnose;
mod error;
mod explain;
mod lexer;
mod parser;
mod path;
mod program;
mod tree;
mod view;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

use serde_json::Value;

pub(super) use self::view::{Headers, Known, Stop, Unknown, View};
pub use self::{
    error::{EvalError, ParseError},
    explain::{Explanation, Part, PartOutcome, Seen},
    path::{QuotaPath, Segment},
};
use self::{
    program::{Operand, Step, Test},
    tree::Tree,
};

/// A compiled condition on a provider's quota and its error count.
///
/// It is parsed once, with [`str::parse`]; an evaluation neither allocates nor recurses. Cloning it clones a pointer. Two
/// conditions are equal if they are spelt the same but for white space, parentheses that change nothing, double
/// negation and other names for the same field. See the [module docs](crate::condition#the-language) for the language.
///
/// ```
/// use pointsman_layers::condition::Condition;
/// use serde_json::json;
///
/// let condition: Condition = "balance > 0 or error_count < 3".parse()?;
/// assert!(condition.evaluate(&json!({"balance": 0.0}), 2)?);
/// assert!(!condition.evaluate(&json!({"balance": 0.0}), 3)?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Condition {
    /// Never empty.
    steps: Arc<[Step]>,
}

impl Condition {
    /// The length of the longest expression that is parsed, in bytes: 64 KiB.
    pub const MAX_LENGTH: usize = parser::MAX_LENGTH;

    /// How many groups may be open in one another.
    pub const MAX_DEPTH: usize = parser::MAX_DEPTH;

    /// The condition that always holds, as a blank expression does.
    pub fn always() -> Self {
        Self::lone(1.0)
    }

    /// The condition that never holds.
    pub fn never() -> Self {
        Self::lone(0.0)
    }

    fn lone(number: f64) -> Self {
        Self { steps: [Step::Test(Test { left: Operand::Number(number), right: None })].into() }
    }

    fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        self.steps.iter().filter_map(|step| match step {
            Step::Test(test) => Some(test),
            Step::Not | Step::Jump { .. } => None,
        })
    }

    /// Whether the condition holds for a quota and a number of errors. [`Value::Null`] stands for no quota at all.
    ///
    /// # Errors
    ///
    /// If a value that matters is not a number, nor a boolean or a string that counts as one.
    pub fn evaluate(&self, quota: &Value, error_count: u64) -> Result<bool, EvalError> {
        program::run(&self.steps, |test| test.evaluate(quota.into(), error_count))
    }

    /// As [`evaluate`](Self::evaluate), for a quota that may not have been fetched: `None` if the evaluation comes to a test
    /// that reads it.
    ///
    /// Operands are evaluated from left to right, as ever: `error_count < 3 or balance > 0` needs no quota while there
    /// are fewer than three errors, `balance > 0 or error_count < 3` always does.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate); never without a quota.
    pub fn evaluate_lazily(&self, quota: Option<&Value>, error_count: u64) -> Result<Option<bool>, EvalError> {
        match self.evaluate_known(Known { fetched: quota, headers: Headers::Fetched }, error_count) {
            Ok(holds) => Ok(Some(holds)),
            Err(Stop::Needs(_)) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// As [`evaluate`](Self::evaluate), up to a test for which something is not known.
    pub(super) fn evaluate_known(&self, known: Known<'_>, error_count: u64) -> Result<bool, Stop> {
        program::run(&self.steps, |test| known.evaluate(test, error_count))
    }

    /// Whether what is not known could be such that the condition holds.
    pub(super) fn may_hold(&self, known: Known<'_>, error_count: u64) -> bool {
        let (_, holds) = program::outcomes(&self.steps, |test| known.evaluate(test, error_count).ok());
        holds
    }

    /// Evaluates the condition and keeps what every part of it came to.
    pub fn explain(&self, quota: &Value, error_count: u64) -> Explanation {
        self.explain_view(quota.into(), error_count)
    }

    pub(super) fn explain_view(&self, quota: View<'_>, error_count: u64) -> Explanation {
        Explanation::new(self, quota, error_count)
    }

    /// Whether the condition names a field of the quota.
    pub fn reads_quota(&self) -> bool {
        self.quota_paths().next().is_some()
    }

    /// Whether the condition names the error count.
    pub fn reads_error_count(&self) -> bool {
        self.tests().flat_map(Test::operands).any(|operand| *operand == Operand::ErrorCount)
    }

    /// The fields of the quota that the condition names, in order, as often as it names them.
    pub fn quota_paths(&self) -> impl Iterator<Item = &QuotaPath> {
        self.tests().flat_map(Test::quota_paths)
    }

    /// What the condition always comes to, if it names no variable.
    pub fn constant(&self) -> Option<bool> {
        let names_none = !self.reads_quota() && !self.reads_error_count();
        names_none.then(|| self.evaluate(&Value::Null, 0).ok()).flatten()
    }

    /// Whether there is an error count at which the condition holds without any quota, and only because what is missing
    /// counts as zero: `quota.used < 90`, but not `balance > 0 or error_count < 3`.
    pub fn holds_for_missing_quota(&self) -> bool {
        // Between two numbers that it is compared with, one error count is like another; a missing field is a zero.
        let mut counts = vec![0, 1];
        for test in self.tests().filter(|test| test.operands().any(|operand| *operand == Operand::ErrorCount)) {
            for operand in test.operands() {
                if let Operand::Number(number @ 0.0..) = operand {
                    counts.extend([*number as u64, (*number as u64).saturating_add(1)]);
                }
            }
        }
        counts.sort_unstable();
        counts.dedup();
        counts.into_iter().any(|count| {
            let known = |test: &Test| match test.reads_quota() {
                true => None,
                false => test.evaluate((&Value::Null).into(), count).ok(),
            };
            let may_go_either_way = program::outcomes(&self.steps, known) == (true, true);
            may_go_either_way && self.evaluate(&Value::Null, count) == Ok(true)
        })
    }
}

/// Always holds.
impl Default for Condition {
    fn default() -> Self {
        Self::always()
    }
}

impl FromStr for Condition {
    type Err = ParseError;

    fn from_str(source: &str) -> Result<Self, ParseError> {
        parser::parse(source).map(|steps| Self { steps: steps.into() })
    }
}

/// The canonical spelling, which parses back to an equal condition. Only one that is within a few bytes of
/// [`MAX_LENGTH`](Condition::MAX_LENGTH) may have become too long for that, by the spaces around its operators.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Tree::new(&self.steps).fmt(f)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({self})")
    }
}
