//! The parser. Every part is a span of the text, so that an error can say where it is.

use std::ops::Range;

use super::{Choice, Leaf, Parameter, Selector, SelectorError, parameter};
use crate::near::near;

pub(super) const LONGEST: usize = 1024;
const MOST_LEAVES: usize = 8;
const HYBRID: &str = "hybrid:";
const WEIGHT: &str = "[weight=";

pub(super) fn selector(text: &str) -> Result<Selector<'_>, SelectorError> {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let message = format!("a model string of {} bytes is too long, {LONGEST} are the most", text.len());
        return Err(SelectorError::new(text, end..text.len(), message));
    }
    let parser = Parser { text };
    let whole = parser.trim(0..text.len());
    let selector = match text[whole.clone()].strip_prefix(HYBRID) {
        Some(_) => parser.hybrid(whole.start + HYBRID.len()..whole.end)?,
        None => Selector::Choice(parser.choice(whole)?),
    };
    if let Some(leaf) = selector.leaves().nth(MOST_LEAVES) {
        let count = selector.leaves().count();
        return Err(leaf.error(format!("{count} models are too many, {MOST_LEAVES} are the most")));
    }
    Ok(selector)
}

#[derive(Clone, Copy)]
struct Parser<'a> {
    text: &'a str,
}

impl<'a> Parser<'a> {
    fn error(self, span: Range<usize>, message: impl Into<String>) -> SelectorError {
        SelectorError::new(self.text, span, message)
    }

    fn trim(self, span: Range<usize>) -> Range<usize> {
        let text = &self.text[span.clone()];
        let start = span.start + (text.len() - text.trim_start().len());
        start..(span.end - (text.len() - text.trim_end().len())).max(start)
    }

