//! Numbers, times and sizes.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use serde_json::Number;

use super::{decode::Cursor, node::Value, scalar};

impl Cursor<'_> {
    fn no_number<T>(self, expected: &str) -> Option<T> {
        match self.node.as_str().map(|text| text.trim().parse::<f64>()) {
            Some(Ok(_)) => {
                let error = self.error(format!("{}: expected a number, found a string", self.subject()));
                self.fail(error.label("expected a number").help("remove the quotes"))
            }
            _ => self.wrong_type(expected),
        }
    }

    /// A number, as it is or by a reference; none inside if it is not one of this kind.
    fn any_number<T: FromStr>(self, expected: &str, of: impl FnOnce(&Number) -> Option<T>) -> Option<Option<T>> {
        Some(match (&self.node.value, self.referenced()?) {
            (Value::Number(number), _) => of(number),
            (_, Some(text)) => text.trim().parse().ok(),
            (Value::UnusableNumber, _) => None,
            _ => return self.no_number(expected),
        })
    }

    /// A number of seconds, with or without a fraction.
    pub(super) fn seconds(self) -> Option<Duration> {
        let number = self.any_number("a number of seconds", Number::as_f64)?;
        let complaint = match number.filter(|number| number.is_finite()) {
            None => "is not a finite number",
            Some(number) if number < 0.0 => "is negative",
            Some(number) => match scalar::duration_from_seconds(number) {
                Some(duration) => return Some(duration),
                None => "is too long",
            },
        };
        self.fail(self.error(format!("{} {complaint}", self.subject())).label("expected a number of seconds"))
    }

    /// A number in a range.
    pub(super) fn number(self, range: RangeInclusive<f64>) -> Option<f64> {
        let number = self.any_number("a number", Number::as_f64)?;
        number.filter(|number| number.is_finite() && range.contains(number)).or_else(|| {
            let what = match *range.end() {
                f64::INFINITY => format!("a number of at least {}", range.start()),
                end => format!("a number from {} to {end}", range.start()),
            };
            self.fail(self.error(format!("{}: expected {what}", self.subject())).label("not such a number"))
        })
    }

    /// A whole number in a range.
    pub(super) fn integer(self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.any_number("a number", Number::as_u64)?;
        number.filter(|number| range.contains(number)).or_else(|| {
            let what = if *range.end() == u64::MAX {
                format!("a whole number of at least {}", range.start())
            } else {
                format!("a whole number from {} to {}", range.start(), range.end())
            };
            self.fail(self.error(format!("{}: expected {what}", self.subject())).label("not such a number"))
        })
    }

    pub(super) fn count(self) -> Option<usize> {
        self.integer(1..=u64::MAX).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn duration(self) -> Option<Duration> {
        let duration = match &self.node.value {
            Value::Number(number) => number.as_f64().and_then(scalar::duration_from_seconds),
            Value::UnusableNumber => None,
            Value::String(_) => scalar::parse_duration(&self.text()?),
            _ => return self.wrong_type("a duration"),
        };
        duration.or_else(|| {
            let error = self.error(format!("{} is not a duration", self.subject())).label("expected a duration");
            self.fail(error.help("write `10s`, `1m30s`, `500ms` or a number of seconds"))
        })
    }

    /// A time in which something can happen.
    pub(super) fn timeout(self) -> Option<Duration> {
        match self.duration()? {
            Duration::ZERO => {
                let error = self.error(format!("{} leaves no time at all", self.subject()));
                self.fail(error.label("expected a longer time").help("0 is not endless; write `24h` for that"))
            }
            time => Some(time),
        }
    }

    /// A size that something fits into.
    pub(super) fn limit(self) -> Option<usize> {
        match self.size()? {
            0 => self
                .fail(self.error(format!("{} leaves no room at all", self.subject())).label("expected a larger size")),
            size => Some(size),
        }
    }

    pub(super) fn size(self) -> Option<usize> {
        let size = match &self.node.value {
            Value::Number(number) => number.as_u64().and_then(|bytes| usize::try_from(bytes).ok()),
            Value::UnusableNumber => None,
            Value::String(_) => scalar::parse_size(&self.text()?),
            _ => return self.wrong_type("a size"),
        };
        size.or_else(|| {
            let error = self.error(format!("{} is not a size", self.subject())).label("expected a size");
            self.fail(error.help("write `32MiB`, `10MB` or a number of bytes"))
        })
    }
}
