//! The keys of one mapping: each is asked for once, and what nobody asked for is unknown.

use std::cmp::Ordering;

use super::{decode::Cursor, node::Node};
use crate::near::near;

pub(super) struct Fields<'a> {
    /// The mapping itself.
    pub(super) at: Cursor<'a>,
    entries: Vec<Cursor<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of a mapping; an error if it is none.
    pub(super) fn of(at: Cursor<'a>) -> Option<Self> {
        Some(Self { at, entries: at.entries()?, asked: Vec::new() })
    }

    /// Takes the entry with this key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        self.asked.push(key);
        let index = self.entries.iter().position(|entry| entry.key.and_then(Node::as_str) == Some(key))?;
        Some(self.entries.remove(index))
    }

    /// The same under two names; both at once are an error.
    pub(super) fn take_either(&mut self, key: &'static str, synonym: &'static str) -> Option<Cursor<'a>> {
        let (first, second) = (self.take(key), self.take(synonym));
        only_one(first, second)
    }

    /// The value of a key that may be left out. One that cannot be read is reported, and counts as left out.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(Cursor<'a>) -> Option<T>) -> Option<T> {
        self.take(key).filter(|value| !value.node.is_null()).and_then(read)
    }

    /// The value of a key that has to be there.
    pub(super) fn required<T>(&mut self, key: &'static str, read: impl FnOnce(Cursor<'a>) -> Option<T>) -> Option<T> {
        match self.take(key) {
            Some(value) => read(value),
            None => self.missing(key),
        }
    }

    pub(super) fn missing<T>(&self, key: &str) -> Option<T> {
        let error = self.at.error(format!("missing key `{key}`"));
        self.at.fail(error.label(format!("`{key}` is required here")))
    }

    /// What is left over, for mappings whose keys are names.
    pub(super) fn rest(self) -> Vec<Cursor<'a>> {
        self.entries
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(self) {
        for entry in &self.entries {
            let Some(key) = entry.key.and_then(Node::as_str) else { continue };
            let error = entry.at_key().error(format!("unknown key `{key}`")).label("not a key that is known here");
            let meant = near(key, self.asked.iter().copied());
            let error = if meant.is_empty() {
                error.help(format!("known here: {}", self.asked.join(", ")))
            } else {
                error.did_you_mean(meant)
            };
            entry.report(error);
        }
    }
}

/// One of two values that mean the same; both at once are an error, unless one is laid over the other by an instance
/// file.
pub(super) fn only_one<'a>(first: Option<Cursor<'a>>, second: Option<Cursor<'a>>) -> Option<Cursor<'a>> {
    let given = |value: &Cursor<'a>| !value.node.is_null();
    let (Some(one), Some(other)) = (first.filter(given), second.filter(given)) else {
        return first.filter(given).or(second.filter(given)).or(first).or(second);
    };
    let (key, synonym) = (one.at_key(), other.at_key());
    match key.node.source.cmp(&synonym.node.source) {
        Ordering::Less => second,
        Ordering::Greater => first,
        Ordering::Equal => {
            let name = |key: Cursor<'a>| key.node.as_str().unwrap_or_default();
            let message = format!("`{}` is another name for `{}`; only one can be given", name(synonym), name(key));
            other.report(synonym.error(message).label("given again").related(key.node, "given here"));
            first
        }
    }
}
