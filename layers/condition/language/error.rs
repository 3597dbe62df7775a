use std::{fmt, ops::Range};

/// How many characters of the offending line a rendered error shows before and after the token.
const WINDOW: usize = 60;

/// Why an expression is not a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(Box<Parts>);

/// Boxed, so that a `Result` stays small.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    span: Range<usize>,
    message: String,
    suggestion: Option<String>,
    /// Line and column of the span, from 1; the column counts characters.
    line: usize,
    column: usize,
    snippet: Snippet,
}

/// The part of the line around the token, in characters that take one cell each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snippet {
    text: String,
    caret: usize,
    caret_len: usize,
}

impl ParseError {
    pub(super) fn new(source: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = source.floor_char_boundary(span.start);
        let end = source.ceil_char_boundary(span.end);
        let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
        Self(Box::new(Parts {
            message: message.into(),
            suggestion: None,
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            snippet: Snippet::new(
                &source[line_start..start],
                &source[start..end.min(line_end)],
                &source[end..line_end.max(end)],
            ),
            span,
        }))
    }

    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.0.suggestion = Some(suggestion.into());
        self
    }

    /// The bytes of the expression that are at fault; empty at its end when something is missing there.
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// What is wrong, without the position.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to write instead, as a phrase: ``did you mean `balance`?``.
    pub fn suggestion(&self) -> Option<&str> {
        self.0.suggestion.as_deref()
    }

    /// The error as a compiler would show it: the line, a caret under the token, the message and the suggestion.
    ///
    /// ```
    /// use pointsman_layers::condition::Condition;
    ///
    /// let error = "error_count = 0".parse::<Condition>().unwrap_err();
    /// assert_eq!(error.render(), "\
    /// error: `=` is not an operator
    ///   |
    /// 1 | error_count = 0
    ///   |             ^
    ///   = help: write `==`
    /// ");
    /// ```
    pub fn render(&self) -> String {
        let Parts { message, line, snippet, .. } = &*self.0;
        let line = line.to_string();
        let gutter = " ".repeat(line.len());
        let indent = " ".repeat(snippet.caret);
        let carets = "^".repeat(snippet.caret_len);
        let mut text =
            format!("error: {message}\n{gutter} |\n{line} | {}\n{gutter} | {indent}{carets}\n", snippet.text);
        if let Some(suggestion) = self.suggestion() {
            text.push_str(&format!("{gutter} = help: {suggestion}\n"));
        }
        text
    }
}

impl Snippet {
    fn new(before: &str, token: &str, after: &str) -> Self {
        let one_cell = |c: char| if c.is_control() { ' ' } else { c };
        let mut text = String::new();
        let skipped = before.chars().count().saturating_sub(WINDOW);
        if skipped > 0 {
            text.push('…');
        }
        text.extend(before.chars().skip(skipped).map(one_cell));
        let caret = text.chars().count();
        let mut rest = token.chars().chain(after.chars());
        let token_len = token.chars().count().min(WINDOW);
        text.extend(rest.by_ref().take(token_len + WINDOW).map(one_cell));
        if rest.next().is_some() {
            text.push('…');
        }
        Self { text: text.trim_end().to_owned(), caret, caret_len: token_len.max(1) }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { message, line, column, .. } = &*self.0;
        write!(f, "{message}, at ")?;
        if *line > 1 {
            write!(f, "line {line}, ")?;
        }
        write!(f, "column {column}")?;
        match self.suggestion() {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

/// Why a condition has no value for the quota at hand: something on the way to a field, or the field itself, is of the
/// wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError(Box<Mismatch>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mismatch {
    path: String,
    held: &'static str,
    wanted: &'static str,
}

impl EvalError {
    pub(super) fn new(path: String, held: &serde_json::Value, wanted: &'static str) -> Self {
        use serde_json::Value;
        let held = match held {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        Self(Box::new(Mismatch { path, held, wanted }))
    }

    /// The path that could not be read, as the condition spells it, up to the value of the wrong type.
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

/// Says what was found, but never the value itself: a quota may hold an account's secrets.
impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { path, held, wanted } = &*self.0;
        write!(f, "{path} is {held}, not {wanted}")
    }
}

impl std::error::Error for EvalError {}
