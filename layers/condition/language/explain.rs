use std::fmt;

use super::{
    Condition, EvalError,
    program::{Operand, Test, run},
    tree::{NodeKind, Tree},
    view::View,
};

/// How much of a condition, and how many of the values it saw, a reason shows.
const REASON_LENGTH: usize = 240;
const REASON_VALUES: usize = 8;

/// How a condition came to its outcome: each part of it, and the values that were read.
///
/// [`Display`](fmt::Display) shows the tree, one part a line; [`summary`](Self::summary) is one line for a log or an error.
///
/// ```
/// use pointsman_layers::condition::Condition;
/// use serde_json::json;
///
/// let condition: Condition = "balance > 0 and error_count < 3 or quota.free".parse()?;
/// let explanation = condition.explain(&json!({"balance": 0.0}), 2);
/// assert_eq!(explanation.to_string(), "\
/// false  or
/// false    and
/// false      balance > 0 (balance = 0)
/// -          error_count < 3
/// false    quota.free (quota.free = 0, missing)
/// ");
/// # Ok::<_, pointsman_layers::condition::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Explanation {
    condition: Condition,
    parts: Vec<Part>,
    outcome: Result<bool, EvalError>,
}

/// One part of an [`Explanation`]: a test, or `and`, `or` or `not` with its operands in the parts that follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// How deep it is in the tree; the whole condition is at 0.
    pub depth: usize,
    /// A test as the condition spells it, or the operator.
    pub text: String,
    /// What it came to.
    pub outcome: PartOutcome,
    /// The variables that were read for it; only a test has any.
    pub values: Vec<Seen>,
}

/// What a [`Part`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOutcome {
    /// It holds, or does not.
    Holds(bool),
    /// It did not matter, so it was not evaluated.
    Skipped,
    /// A value in it is not a number.
    Failed,
}

/// A variable and the number that was read for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The variable as the condition spells it.
    pub name: String,
    /// What it counts as.
    pub value: f64,
    /// Whether the quota has no such field, so that it counts as zero.
    pub missing: bool,
}

impl Explanation {
    pub(super) fn new(condition: &Condition, quota: View<'_>, error_count: u64) -> Self {
        // The tests that mattered, in order, as the run met them.
        let mut met: Vec<(&Test, PartOutcome)> = Vec::new();
        let outcome = run(condition.steps(), |test| {
            let outcome = test.evaluate(quota, error_count);
            met.push((test, outcome.as_ref().map_or(PartOutcome::Failed, |holds| PartOutcome::Holds(*holds))));
            outcome
        });

        let tree = Tree::new(condition.steps());
        let mut met = met.into_iter().peekable();
        let mut outcomes: Vec<PartOutcome> = Vec::with_capacity(tree.nodes().len());
        for (at, node) in tree.nodes().iter().enumerate() {
            // What was evaluated last decided an `and` or an `or`.
            let decisive = || {
                tree.operands_reversed(at)
                    .map(|operand| outcomes[operand])
                    .find(|outcome| *outcome != PartOutcome::Skipped)
            };
            outcomes.push(match node.kind {
                NodeKind::Test(test) => met
                    .next_if(|(next, _)| std::ptr::eq(*next, test))
                    .map_or(PartOutcome::Skipped, |(_, outcome)| outcome),
                NodeKind::And | NodeKind::Or => decisive().unwrap_or(PartOutcome::Skipped),
                NodeKind::Not => match decisive() {
                    Some(PartOutcome::Holds(holds)) => PartOutcome::Holds(!holds),
                    other => other.unwrap_or(PartOutcome::Skipped),
                },
            });
        }

        let mut parts = Vec::with_capacity(outcomes.len());
        let mut waiting = vec![(tree.root(), 0)];
        while let Some((node, depth)) = waiting.pop() {
            let (text, values) = match tree.nodes()[node].kind {
                NodeKind::Test(test) if outcomes[node] == PartOutcome::Skipped => (test.to_string(), Vec::new()),
                NodeKind::Test(test) => (test.to_string(), seen(test, quota, error_count)),
                NodeKind::Not => ("not".into(), Vec::new()),
                NodeKind::And => ("and".into(), Vec::new()),
                NodeKind::Or => ("or".into(), Vec::new()),
            };
            parts.push(Part { depth, text, outcome: outcomes[node], values });
            waiting.extend(tree.operands_reversed(node).map(|operand| (operand, depth + 1)));
        }
        Self { condition: condition.clone(), parts, outcome }
    }

    /// What the condition came to, as [`Condition::evaluate`] says it.
    pub fn outcome(&self) -> Result<bool, &EvalError> {
        self.outcome.as_ref().map(|holds| *holds)
    }

    /// The parts of the condition, each before its operands.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The condition and the values that were read, in one line: `balance > 0 (balance = 0)`. If a value is of the wrong
    /// type, that: `quota.plan is a string, not a number`.
    ///
    /// A long condition is cut short.
    pub fn summary(&self) -> String {
        let holds = match &self.outcome {
            Ok(holds) => *holds,
            Err(error) => return error.to_string(),
        };
        let mut summary = self.condition.to_string();
        if summary.len() > REASON_LENGTH {
            summary.truncate(summary.floor_char_boundary(REASON_LENGTH));
            summary.push('…');
        }
        let mut seen: Vec<&Seen> = Vec::new();
        for value in self.parts.iter().flat_map(|part| &part.values) {
            if seen.len() <= REASON_VALUES && !seen.iter().any(|earlier| earlier.name == value.name) {
                seen.push(value);
            }
        }
        let mut values: Vec<String> =
            seen.iter().map(|seen| format!("{} = {}", seen.name, Short(seen.value))).collect();
        if values.len() > REASON_VALUES {
            values[REASON_VALUES] = "…".into();
        }
        if self.condition.constant().is_some() {
            values.push(if holds { "always".into() } else { "never".into() });
        }
        if !values.is_empty() {
            summary.push_str(&format!(" ({})", values.join(", ")));
        }
        summary
    }
}

/// The values of a test, as far as they are numbers.
fn seen(test: &Test, quota: View<'_>, error_count: u64) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    for operand in test.operands() {
        let (value, missing) = match operand {
            Operand::Number(_) => continue,
            Operand::ErrorCount => (error_count as f64, false),
            Operand::Quota(path) => match path.read(quota) {
                Ok(value) => (value.unwrap_or(0.0), value.is_none()),
                Err(_) => continue,
            },
        };
        let name = operand.to_string();
        if seen.iter().all(|earlier| earlier.name != name) {
            seen.push(Seen { name, value, missing });
        }
    }
    seen
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            let outcome = match part.outcome {
                PartOutcome::Holds(true) => "true",
                PartOutcome::Holds(false) => "false",
                PartOutcome::Skipped => "-",
                PartOutcome::Failed => "error",
            };
            write!(f, "{outcome:<5}  {:indent$}{}", "", part.text, indent = 2 * part.depth)?;
            let mut separator = " (";
            for Seen { name, value, missing } in &part.values {
                let missing = if *missing { ", missing" } else { "" };
                write!(f, "{separator}{name} = {}{missing}", Short(*value))?;
                separator = "; ";
            }
            writeln!(f, "{}", if part.values.is_empty() { "" } else { ")" })?;
        }
        match &self.outcome {
            Ok(_) => Ok(()),
            Err(error) => writeln!(f, "{error}"),
        }
    }
}

/// A number as people read it: in full, unless that is a line of zeros.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            0.0 => f.write_str("0"),
            size if (1e-6..1e15).contains(&size) => write!(f, "{}", self.0),
            _ => write!(f, "{:e}", self.0),
        }
    }
}
