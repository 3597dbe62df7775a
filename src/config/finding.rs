use std::ops::Range;

use super::{diagnostic::Severity, node::Node};

/// A diagnostic whose place is still a node.
#[derive(Debug)]
pub(super) struct Finding<'a> {
    pub(super) severity: Severity,
    pub(super) node: &'a Node,
    /// A part of the node's string.
    pub(super) within: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) related: Option<(&'a Node, String)>,
    pub(super) help: Option<String>,
    /// The backend whose gate it says is closed.
    pub(super) closed_gate: Option<String>,
}

impl<'a> Finding<'a> {
    pub(super) fn new(severity: Severity, node: &'a Node, message: String) -> Self {
        Self { severity, node, within: None, message, label: None, related: None, help: None, closed_gate: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the one that was probably meant, if there is one.
    pub(super) fn did_you_mean<'n>(self, meant: impl IntoIterator<Item = &'n str>) -> Self {
        let names = either(meant);
        if names.is_empty() { self } else { self.help(format!("did you mean {names}?")) }
    }

    pub(super) fn within(mut self, part: Range<usize>) -> Self {
        self.within = Some(part);
        self
    }

    pub(super) fn related(mut self, node: &'a Node, label: impl Into<String>) -> Self {
        self.related = Some((node, label.into()));
        self
    }
}

/// ``` `a`, `b` or `c` ```
pub(super) fn either<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        last => last.unwrap_or_default(),
    }
}
