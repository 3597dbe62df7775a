//! What a name stands for, and in every place where the parser cannot go on, the sentence that says why.

use std::ops::Range;

use super::{
    ParseError,
    lexer::{Lexer, Token, TokenKind, clip},
    parser::{After, Before},
    path::{QuotaPath, Segment},
    program::{Comparison, Operand},
};

const VARIABLES: [&str; 3] = ["balance", "error_count", "quota"];
const KEYWORDS: [&str; 3] = ["and", "or", "not"];

/// Words that stand for an operator elsewhere.
const OPERATOR_WORDS: [(&str, &str); 8] =
    [("is", "=="), ("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("xor", "!=")];

/// The operand that a value token stands for.
pub(super) fn value(lexer: &Lexer<'_>, token: Token<'_>) -> Result<Operand, ParseError> {
    match token.kind {
        TokenKind::Number(number) => Ok(Operand::Number(number)),
        TokenKind::Name(root, segments) => variable(lexer, root, segments, token.span),
        _ => Err(lexer.error(token.span, "a value is missing here")),
    }
}

fn variable(lexer: &Lexer<'_>, root: &str, segments: Vec<Segment>, span: Range<usize>) -> Result<Operand, ParseError> {
    let is_balance = matches!(segments.as_slice(), [Segment::Key(key)] if &**key == "balance");
    match root {
        "error_count" if segments.is_empty() => Ok(Operand::ErrorCount),
        "balance" if segments.is_empty() => Ok(Operand::Quota(QuotaPath::balance(span))),
        "quota" if !segments.is_empty() => Ok(Operand::Quota(QuotaPath::new(segments, span))),
        // As conditions were once written.
        "get_quota" if is_balance => Ok(Operand::Quota(QuotaPath::new(segments, span))),
        _ => Err(unknown(lexer, root, !segments.is_empty(), span)),
    }
}

fn unknown(lexer: &Lexer<'_>, root: &str, has_fields: bool, span: Range<usize>) -> ParseError {
    let text = lexer.text(span.clone());
    let fields = &text[root.len()..];
    let error = |message: String| lexer.error(span.clone(), message);
    let lower = root.to_ascii_lowercase();
    match root {
        "quota" => return error("`quota` alone is not a number".into()).suggest("name a field: `quota.balance`"),
        "get_quota" => {
            let right = if has_fields { clip(&format!("quota{fields}")) } else { "quota.balance".into() };
            return error(format!("unknown variable `{}`", clip(text))).suggest(format!("write `{right}`"));
        }
        "balance" | "error_count" => {
            let error = error(format!("`{root}` is a number and has no fields"));
            return if root == "balance" {
                error.suggest(format!("did you mean `quota.{}`?", clip(text)))
            } else {
                error
            };
        }
        _ if lexer.after(span.end).starts_with('(') && !has_fields => {
            let error = error(format!("`{}` cannot be called: there are no functions", clip(text)));
            return if KEYWORDS.contains(&&*lower) { error.suggest(format!("write `{lower}`")) } else { error };
        }
        _ => {}
    }
    if !has_fields {
        match &*lower {
            "true" => {
                return error(format!("`{root}` is not a value here")).suggest("write `1`, or leave the condition out");
            }
            "false" => return error(format!("`{root}` is not a value here")).suggest("write `0`"),
            "null" | "none" | "nil" => {
                return error(format!("`{root}` is not a value here")).suggest("a missing field counts as `0`");
            }
            keyword if KEYWORDS.contains(&keyword) => {
                return error(format!("`{root}` is not an operator")).suggest(format!("write `{lower}`"));
            }
            _ => {}
        }
    }
    let error = error(format!("unknown variable `{}`", clip(text)));
    match nearest(&lower) {
        Some("quota") if !has_fields => error.suggest("did you mean a field of the quota, as in `quota.balance`?"),
        Some("quota") => error.suggest(format!("did you mean `quota{}`?", clip(fields))),
        Some(variable) => error.suggest(format!("did you mean `{variable}`?")),
        None if has_fields || root.contains(|c: char| c.is_ascii_alphanumeric()) => {
            error.suggest(format!("did you mean the field `quota.{}`?", clip(text)))
        }
        None => error,
    }
}

/// The variable that a name was most likely meant to be.
fn nearest(name: &str) -> Option<&'static str> {
    let near = |variable: &&&str| strsim::osa_distance(name, variable) <= variable.len().min(name.len()) / 3;
    // Names can be as long as the expression; comparing those would take long and find nothing.
    let name_is_short = name.len() <= 2 * "error_count".len();
    VARIABLES
        .iter()
        .filter(|_| name_is_short)
        .filter(near)
        .min_by_key(|variable| strsim::osa_distance(name, variable))
        .or_else(|| VARIABLES.iter().find(|variable| name.len() >= 3 && variable.starts_with(name)))
        .copied()
}

/// A condition should stand where `token` does.
pub(super) fn no_condition(lexer: &Lexer<'_>, token: Token<'_>, before: Before) -> ParseError {
    let message = match (&token.kind, before) {
        (TokenKind::Compare(comparison), _) => format!("a value is missing before `{comparison}`"),
        (TokenKind::Close, Before::Start) => "this `)` closes nothing".into(),
        (TokenKind::Close, Before::Group) => "there is no condition between the parentheses".into(),
        (_, Before::Word(word)) => format!("a condition is missing after `{word}`"),
        (TokenKind::And, _) => "a condition is missing before `and`".into(),
        (TokenKind::Or, _) => "a condition is missing before `or`".into(),
        (_, Before::Group) => "a condition is missing after `(`".into(),
        (_, Before::Start) => "a condition is missing here".into(),
    };
    lexer.error(token.span, message)
}

/// A value should stand where `token` does.
pub(super) fn no_value(lexer: &Lexer<'_>, token: Token<'_>, comparison: Comparison) -> ParseError {
    match token.kind {
        TokenKind::Open => lexer
            .error(token.span, "parentheses group conditions, not values")
            .suggest("write the value without parentheses"),
        TokenKind::Not => lexer
            .error(token.span, format!("a value is missing after `{comparison}`"))
            .suggest("`not` stands before the whole comparison: `not balance > 0`"),
        _ => lexer.error(token.span, format!("a value is missing after `{comparison}`")),
    }
}

/// `and`, `or`, `)` or the end should stand where `token` does.
pub(super) fn no_operator(lexer: &Lexer<'_>, token: Token<'_>, after: After) -> ParseError {
    let text = lexer.text(token.span.clone());
    let error = |message: String| lexer.error(token.span.clone(), message);
    match (&token.kind, after) {
        (TokenKind::Compare(comparison), After::Group(group)) => {
            let inner = lexer.text(group.start + 1..group.end - 1).trim_ascii();
            let error = lexer.error(group, "parentheses group conditions, not values");
            match is_lone_value(inner) {
                true => error.suggest(format!("write `{} {comparison} …`", clip(inner))),
                false => error.suggest("compare values, then join the comparisons with `and` or `or`"),
            }
        }
        (TokenKind::Compare(_), _) => error("comparisons cannot be chained".into())
            .suggest("join two with `and`: `1 < error_count and error_count < 5`"),
        (TokenKind::Open, After::Value) => error("there are no functions".into()),
        (TokenKind::Name(root, _), _) => {
            let lower = root.to_ascii_lowercase();
            let operator = OPERATOR_WORDS.iter().find(|(word, _)| *word == lower).map(|(_, operator)| *operator);
            match operator.or(KEYWORDS.into_iter().find(|keyword| *keyword == lower)) {
                Some(right) if *root == text => {
                    error(format!("`{text}` is not an operator")).suggest(format!("write `{right}`"))
                }
                _ => error(format!("`and` or `or` is missing before `{}`", clip(text))),
            }
        }
        (TokenKind::Number(number), _) if number.is_sign_negative() => {
            error(format!("`and` or `or` is missing before `{}`", clip(text)))
                .suggest("there is no arithmetic: compare with the result")
        }
        _ => error(format!("`and` or `or` is missing before `{}`", clip(text))),
    }
}

fn is_lone_value(text: &str) -> bool {
    let mut lexer = Lexer::new(text);
    let mut is = |wanted: fn(&TokenKind<'_>) -> bool| lexer.next().is_ok_and(|token| wanted(&token.kind));
    is(|kind| matches!(kind, TokenKind::Number(_) | TokenKind::Name(..))) && is(|kind| matches!(kind, TokenKind::End))
}
