use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::{Number, Value};

/// A parameter of a model string: a key of the request's body, and its value.
///
/// | name | value |
/// |---|---|
/// | `temperature` | a number from 0 to 2 |
/// | `top_p` | a number from 0 to 1 |
/// | `top_k` | a whole number, at least 1 |
/// | `reasoning_effort` | `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max` |
/// | `verbosity` | `low`, `medium` or `high` |
/// | `max_tokens`, `max_completion_tokens` | a whole number, at least 1 |
/// | `seed` | a whole number |
/// | `frequency_penalty`, `presence_penalty` | a number from -2 to 2 |
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The key.
    pub name: &'static str,
    /// The value.
    pub value: Value,
}

/// What a parameter may be.
enum Kind {
    Number { from: f64, to: f64 },
    Integer { from: i64 },
    Word(&'static [&'static str]),
}

const TABLE: [(&str, Kind); 10] = [
    ("temperature", Kind::Number { from: 0.0, to: 2.0 }),
    ("top_p", Kind::Number { from: 0.0, to: 1.0 }),
    ("top_k", Kind::Integer { from: 1 }),
    ("reasoning_effort", Kind::Word(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
    ("verbosity", Kind::Word(&["low", "medium", "high"])),
    ("max_tokens", Kind::Integer { from: 1 }),
    ("max_completion_tokens", Kind::Integer { from: 1 }),
    ("seed", Kind::Integer { from: i64::MIN }),
    ("frequency_penalty", Kind::Number { from: -2.0, to: 2.0 }),
    ("presence_penalty", Kind::Number { from: -2.0, to: 2.0 }),
];

/// Every name that a parameter can have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

impl Parameter {
    /// Reads a value for a name that is in the table; else says what was expected.
    pub(super) fn read(name: &str, text: &str) -> Option<Result<Self, String>> {
        let (name, kind) = TABLE.iter().find(|(known, _)| *known == name)?;
        let value = kind.read(text).ok_or_else(|| format!("expected {kind}"));
        Some(value.map(|value| Self { name, value }))
    }
}

impl Kind {
    fn read(&self, text: &str) -> Option<Value> {
        match self {
            Self::Number { from, to } => {
                let number = text.parse::<f64>().ok().filter(|number| (*from..=*to).contains(number))?;
                // A whole number stays one: not every provider takes `1.0` for `1`.
                let whole = text.parse::<i64>().ok().map(Number::from);
                whole.or_else(|| Number::from_f64(number)).map(Value::Number)
            }
            Self::Integer { from } => {
                text.parse::<i64>().ok().filter(|number| number >= from).map(|number| Value::Number(number.into()))
            }
            Self::Word(words) => words.contains(&text).then(|| text.into()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { from, to } => write!(f, "a number from {from} to {to}"),
            Self::Integer { from: i64::MIN } => f.write_str("a whole number"),
            Self::Integer { from } => write!(f, "a whole number, at least {from}"),
            Self::Word(words) => {
                let (last, others) = words.split_last().expect("no list of words is empty");
                write!(f, "{} or {last}", others.join(", "))
            }
        }
    }
}

/// As it is written in a model string.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
        let value = match &self.value {
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        write!(f, "{}={}", self.name, percent_encoding::utf8_percent_encode(&value, ESCAPED))
    }
}
