use std::fmt;

use super::program::{Step, Test};

/// The expression that steps were compiled from, operands before their operator.
///
/// A flat list, so that neither building, walking nor dropping it recurses, however deep the expression is.
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
}

pub(super) struct Node<'a> {
    pub(super) kind: NodeKind<'a>,
    /// How many nodes it is with all below it.
    size: usize,
}

#[derive(Clone, Copy)]
pub(super) enum NodeKind<'a> {
    Test(&'a Test),
    Not,
    And,
    Or,
}

/// An `and` or `or` whose last operand is not complete.
struct OpenGroup {
    /// What its jumps jump on.
    when: bool,
    /// The step at which it is complete.
    end: usize,
    first_node: usize,
}

impl<'a> Tree<'a> {
    pub(super) fn new(steps: &'a [Step]) -> Self {
        let mut tree = Self { nodes: Vec::with_capacity(steps.len()) };
        let mut open: Vec<OpenGroup> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            tree.close(&mut open, at);
            match *step {
                Step::Test(ref test) => tree.nodes.push(Node { kind: NodeKind::Test(test), size: 1 }),
                Step::Not => tree.push_over(NodeKind::Not, tree.last_operand()),
                // One more operand of the group that is being read.
                Step::Jump { when, to } if open.last().is_some_and(|group| group.when == when && group.end == to) => {}
                Step::Jump { when, to } => open.push(OpenGroup { when, end: to, first_node: tree.last_operand() }),
            }
        }
        tree.close(&mut open, steps.len());
        tree
    }

    fn close(&mut self, open: &mut Vec<OpenGroup>, at: usize) {
        while let Some(group) = open.pop_if(|group| group.end == at) {
            self.push_over(if group.when { NodeKind::Or } else { NodeKind::And }, group.first_node);
        }
    }

    fn push_over(&mut self, kind: NodeKind<'a>, first_node: usize) {
        self.nodes.push(Node { kind, size: self.nodes.len() - first_node + 1 });
    }

    /// Where the operand that was read last begins.
    fn last_operand(&self) -> usize {
        self.nodes.len() - self.nodes.last().map_or(0, |node| node.size)
    }

    pub(super) fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    pub(super) fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The operands of a node, last to first.
    pub(super) fn operands_reversed(&self, node: usize) -> impl Iterator<Item = usize> {
        let first = node + 1 - self.nodes[node].size;
        let mut end = node;
        std::iter::from_fn(move || {
            let operand = (end > first).then(|| end - 1)?;
            end -= self.nodes[operand].size;
            Some(operand)
        })
    }
}

/// The canonical spelling: one space around operators, and no parentheses that change nothing.
impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        enum Piece {
            Node(usize),
            Text(&'static str),
        }
        let mut pieces = vec![Piece::Node(self.root())];
        while let Some(piece) = pieces.pop() {
            let node = match piece {
                Piece::Text(text) => {
                    f.write_str(text)?;
                    continue;
                }
                Piece::Node(node) => node,
            };
            let kind = self.nodes[node].kind;
            let between = match kind {
                NodeKind::Test(test) => {
                    write!(f, "{test}")?;
                    continue;
                }
                NodeKind::Not => {
                    f.write_str("not ")?;
                    ""
                }
                NodeKind::And => " and ",
                NodeKind::Or => " or ",
            };
            // The piece that is pushed last is written first.
            for (nth, operand) in self.operands_reversed(node).enumerate() {
                if nth > 0 {
                    pieces.push(Piece::Text(between));
                }
                let needs_group = matches!(
                    (kind, self.nodes[operand].kind),
                    (NodeKind::Not, NodeKind::And | NodeKind::Or) | (NodeKind::And, NodeKind::Or)
                );
                if needs_group {
                    pieces.extend([Piece::Text(")"), Piece::Node(operand), Piece::Text("(")]);
                } else {
                    pieces.push(Piece::Node(operand));
                }
            }
        }
        Ok(())
    }
}
