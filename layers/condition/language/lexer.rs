use std::ops::Range;

use super::{
    ParseError,
    path::{Segment, is_field_byte},
    program::Comparison,
};

/// A token and the bytes that it was read from.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
pub(super) enum TokenKind<'a> {
    Number(f64),
    /// A path, not yet looked at: the name at its root, and the steps after it.
    Name(&'a str, Vec<Segment>),
    Compare(Comparison),
    And,
    Or,
    Not,
    Open,
    Close,
    End,
}

/// What people write for an operator, longest first, and how it is spelt here.
const MISSPELT: [(&str, &str); 19] = [
    ("===", "=="),
    ("!==", "!="),
    ("! =", "!="),
    ("= =", "=="),
    ("&&", "and"),
    ("||", "or"),
    ("=>", ">="),
    ("=<", "<="),
    ("=!", "!="),
    ("<>", "!="),
    (">>", ">"),
    ("<<", "<"),
    ("&", "and"),
    ("|", "or"),
    ("=", "=="),
    ("!", "not"),
    ("≥", ">="),
    ("≤", "<="),
    ("≠", "!="),
];

const OPERATORS: [(&str, Comparison); 6] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

/// Cuts an expression into tokens. Nothing but white space is skipped.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> ParseError {
        ParseError::new(self.source, span, message)
    }

    pub(super) fn text(&self, span: Range<usize>) -> &'a str {
        &self.source[span]
    }

    pub(super) fn after(&self, at: usize) -> &'a str {
        &self.source[at..]
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, ParseError> {
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let start = self.at;
        let kind = match self.peek() {
            None => TokenKind::End,
            Some(b'(') => self.punctuation(TokenKind::Open),
            Some(b')') => self.punctuation(TokenKind::Close),
            Some(b'0'..=b'9') => self.number()?,
            Some(b'-') if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            Some(b'A'..=b'Z' | b'a'..=b'z' | b'_') => self.name()?,
            Some(_) => self.operator()?,
        };
        Ok(Token { kind, span: start..self.at })
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    /// Takes the bytes that match; all matchers know ASCII only, so a character is never cut.
    fn take_while(&mut self, matches: impl Fn(u8) -> bool) -> &'a str {
        let length = self.rest().bytes().take_while(|&byte| matches(byte)).count();
        self.at += length;
        &self.source[self.at - length..self.at]
    }

    fn punctuation(&mut self, kind: TokenKind<'a>) -> TokenKind<'a> {
        self.at += 1;
        kind
    }

    fn number(&mut self) -> Result<TokenKind<'a>, ParseError> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        self.take_while(|byte| byte.is_ascii_digit());
        if self.peek() == Some(b'.') && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit());
        }
        let end = self.at;
        if !self.take_while(|byte| byte == b'.' || is_field_byte(byte)).is_empty() {
            let text = &self.source[start..self.at];
            let error = self.error(start..self.at, format!("malformed number `{}`", clip(text)));
            let tail = &self.source[end..self.at];
            return Err(match tail {
                "and" | "or" => error.suggest(format!("put a space before `{tail}`")),
                _ if tail.starts_with('-') => error.suggest("there is no arithmetic: compare with the result"),
                _ => error.suggest("write digits, and if need be a point and more digits: `1000.5`"),
            });
        }
        // Digits and a point always parse; too large a number is infinite.
        let text = &self.source[start..end];
        text.parse()
            .map(TokenKind::Number)
            .map_err(|_| self.error(start..end, format!("malformed number `{}`", clip(text))))
    }

    fn name(&mut self) -> Result<TokenKind<'a>, ParseError> {
        let root = self.take_while(is_field_byte);
        let mut segments = Vec::new();
        loop {
            match self.peek() {
                Some(b'.') => segments.push(self.field()?),
                Some(b'[') => segments.push(self.element()?),
                // A model's id often goes on like this, and a bare "unexpected" would not help.
                Some(b'/' | b':' | b'@') if !segments.is_empty() => {
                    let message = format!("unexpected `{}` in a path", &self.source[self.at..=self.at]);
                    return Err(self
                        .error(self.at..self.at + 1, message)
                        .suggest("put a key with other characters in quotes: `quota.models[\"openai/gpt-4o\"]`"));
                }
                _ => break,
            }
        }
        Ok(match root {
            "and" if segments.is_empty() => TokenKind::And,
            "or" if segments.is_empty() => TokenKind::Or,
            "not" if segments.is_empty() => TokenKind::Not,
            _ => TokenKind::Name(root, segments),
        })
    }

    fn field(&mut self) -> Result<Segment, ParseError> {
        self.at += 1;
        match self.take_while(is_field_byte) {
            "" => Err(self
                .error(self.at - 1..self.at, "a field name must follow `.`")
                .suggest("put a key with other characters in quotes: `quota[\"a key\"]`")),
            key => Ok(Segment::Key(key.into())),
        }
    }

    fn element(&mut self) -> Result<Segment, ParseError> {
        let open = self.at;
        self.at += 1;
        let segment = match self.peek() {
            Some(b'0'..=b'9') => {
                let start = self.at;
                let digits = self.take_while(|byte| byte.is_ascii_digit());
                let index = digits.parse().map_err(|_| self.error(start..self.at, "the index is too large"))?;
                Segment::Index(index)
            }
            Some(quote @ (b'"' | b'\'')) => Segment::Key(self.quoted(quote)?),
            _ => {
                return Err(self
                    .error(open..open + 1, "an index or a quoted key must follow `[`")
                    .suggest("write `[0]` or `[\"gpt-4.1\"]`"));
            }
        };
        if self.peek() != Some(b']') {
            return Err(self.error(self.at..self.at, "`]` is missing here"));
        }
        self.at += 1;
        Ok(segment)
    }

    /// A key in double quotes is a JSON string; one in single quotes stands for itself.
    fn quoted(&mut self, quote: u8) -> Result<Box<str>, ParseError> {
        let start = self.at;
        let mut escaped = false;
        let length = self.rest().bytes().skip(1).position(|byte| {
            let ends = byte == quote && !escaped;
            escaped = quote == b'"' && byte == b'\\' && !escaped;
            ends
        });
        let Some(length) = length else {
            return Err(self.error(start..start + 1, "the quote is never closed"));
        };
        self.at += length + 2;
        let text = &self.source[start..self.at];
        if quote == b'\'' {
            return Ok(text[1..text.len() - 1].into());
        }
        serde_json::from_str::<String>(text).map(Into::into).map_err(|_| {
            self.error(start..self.at, "malformed key").suggest("a key in double quotes is written as in JSON")
        })
    }

    fn operator(&mut self) -> Result<TokenKind<'a>, ParseError> {
        let rest = self.rest();
        // `===` begins with `==`, so the wrong spellings are tried first; `!` and `=` alone are the last of them.
        let misspelt = MISSPELT.iter().find(|(wrong, _)| rest.starts_with(wrong));
        let operator = OPERATORS.iter().find(|(text, _)| rest.starts_with(text));
        match (operator, misspelt) {
            (Some((text, comparison)), wrong) if wrong.is_none_or(|(wrong, _)| wrong.len() <= text.len()) => {
                // `> =` is one operator with a space in it.
                if text.len() == 1 && rest[1..].trim_start().starts_with('=') {
                    let end = self.at + rest.find('=').map_or(1, |equals| equals + 1);
                    return Err(self
                        .error(self.at..end, "an operator has no space in it")
                        .suggest(format!("write `{text}=`")));
                }
                self.at += text.len();
                Ok(TokenKind::Compare(*comparison))
            }
            (_, Some((wrong, right))) => Err(self
                .error(self.at..self.at + wrong.len(), format!("`{wrong}` is not an operator"))
                .suggest(format!("write `{right}`"))),
            _ => Err(self.unexpected(rest)),
        }
    }

    fn unexpected(&self, rest: &str) -> ParseError {
        let character = rest.chars().next().unwrap_or_default();
        let span = self.at..self.at + character.len_utf8();
        let error = |message: &str| self.error(span.clone(), message);
        match character {
            '"' | '\'' => error("only numbers can be compared, not text"),
            '+' | '-' | '*' | '/' | '%' | '^' => {
                error(&format!("unexpected `{character}`: there is no arithmetic")).suggest("compare with the result")
            }
            '#' => error("there are no comments in a condition"),
            ',' => error("unexpected `,`").suggest("join conditions with `and` or `or`; write `1000`, not `1,000`"),
            '.' => error("a value cannot begin with `.`")
                .suggest("write `0.5`, not `.5`, and no space before the dot of a path"),
            '[' | ']' => error(&format!("unexpected `{character}`"))
                .suggest("brackets belong to a path, `quota.buckets[0]`; group conditions with `(` and `)`"),
            _ if character.is_control() || character.is_whitespace() || !character.is_ascii() => {
                error(&format!("unexpected character {character:?} (U+{:04X})", u32::from(character)))
            }
            _ => error(&format!("unexpected `{character}`")),
        }
    }
}

/// A token as an error shows it: a line of digits would drown the message.
pub(super) fn clip(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