    /// What stands behind `hybrid:`.
    fn hybrid(self, span: Range<usize>) -> Result<Selector<'a>, SelectorError> {
        let text = &self.text[span.clone()];
        if !text.starts_with('[') {
            let end = span.start + text.chars().next().map_or(0, char::len_utf8);
            return Err(self.error(span.start..end, "expected `[` behind `hybrid:`, as in `hybrid:[one,other]`"));
        }
        let close = self.closing(span.clone())?;
        if close + 1 != span.end {
            return Err(self.error(close + 1..span.end, "nothing may stand behind the `]` of a hybrid"));
        }
        let inside = span.start + 1..close;
        let commas = self.find(inside.clone(), |byte| byte == b',');
        let (reasoning, execution) = match commas[..] {
            [comma] => (inside.start..comma, comma + 1..inside.end),
            [] => return Err(self.error(close..close + 1, "expected `,` and a second model before this `]`")),
            [_, second, ..] => {
                return Err(self.error(second..second + 1, "a hybrid has two models, this starts a third"));
            }
        };
        Ok(Selector::Hybrid { reasoning: self.side(reasoning)?, execution: self.side(execution)? })
    }

    fn side(self, span: Range<usize>) -> Result<Choice<'a>, SelectorError> {
        let span = self.trim(span);
        if self.text[span.clone()].starts_with("hybrid:[") {
            return Err(self.error(span, "a hybrid cannot stand within a hybrid"));
        }
        self.choice(span)
    }

    /// The place of the bracket that closes the one at the start.
    fn closing(self, span: Range<usize>) -> Result<usize, SelectorError> {
        let mut depth = 0_usize;
        for (at, byte) in span.clone().zip(self.text[span.clone()].bytes()) {
            match byte {
                b'[' => depth += 1,
                b']' => depth -= 1,
                _ => continue,
            }
            if depth == 0 {
                return Ok(at);
            }
        }
        Err(self.error(span.start..span.start + 1, "this `[` is never closed"))
    }

    /// The places of bytes that stand in no brackets.
    fn find(self, span: Range<usize>, wanted: impl Fn(u8) -> bool) -> Vec<usize> {
        let mut depth = 0_usize;
        let mut found = Vec::new();
        for (at, byte) in span.clone().zip(self.text[span].bytes()) {
            match byte {
                b'[' => depth += 1,
                b']' => depth = depth.saturating_sub(1),
                _ if depth == 0 && wanted(byte) => found.push(at),
                _ => {}
            }
        }
        found
    }

    fn choice(self, span: Range<usize>) -> Result<Choice<'a>, SelectorError> {
        let separators = self.find(span.clone(), |byte| matches!(byte, b'|' | b'^'));
        let kind = |at: &usize| self.text.as_bytes()[*at];
        if let Some(other) = separators.iter().find(|at| kind(at) != kind(&separators[0])) {
            let message = "`|` and `^` cannot stand in one choice: the one gives an order, the other draws it";
            return Err(self.error(*other..*other + 1, message));
        }
        let mut leaves = Vec::with_capacity(separators.len() + 1);
        let mut start = span.start;
        let mut weight = None;
        for end in separators.iter().copied().chain([span.end]) {
            let (leaf, weighted) = self.leaf(start..end)?;
            leaves.push(leaf);
            weight = weight.or(weighted);
            start = end + 1;
        }
        let is_ordered = separators.first().is_some_and(|at| kind(at) == b'|');
        match weight {
            Some(weight) if is_ordered => Err(self.error(weight, "a weight goes with `^`; `|` gives an order")),
            _ => Ok(Choice { leaves, is_weighted: weight.is_some() || (!is_ordered && !separators.is_empty()) }),
        }
    }

    /// A leaf, and where its weight stands if it has one.
    fn leaf(self, span: Range<usize>) -> Result<(Leaf<'a>, Option<Range<usize>>), SelectorError> {
        let mut span = self.trim(span);
        let mut weight = (1, None);
        if self.text[span.clone()].starts_with('[') {
            let close = self.closing(span.clone())?;
            let bracket = span.start..close + 1;
            let number = self.text[bracket.clone()].strip_prefix(WEIGHT).and_then(|rest| rest.strip_suffix(']'));
            let number = number
                .ok_or_else(|| self.error(bracket.clone(), "only a weight may stand here, as in `[weight=2]`"))?
                .parse()
                .ok()
                .filter(|weight| *weight > 0)
                .ok_or_else(|| self.error(bracket.clone(), "a weight is a whole number, at least 1"))?;
            weight = (number, Some(bracket));
            span = self.trim(close + 1..span.end);
        }
        let text = &self.text[span.clone()];
        let (target, parameters) = match text.find('?') {
            Some(mark) => (self.trim(span.start..span.start + mark), self.parameters(span.start + mark + 1..span.end)?),
            None => (span.clone(), Vec::new()),
        };
        let name = &self.text[target.clone()];
        if name.is_empty() {
            let end = target.start + self.text[target.start..].chars().next().map_or(0, char::len_utf8);
            return Err(self.error(target.start..end, "expected a model here"));
        }
        if name.starts_with(HYBRID) {
            return Err(self.error(target, "a hybrid cannot stand within a choice"));
        }
        if let Some(bad) = name.char_indices().find(|(_, character)| character.is_control()) {
            let at = target.start + bad.0;
            return Err(self.error(at..at + bad.1.len_utf8(), "a model has no control characters"));
        }
        self.check_brackets(target.clone())?;
        Ok((Leaf { text: self.text, target: name, parameters, weight: weight.0, at: target.start }, weight.1))
    }

    /// Some models have brackets in their names; within a hybrid they have to be pairs.
    fn check_brackets(self, span: Range<usize>) -> Result<(), SelectorError> {
        let mut at = span.start;
        while let Some(found) = self.text[at..span.end].find(['[', ']']) {
            at += found;
            if self.text.as_bytes()[at] == b']' {
                return Err(self.error(at..at + 1, "this `]` closes nothing"));
            }
            at = self.closing(at..span.end)? + 1;
        }
        Ok(())
    }

    fn parameters(self, span: Range<usize>) -> Result<Vec<Parameter>, SelectorError> {
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut start = span.start;
        for pair in self.text[span].split('&') {
            let at = start..start + pair.len();
            start = at.end + 1;
            let error = |message: String| SelectorError::parameter(self.text, at.clone(), message);
            let Some((name, value)) = pair.split_once('=') else {
                return Err(error(format!("`{pair}`: expected a parameter, as in `temperature=0.7`")));
            };
            let decoded = |text: &str| match percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8()
            {
                Ok(decoded) => Ok(decoded.into_owned()),
                Err(_) => Err(error(format!("`{pair}`: this is not UTF-8 once it is decoded"))),
            };
            let (name, value) = (decoded(name)?, decoded(value)?);
            let parameter = match Parameter::read(&name, &value) {
                Some(read) => read.map_err(|expected| error(format!("`{pair}`: {expected}")))?,
                None => return Err(error(format!("`{pair}`: {}", unknown(&name)))),
            };
            if parameters.iter().any(|earlier| earlier.name == parameter.name) {
                return Err(error(format!("`{pair}`: `{name}` is given twice")));
            }
            parameters.push(parameter);
        }
        Ok(parameters)
    }
}

fn unknown(name: &str) -> String {
    let meant: Vec<_> = near(name, parameter::names()).iter().map(|name| format!("`{name}`")).collect();
    let hint = if meant.is_empty() {
        format!("there are {}", parameter::names().collect::<Vec<_>>().join(", "))
    } else {
        format!("did you mean {}?", meant.join(" or "))
    };
    format!("there is no parameter `{name}`; {hint}")
}
