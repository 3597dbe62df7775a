use std::{fmt::Write as _, ops::Range};

use serde_json::{Number, Value};

use super::{EvalError, view::View};

/// A field of the quota that a condition names.
#[derive(Clone, Debug)]
pub struct QuotaPath {
    text: Box<str>,
    segments: Box<[Segment]>,
    span: Range<usize>,
}

/// One step of a [`QuotaPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The field of an object: `.remaining` or `["gpt-4.1"]`.
    Key(Box<str>),
    /// The element of a list, from 0: `[0]`.
    Index(usize),
}

impl QuotaPath {
    pub(super) fn new(segments: Vec<Segment>, span: Range<usize>) -> Self {
        Self { text: spell(&segments).into(), segments: segments.into(), span }
    }

    /// The path that has a name of its own.
    pub(super) fn balance(span: Range<usize>) -> Self {
        Self { text: "balance".into(), segments: [Segment::Key("balance".into())].into(), span }
    }

    /// The path as the condition's [`Display`](std::fmt::Display) spells it: `quota.credits.remaining`, or `balance`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps from the quota down to the field; never empty.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The bytes of the expression that it was read from.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The number that the field counts as; `None` if it is missing.
    pub(super) fn read(&self, quota: View<'_>) -> Result<Option<f64>, EvalError> {
        let (mut at, start) = quota.start(self);
        for (depth, segment) in self.segments.iter().enumerate().skip(start) {
            let next = match (segment, at) {
                (Segment::Key(key), Value::Object(fields)) => fields.get(&**key),
                (Segment::Index(index), Value::Array(items)) => items.get(*index),
                (_, Value::Null) => None,
                // A whole answer of another shape is no quota at all.
                _ if depth == 0 => None,
                (Segment::Key(_), _) => return Err(self.mismatch(depth, at, "an object")),
                (Segment::Index(_), _) => return Err(self.mismatch(depth, at, "a list")),
            };
            match next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        let number = match at {
            Value::Null => return Ok(None),
            Value::Bool(value) => Some(f64::from(*value)),
            Value::Number(number) => Number::as_f64(number),
            Value::String(text) if is_json_number(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.mismatch(self.segments.len(), at, "a number"))
    }

    fn mismatch(&self, depth: usize, held: &Value, wanted: &'static str) -> EvalError {
        let path = if depth == self.segments.len() { self.text.to_string() } else { spell(&self.segments[..depth]) };
        EvalError::new(path, held, wanted)
    }
}

/// Where a path stands and how it was spelt does not matter.
impl PartialEq for QuotaPath {
    fn eq(&self, other: &Self) -> bool {
        self.segments == other.segments
    }
}

fn spell(segments: &[Segment]) -> String {
    let mut text = "quota".to_owned();
    for segment in segments {
        let written = match segment {
            Segment::Key(key) if !key.is_empty() && key.bytes().all(is_field_byte) => write!(text, ".{key}"),
            // Quoted as JSON is.
            Segment::Key(key) => write!(text, "[{}]", Value::from(&**key)),
            Segment::Index(index) => write!(text, "[{index}]"),
        };
        written.expect("writing to a string does not fail");
    }
    text
}

/// What a name may be made of after a dot.
pub(super) fn is_field_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Whether the text is exactly what JSON's grammar calls a number; `f64`'s parser alone takes `inf` and `+1` too.
fn is_json_number(text: &str) -> bool {
    fn digits(text: &str) -> Option<&str> {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        (rest.len() < text.len()).then_some(rest)
    }
    fn tail(text: &str) -> Option<&str> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let mut rest = text.strip_prefix('0').or_else(|| digits(text))?;
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = digits(fraction)?;
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            rest = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?;
        }
        Some(rest)
    }
    tail(text) == Some("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_a_number_when_json_says_so(
            text in prop_oneof!["-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?", "[-+0-9.eE ]{0,8}", ".{0,4}"]
        ) {
            // JSON's reader skips white space around a value; "exactly" does not.
            let json = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_number());
            prop_assert_eq!(is_json_number(&text), json && text.trim() == text);
        }
    }
}
