use std::ops::Range;

use super::{
    ParseError, diagnose,
    lexer::{Lexer, Token, TokenKind},
    program::{Comparison, Operand, Step, Test},
};

/// The length of the longest expression, in bytes.
pub(super) const MAX_LENGTH: usize = 64 * 1024;

/// How many groups may be open at once.
pub(super) const MAX_DEPTH: usize = 1024;

/// Parses and compiles an expression.
pub(super) fn parse(source: &str) -> Result<Vec<Step>, ParseError> {
    if source.len() > MAX_LENGTH {
        let message = format!("the condition is {} bytes long, and the limit is {MAX_LENGTH}", source.len());
        return Err(ParseError::new(source, MAX_LENGTH..source.len(), message));
    }
    let mut parser = Parser { lexer: Lexer::new(source), steps: Vec::new(), pending: Vec::new(), depth: 0, joined: 0 };
    let mut token = parser.lexer.next()?;
    if matches!(token.kind, TokenKind::End) {
        // Blank is always true.
        return Ok(vec![Step::Test(Test { left: Operand::Number(1.0), right: None })]);
    }
    let mut before = Before::Start;
    loop {
        parser.operand(token, before)?;
        match parser.operators()? {
            Some(operator) => before = operator,
            None => break,
        }
        token = parser.lexer.next()?;
    }
    flatten(&mut parser.steps);
    Ok(parser.steps)
}

/// An operator-precedence parser with a stack of its own, so that depth in the expression is not depth on the thread's.
struct Parser<'a> {
    lexer: Lexer<'a>,
    steps: Vec<Step>,
    pending: Vec<Pending>,
    /// How many of `pending` are groups.
    depth: usize,
    /// Where the latest jump lands. A `not` right before that negates the last operand alone, not the whole.
    joined: usize,
}

/// What still waits for the end of its operand.
enum Pending {
    /// The index of the jump past the operand.
    And(usize),
    Or(usize),
    Not,
    /// Where the group opens.
    Group(usize),
}

/// What stands before an operand, for the error if there is none.
#[derive(Clone, Copy)]
pub(super) enum Before {
    Start,
    Group,
    Word(&'static str),
}

/// What an operator would stand after.
pub(super) enum After {
    Value,
    Comparison,
    /// Where the group stands, parentheses and all.
    Group(Range<usize>),
}

impl<'a> Parser<'a> {
    /// Takes the `not`s and opening parentheses before a test, and the first value of the test.
    fn operand(&mut self, mut token: Token<'a>, mut before: Before) -> Result<(), ParseError> {
        loop {
            match token.kind {
                TokenKind::Not => {
                    if self.pending.pop_if(|top| matches!(top, Pending::Not)).is_none() {
                        self.pending.push(Pending::Not);
                    }
                    before = Before::Word("not");
                }
                TokenKind::Open => {
                    if self.depth == MAX_DEPTH {
                        let message = format!("more than {MAX_DEPTH} groups in one another");
                        return Err(self.lexer.error(token.span, message));
                    }
                    self.depth += 1;
                    self.pending.push(Pending::Group(token.span.start));
                    before = Before::Group;
                }
                TokenKind::Number(_) | TokenKind::Name(..) => {
                    let left = diagnose::value(&self.lexer, token)?;
                    self.steps.push(Step::Test(Test { left, right: None }));
                    return Ok(());
                }
                _ => return Err(diagnose::no_condition(&self.lexer, token, before)),
            }
            token = self.lexer.next()?;
        }
    }

    /// Takes what follows the first value of a test, up to the next `and` or `or`; `None` at the end.
    fn operators(&mut self) -> Result<Option<Before>, ParseError> {
        let mut after = After::Value;
        loop {
            let token = self.lexer.next()?;
            if let (TokenKind::Compare(comparison), After::Value) = (&token.kind, &after) {
                let right = self.right(*comparison)?;
                if let Some(Step::Test(test)) = self.steps.last_mut() {
                    test.right = Some((*comparison, right));
                }
                after = After::Comparison;
                continue;
            }
            self.negate();
            match token.kind {
                TokenKind::And => {
                    self.pending.push(Pending::And(self.steps.len()));
                    self.steps.push(Step::Jump { when: false, to: 0 });
                    return Ok(Some(Before::Word("and")));
                }
                TokenKind::Or => {
                    while let Some(Pending::And(jump)) = self.pending.pop_if(|top| matches!(top, Pending::And(_))) {
                        self.join(jump);
                    }
                    self.pending.push(Pending::Or(self.steps.len()));
                    self.steps.push(Step::Jump { when: true, to: 0 });
                    return Ok(Some(Before::Word("or")));
                }
                TokenKind::Close => match self.close() {
                    Some(open) => after = After::Group(open..token.span.end),
                    None => return Err(self.lexer.error(token.span, "this `)` closes nothing")),
                },
                TokenKind::End => {
                    return match self.close() {
                        Some(open) => Err(self.lexer.error(open..open + 1, "this `(` is never closed")),
                        None => Ok(None),
                    };
                }
                _ => return Err(diagnose::no_operator(&self.lexer, token, after)),
            }
        }
    }

    fn right(&mut self, comparison: Comparison) -> Result<Operand, ParseError> {
        let token = self.lexer.next()?;
        match token.kind {
            TokenKind::Number(_) | TokenKind::Name(..) => diagnose::value(&self.lexer, token),
            _ => Err(diagnose::no_value(&self.lexer, token, comparison)),
        }
    }

    /// Ends the operand of a pending `not`. Two that meet are none.
    fn negate(&mut self) {
        if self.pending.pop_if(|top| matches!(top, Pending::Not)).is_none() {
            return;
        }
        if self.steps.last() == Some(&Step::Not) && self.joined < self.steps.len() {
            self.steps.pop();
        } else {
            self.steps.push(Step::Not);
        }
    }

    /// Ends what is pending up to the innermost group, and says where that opens.
    fn close(&mut self) -> Option<usize> {
        loop {
            match self.pending.pop()? {
                Pending::And(jump) | Pending::Or(jump) => self.join(jump),
                // Ended by its operand already.
                Pending::Not => {}
                Pending::Group(open) => {
                    self.depth -= 1;
                    return Some(open);
                }
            }
        }
    }

    fn join(&mut self, jump: usize) {
        self.joined = self.steps.len();
        if let Some(Step::Jump { to, .. }) = self.steps.get_mut(jump) {
            *to = self.joined;
        }
    }
}

/// Makes `(a or b) or c` the same steps as `a or b or c`: a group that ends where an operator of its own kind begins ends
/// where that ends.
fn flatten(steps: &mut [Step]) {
    // Groups that end at the same step are nested in one another, of the one kind and the other in turn, and the jumps of
    // an outer one come first. Only the outermost is an operand of what follows: for each step, its kind, and whether
    // no other has been met yet.
    let mut outermost: Vec<Option<(bool, bool)>> = vec![None; steps.len()];
    let mut joins_next = vec![false; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        if let Step::Jump { when, to } = *step
            && let Some(Step::Jump { when: next, .. }) = steps.get(to)
        {
            let (kind, only) = outermost[to].get_or_insert((when, true));
            *only &= *kind == when;
            joins_next[at] = *only && *next == when;
        }
    }
    for at in (0..steps.len()).rev().filter(|at| joins_next[*at]) {
        if let Step::Jump { when, to } = steps[at]
            && let Step::Jump { to: further, .. } = steps[to]
        {
            steps[at] = Step::Jump { when, to: further };
        }
    }
}
