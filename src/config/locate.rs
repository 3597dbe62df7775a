//! From a node of the tree to the stretch of text it was read from.

use std::{
    collections::{HashMap, HashSet},
    iter,
    ops::Range,
};

use super::node::{Node, Value};

/// A text and where some of its nodes are.
pub(super) struct Located<'t> {
    text: &'t str,
    starts: HashMap<usize, usize>,
}

impl<'t> Located<'t> {
    /// Finds the nodes with these numbers.
    pub(super) fn new(text: &'t str, wanted: HashSet<usize>) -> Self {
        Self { text, starts: Node::places(text, wanted) }
    }

    /// The bytes of the text that show a node; for a list or a mapping, its first token.
    ///
    /// `within` picks a part of a string's content. It is honoured where the text holds the string letter by letter, and
    /// not where escapes or line folding stand between the two.
    pub(super) fn span(&self, node: &Node, within: Option<Range<usize>>) -> Range<usize> {
        let text = self.text;
        let start = self.starts.get(&node.id).map_or(0, |at| text.floor_char_boundary(*at));
        // A tag is what is wrong about a tagged value.
        let start = if matches!(node.value, Value::Tagged) { start } else { skip_properties(text, start) };
        if let Some(content) = node.as_str() {
            let quotes = usize::from(text[start..].starts_with(['"', '\'']));
            let inner = start + quotes;
            if text.get(inner..).is_some_and(|rest| rest.starts_with(content)) {
                return match within {
                    Some(part) if content.get(part.clone()).is_some() => inner + part.start..inner + part.end,
                    _ => start..inner + content.len() + quotes,
                };
            }
        }
        start..token_end(text, start, &node.value)
    }
}

/// Steps over an anchor and a tag, which the parser takes for the start of their node.
fn skip_properties(text: &str, mut start: usize) -> usize {
    while text[start..].starts_with(['&', '!']) {
        let rest = &text[start..];
        let Some(end) = rest.find(char::is_whitespace) else { break };
        let after = rest[end..].trim_start();
        if after.is_empty() {
            break;
        }
        start = text.len() - after.len();
    }
    start
}

fn token_end(text: &str, start: usize, value: &Value) -> usize {
    let line = text[start..].lines().next().unwrap_or_default();
    let quoted = |quote: char| line[1..].find(quote).map_or(line.len(), |end| end + 2);
    let length = match (line.chars().next(), value) {
        (Some('{' | '[' | '-' | '|' | '>'), Value::Map(_) | Value::Seq(_) | Value::String(_)) => 1,
        (Some(quote @ ('"' | '\'')), _) => quoted(quote),
        (_, Value::Map(_)) => line.find(':').unwrap_or(line.len()),
        (_, Value::String(_)) => line.find(" #").unwrap_or(line.len()),
        _ => line.find([',', ']', '}', ':', ' ', '\t']).unwrap_or(line.len()),
    };
    start + line[..length].trim_end().len()
}

/// The lines of a text.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let starts = iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(super) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        (line, self.text[self.starts[line - 1]..at].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the spans of all nodes show, in the order of reading.
    fn spans(text: &str) -> Vec<&str> {
        let tree = Node::parse(text, 0).unwrap();
        let nodes = nodes(&tree);
        let located = Located::new(text, nodes.iter().map(|node| node.id).collect());
        nodes.into_iter().map(|node| &text[located.span(node, None)]).collect()
    }

    /// All nodes of the tree, in the order of reading.
    fn nodes(tree: &Node) -> Vec<&Node> {
        let below: Vec<&Node> = match &tree.value {
            Value::Seq(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => Vec::new(),
        };
        iter::once(tree).chain(below.into_iter().flat_map(nodes)).collect()
    }

    #[test]
    fn nodes_are_found_in_every_style() {
        for (text, expected) in [
            ("a: b", vec!["a", "a", "b"]),
            ("a: b # c", vec!["a", "a", "b"]),
            ("- 1.50\n- true # x", vec!["-", "1.50", "true"]),
            ("é:\r\n  - \"ü\"\r\n  - 'x''y'\r\n", vec!["é", "é", "-", "\"ü\"", "'x'"]),
            ("{a: [1, 'b'], \"c\": d e}", vec!["{", "a", "[", "1", "'b'", "\"c\"", "d e"]),
            ("a: \"x\\ty\"\nb: |\n  text\n", vec!["a", "a", "\"x\\ty\"", "b", "|"]),
            ("a: &x {b: c}\nd: *x", vec!["a", "a", "{", "b", "c", "d", "{", "b", "c"]),
            ("? a\n: b", vec!["? a", "a", "b"]),
            ("a: two\n  lines", vec!["a", "a", "two"]),
        ] {
            assert_eq!(spans(text), expected, "{text}");
        }
    }

    #[test]
    fn a_part_of_a_string_is_found_where_the_text_holds_it_as_it_is() {
        let part = |text: &str, within| {
            let tree = Node::parse(text, 0).unwrap();
            let Value::Map(entries) = &tree.value else { panic!("{tree:?}") };
            let value = &entries[0].1;
            text[Located::new(text, HashSet::from([value.id])).span(value, Some(within))].to_owned()
        };
        assert_eq!(part("a: balanc > 0", 0..6), "balanc");
        assert_eq!(part("a: 'balance >> 0'", 8..10), ">>");
        assert_eq!(part("a: \"é >> 0\"", 3..5), ">>");
        assert_eq!(part("a: \"x \\u003e> 0\"", 2..4), "\"x \\u003e> 0\"");
        assert_eq!(part("a: >\n  x >> 0", 2..4), ">");
    }
}
