use std::fmt;

use super::{EvalError, path::QuotaPath, view::View};

/// A step of a compiled condition, which holds one truth value at a time.
///
/// `a and b` is `a`, a jump past `b` if false, `b`. All jumps go forward, those of one `and` or `or` to the same step, so
/// an operator and its operands can be found again. `(a or b) or c` and `a or (b or c)` are the same steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Test(Test),
    Not,
    /// To the step `to` if the truth value is `when`: `or` jumps on true, `and` on false.
    Jump {
        when: bool,
        to: usize,
    },
}

/// A comparison, or a lone value that is true when it is not zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) left: Operand,
    pub(super) right: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Number(f64),
    ErrorCount,
    Quota(QuotaPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Equal,
    NotEqual,
}

/// Runs the steps with the outcome of each test that matters, as `test` gives it. Neither recurses nor allocates.
pub(super) fn run<'a, E>(steps: &'a [Step], mut test: impl FnMut(&'a Test) -> Result<bool, E>) -> Result<bool, E> {
    let mut holds = true;
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += 1;
        match step {
            Step::Test(next) => holds = test(next)?,
            Step::Not => holds = !holds,
            Step::Jump { when, to } if holds == *when => at = *to,
            Step::Jump { .. } => {}
        }
    }
    Ok(holds)
}

/// Which outcomes a run can have, `(false, true)`, if a test without a known outcome may go either way.
pub(super) fn outcomes(steps: &[Step], known: impl Fn(&Test) -> Option<bool>) -> (bool, bool) {
    // With which truth values a run can arrive at each step, and at the end.
    let mut reached = vec![(false, false); steps.len() + 1];
    reached[0] = (false, true);
    for (at, step) in steps.iter().enumerate() {
        let (no, yes) = reached[at];
        let mut arrive = |at: usize, (no, yes): (bool, bool)| {
            reached[at].0 |= no;
            reached[at].1 |= yes;
        };
        match step {
            Step::Test(test) => {
                let known = known(test);
                arrive(at + 1, ((no || yes) && known != Some(true), (no || yes) && known != Some(false)));
            }
            Step::Not => arrive(at + 1, (yes, no)),
            Step::Jump { when: true, to } => {
                arrive(*to, (false, yes));
                arrive(at + 1, (no, false));
            }
            Step::Jump { when: false, to } => {
                arrive(*to, (no, false));
                arrive(at + 1, (false, yes));
            }
        }
    }
    reached[steps.len()]
}

impl Test {
    pub(super) fn operands(&self) -> impl Iterator<Item = &Operand> {
        std::iter::once(&self.left).chain(self.right.as_ref().map(|(_, right)| right))
    }

    pub(super) fn quota_paths(&self) -> impl Iterator<Item = &QuotaPath> {
        self.operands().filter_map(|operand| match operand {
            Operand::Quota(path) => Some(path),
            Operand::Number(_) | Operand::ErrorCount => None,
        })
    }

    pub(super) fn reads_quota(&self) -> bool {
        self.quota_paths().next().is_some()
    }

    pub(super) fn evaluate(&self, quota: View<'_>, error_count: u64) -> Result<bool, EvalError> {
        let left = self.left.evaluate(quota, error_count)?;
        let Some((comparison, right)) = &self.right else { return Ok(left != 0.0) };
        let right = right.evaluate(quota, error_count)?;
        Ok(match comparison {
            Comparison::Greater => left > right,
            Comparison::Less => left < right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
        })
    }
}

impl Operand {
    fn evaluate(&self, quota: View<'_>, error_count: u64) -> Result<f64, EvalError> {
        match self {
            Self::Number(number) => Ok(*number),
            // Exact up to 2^53, which no counter reaches.
            Self::ErrorCount => Ok(error_count as f64),
            Self::Quota(path) => Ok(path.read(quota)?.unwrap_or(0.0)),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.right {
            Some((comparison, right)) => write!(f, "{} {comparison} {right}", self.left),
            None => write!(f, "{}", self.left),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if number.is_infinite() => {
                // There is no word for infinity, but any number past the largest one reads as it.
                let sign = if number.is_sign_negative() { "-" } else { "" };
                write!(f, "{sign}{:9<309}", "")
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::ErrorCount => f.write_str("error_count"),
            Self::Quota(path) => f.write_str(path.as_str()),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        })
    }
}
