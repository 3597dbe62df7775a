//! The texts of a configuration: its file, and the instance files beside it.

use std::{collections::HashSet, iter, ops::Range, path::Path, sync::Arc};

use super::{
    Diagnostic, Severity,
    diagnostic::{Excerpt, Place, Related},
    finding::Finding,
    locate::{Lines, Located},
    mask,
    node::Node,
};

/// A text, and the file that it comes from.
pub(super) struct Source {
    file: Option<Arc<str>>,
    text: String,
}

impl Source {
    pub(super) fn new(text: &str, path: Option<&Path>) -> Self {
        // The parser would take a byte order mark for a document of its own.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { file: path.map(|path| path.to_string_lossy().into()), text: text.to_owned() }
    }

    pub(super) fn file(&self) -> Option<Arc<str>> {
        self.file.clone()
    }

    /// The tree, whose nodes say that this is the text with the number `source`.
    pub(super) fn parse(&self, source: usize) -> Result<Node, Box<Diagnostic>> {
        Node::parse(&self.text, source).map_err(|error| Box::new(self.syntax_error(&error)))
    }

    fn excerpt(&self) -> Arc<Excerpt> {
        Arc::new(Excerpt { file: self.file(), shown: mask::mask(&self.text) })
    }

    fn syntax_error(&self, error: &serde_yaml::Error) -> Diagnostic {
        let text = self.text.as_str();
        let told = error.to_string();
        let unprintable = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
        let (at, message) = match (text.char_indices().find(|(_, c)| unprintable(*c)), error.location()) {
            // The parser gives no place for these.
            (Some((at, c)), _) => (Some(at), format!("the control character {:?} is not allowed", c)),
            (None, Some(location)) => {
                // The place is shown anyway.
                let place = format!(" at line {} column {}", location.line(), location.column());
                (Some(text.floor_char_boundary(location.index())), told.replacen(&place, "", 1))
            }
            (None, None) if told.contains("more than one document") => {
                // The last separator is the one that is surely too much.
                (text.rfind("\n---").map(|at| at + 1), "a configuration is a single document".to_owned())
            }
            (None, None) => (None, told),
        };
        let indented_by_tab = at.is_some_and(|at| {
            let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
            text[line_start..].trim_start_matches(' ').starts_with('\t')
        });
        Diagnostic {
            severity: Severity::Error,
            message: format!("this is not valid YAML: {message}"),
            excerpt: self.excerpt(),
            place: at.map(|at| {
                let end = at + text[at..].chars().next().filter(|c| !c.is_control()).map_or(0, char::len_utf8);
                Place::new(at..end, &Lines::of(text))
            }),
            label: None,
            related: None,
            help: indented_by_tab.then(|| "indent with spaces: YAML does not allow tabs there".to_owned()),
            closed_gate: None,
        }
    }
}

/// Finds the places of all findings, and puts them in order: errors first, each in the order of the texts.
pub(super) fn diagnostics(sources: &[Source], findings: Vec<Finding<'_>>) -> Vec<Diagnostic> {
    if findings.is_empty() {
        return Vec::new();
    }
    let mut wanted = vec![HashSet::new(); sources.len()];
    for finding in &findings {
        for node in iter::once(finding.node).chain(finding.related.as_ref().map(|(node, _)| *node)) {
            wanted[node.source].insert(node.id);
        }
    }
    let texts: Vec<_> = sources
        .iter()
        .zip(wanted)
        .map(|(source, wanted)| (source.excerpt(), Located::new(&source.text, wanted), Lines::of(&source.text)))
        .collect();
    let find = |node: &Node, within: Option<Range<usize>>| {
        let (excerpt, located, lines) = &texts[node.source];
        (Arc::clone(excerpt), Place::new(located.span(node, within), lines))
    };
    let mut list: Vec<(usize, Diagnostic)> = findings
        .into_iter()
        .map(|finding| {
            let related = finding.related.map(|(node, label)| {
                let (excerpt, place) = find(node, None);
                Related { excerpt, place, label }
            });
            let (excerpt, place) = find(finding.node, finding.within);
            let diagnostic = Diagnostic {
                severity: finding.severity,
                message: finding.message,
                excerpt,
                place: Some(place),
                label: finding.label,
                related,
                help: finding.help,
                closed_gate: finding.closed_gate,
            };
            (finding.node.source, diagnostic)
        })
        .collect();
    let start = |diagnostic: &Diagnostic| diagnostic.span().map(|span| span.start);
    list.sort_by_key(|(source, diagnostic)| (diagnostic.severity, *source, start(diagnostic)));
    // What an alias repeats is read once for each time.
    list.dedup_by(|(in_a, a), (in_b, b)| in_a == in_b && start(a) == start(b) && a.message == b.message);
    list.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

/// One error about a file as a whole.
pub(super) fn file_error(file: &Path, message: String) -> Diagnostic {
    let excerpt = Arc::new(Excerpt { file: Some(file.to_string_lossy().into()), shown: String::new() });
    Diagnostic {
        severity: Severity::Error,
        message,
        excerpt,
        place: None,
        label: None,
        related: None,
        help: None,
        closed_gate: None,
    }
}
