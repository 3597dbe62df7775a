//! From the tree to typed values: a cursor that reports what it cannot read and goes on, so that all mistakes of a
//! file are found at once.

use std::{
    borrow::Cow,
    cell::RefCell,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value as Json};

use super::{
    Secret,
    diagnostic::Severity,
    finding::{Finding, either},
    interpolate::{Environment, expand_home, interpolate},
    node::{Node, Value},
};
use crate::near::near;

/// What is the same all over a file.
pub(super) struct Context<'a> {
    pub(super) environment: &'a dyn Environment,
    /// Relative paths start here.
    pub(super) folder: &'a Path,
    pub(super) findings: RefCell<Vec<Finding<'a>>>,
    /// The credentials that stand in the file itself, and not in the environment.
    pub(super) written_secrets: RefCell<Vec<Cursor<'a>>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(environment: &'a dyn Environment, folder: &'a Path) -> Self {
        Self { environment, folder, findings: RefCell::default(), written_secrets: RefCell::default() }
    }

    pub(super) fn report(&self, finding: Finding<'a>) {
        self.findings.borrow_mut().push(finding);
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.findings.borrow().iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

/// A node, with the key it stands under.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) node: &'a Node,
    pub(super) key: Option<&'a Node>,
}

impl<'a> Cursor<'a> {
    /// An error at this value. One at nothing points at the key instead, so that there is something to see.
    pub(super) fn error(&self, message: impl Into<String>) -> Finding<'a> {
        Finding::new(Severity::Error, self.visible(), message.into())
    }

    /// A warning at this value.
    pub(super) fn warning(&self, message: impl Into<String>) -> Finding<'a> {
        Finding::new(Severity::Warning, self.visible(), message.into())
    }

    /// The key, or the value where there is none.
    pub(super) fn at_key(self) -> Self {
        Self { node: self.key.unwrap_or(self.node), ..self }
    }

    fn visible(&self) -> &'a Node {
        if self.node.is_null() { self.key.unwrap_or(self.node) } else { self.node }
    }

    pub(super) fn report(&self, finding: Finding<'a>) {
        self.context.report(finding);
    }

    /// Reports and gives nothing: `return cursor.fail(cursor.error(..))`.
    pub(super) fn fail<T>(&self, finding: Finding<'a>) -> Option<T> {
        self.report(finding);
        None
    }

    /// The name that this value has in messages.
    pub(super) fn subject(&self) -> String {
        match self.key.and_then(Node::as_str) {
            Some(key) => format!("`{key}`"),
            None => "this item".into(),
        }
    }

    pub(super) fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let found = self.node.kind();
        let error = self.error(format!("{}: expected {expected}, found {found}", self.subject()));
        self.fail(error.label(format!("expected {expected}")))
    }

    /// A string with its references resolved; those named in `keep` stay.
    pub(super) fn template(self, keep: &[&str]) -> Option<Cow<'a, str>> {
        match &self.node.value {
            Value::String(text) => match interpolate(text, self.context.environment, self.context.folder, keep) {
                Ok(text) => Some(text),
                Err(dangling) => {
                    let mut error = self.error(dangling.message).within(dangling.span);
                    error.help = dangling.help;
                    self.fail(error)
                }
            },
            Value::Number(_) | Value::UnusableNumber | Value::Bool(_) => {
                let found = self.node.kind();
                let error = self.error(format!("{}: expected a string, found {found}", self.subject()));
                self.fail(error.label("expected a string").help("quote it to make it a string"))
            }
            _ => self.wrong_type("a string"),
        }
    }

    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        self.template(&[])
    }

    pub(super) fn string(self) -> Option<String> {
        self.text().map(Cow::into_owned)
    }

    /// A string that is not empty.
    pub(super) fn name(self) -> Option<String> {
        let name = self.string()?;
        if name.trim().is_empty() {
            return self.fail(self.error(format!("{} is empty", self.subject())).label("expected a name"));
        }
        Some(name)
    }

    /// A credential. An empty one, as an optional variable leaves it, is none.
    pub(super) fn secret(self) -> Option<Secret> {
        let text = self.string()?;
        match text.trim() {
            "" => None,
            secret if http::HeaderValue::from_str(secret).is_ok() => {
                self.note_secret();
                Some(Secret::new(secret))
            }
            _ => self.fail(self.error(format!("{} has a character that no header can hold", self.subject()))),
        }
    }

    /// This value is a credential.
    pub(super) fn note_secret(self) {
        if self.node.as_str().is_some_and(|text| !text.contains("${")) {
            self.context.written_secrets.borrow_mut().push(self);
        }
    }

    /// The text of a scalar that is not a string by its nature: a number as it is, or a string made of references.
    pub(super) fn referenced(self) -> Option<Option<Cow<'a, str>>> {
        match &self.node.value {
            Value::String(text) if text.contains("${") => self.text().map(Some),
            _ => Some(None),
        }
    }

    pub(super) fn bool(self) -> Option<bool> {
        match (&self.node.value, self.referenced()?.as_deref()) {
            (Value::Bool(value), _) => Some(*value),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            (_, Some(_)) => self.fail(self.error(format!("{}: expected `true` or `false`", self.subject()))),
            (Value::String(_), None) => {
                let error = self.error(format!("{}: expected a boolean, found a string", self.subject()));
                self.fail(error.label("expected a boolean").help("write `true` or `false`, without quotes"))
            }
            _ => self.wrong_type("a boolean"),
        }
    }

    pub(super) fn url(self) -> Option<http::Uri> {
        let text = self.text()?;
        let (complaint, help) = match text.parse::<http::Uri>() {
            Ok(url) => match (url.scheme_str(), url.authority()) {
                (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                    ("has a user or a password in it", "credentials go into `api_key` or `headers`")
                }
                (Some("http" | "https"), Some(authority)) if !authority.host().is_empty() => return Some(url),
                (None, _) => ("has no scheme", "write it as `https://host/path`"),
                _ => ("is not an HTTP URL", "write it as `https://host/path`"),
            },
            Err(_) => ("is not a URL", "write it as `https://host/path`"),
        };
        self.fail(self.error(format!("{} {complaint}", self.subject())).label("expected a URL").help(help))
    }

    pub(super) fn path(self) -> Option<PathBuf> {
        Some(expand_home(&self.text()?, self.context.environment, self.context.folder))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let error = self.error(format!("{}: there is no such choice", self.subject()));
        self.fail(
            error
                .label(format!("expected {}", either(words.iter().map(|(word, _)| *word))))
                .did_you_mean(near(&text, words.iter().map(|w| w.0))),
        )
    }

    /// A list, each item read by `read`; items that fail are left out.
    pub(super) fn list<T>(self, read: impl FnMut(Cursor<'a>) -> Option<T>) -> Option<Vec<T>> {
        Some(self.items()?.filter_map(read).collect())
    }

    pub(super) fn items(self) -> Option<impl ExactSizeIterator<Item = Cursor<'a>>> {
        match &self.node.value {
            Value::Seq(items) => Some(items.iter().map(move |node| Cursor { context: self.context, node, key: None })),
            _ => self.wrong_type("a list"),
        }
    }

    /// The entries of a mapping, those that `<<` merges in included; nothing is an empty mapping.
    pub(super) fn entries(self) -> Option<Vec<Cursor<'a>>> {
        match &self.node.value {
            Value::Null => Some(Vec::new()),
            Value::Map(_) => {
                let mut entries = Vec::new();
                self.collect_entries(&mut entries);
                Some(entries)
            }
            _ => self.wrong_type("a mapping"),
        }
    }

    fn collect_entries(self, entries: &mut Vec<Cursor<'a>>) {
        let Value::Map(own) = &self.node.value else {
            self.wrong_type::<()>("a mapping to merge");
            return;
        };
        let is_merge = |key: &Node| key.as_str() == Some("<<");
        for (key, node) in own.iter().filter(|(key, _)| !is_merge(key)) {
            let known = |entry: &Cursor<'_>| entry.key.and_then(Node::as_str) == key.as_str();
            // A mapping's own entries come first, so they win over merged ones.
            if !entries.iter().any(known) {
                entries.push(Cursor { context: self.context, node, key: Some(key) });
            }
        }
        for (key, node) in own.iter().filter(|(key, _)| is_merge(key)) {
            let merged = Cursor { context: self.context, node, key: Some(key) };
            match &node.value {
                Value::Seq(_) => merged.items().into_iter().flatten().for_each(|item| item.collect_entries(entries)),
                _ => merged.collect_entries(entries),
            }
        }
    }

    /// Whether it is a mapping with a value under this key.
    pub(super) fn has(self, key: &str) -> bool {
        let Value::Map(_) = &self.node.value else { return false };
        let entries = self.entries().unwrap_or_default();
        entries.iter().any(|entry| entry.key.and_then(Node::as_str) == Some(key) && !entry.node.is_null())
    }

    /// The value as JSON, with references resolved in every string.
    pub(super) fn json(self) -> Option<Json> {
        Some(match &self.node.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::String(_) => Json::String(self.string()?),
            Value::Seq(_) => Json::Array(self.list(Cursor::json)?),
            Value::Map(_) => Json::Object(self.json_object()?),
            Value::UnusableNumber => {
                return self.fail(self.error(format!("{} is not a number that JSON can hold", self.subject())));
            }
            // The check of the whole tree has reported it.
            Value::Tagged => return None,
        })
    }

    pub(super) fn json_object(self) -> Option<Map<String, Json>> {
        let entries = self.entries()?;
        Some(entries.into_iter().filter_map(|entry| Some((entry.key?.as_str()?.to_owned(), entry.json()?))).collect())
    }
}
