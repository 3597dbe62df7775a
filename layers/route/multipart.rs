//! The `model` of a form: `multipart/form-data`, RFC 7578 over RFC 2046.
//!
//! Nothing is decoded and nothing copied: one search for the boundary goes through the body, which may hold a large file,
//! and the heads of the parts are looked at. What different readers could read differently is refused, or the provider
//! could see another `model` than the one that was routed.

use std::borrow::Cow;

use http::{HeaderMap, header};
use memchr::memmem;

use super::{ModelError, ModelField};

/// The longest boundary that RFC 2046 allows.
const LONGEST_BOUNDARY: usize = 70;
/// More than the head of any part has.
const LONGEST_HEAD: usize = 8 * 1024;

/// Why a form cannot be read.
type Fault = &'static str;

/// Whether the body is a form, by its one `Content-Type`.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|(essence, _)| essence.eq_ignore_ascii_case(b"multipart/form-data"))
}

/// The one `Content-Type`: its type, and what follows.
fn content_type(headers: &HeaderMap) -> Option<(&[u8], &[u8])> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let only = types.next().filter(|_| types.next().is_none())?;
    Some(split_value(only.as_bytes()))
}

/// Finds the one `model` of a form.
pub(super) fn find<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<ModelField<'a>, ModelError> {
    let parameters = content_type(headers).map_or(&[][..], |(_, parameters)| parameters);
    let boundary = boundary(parameters).map_err(ModelError::NotAForm)?;
    let mut found = None;
    for part in Parts::new(&boundary, body).map_err(ModelError::NotAForm)? {
        let part = part.map_err(ModelError::NotAForm)?;
        if part.is_model && found.replace(part).is_some() {
            return Err(ModelError::Twice);
        }
    }
    let part = found.ok_or(ModelError::Missing)?;
    let text = std::str::from_utf8(&body[part.content.clone()]).ok().filter(|_| part.is_plain);
    let name = text.ok_or(ModelError::NotText)?;
    Ok(ModelField { name: Cow::Borrowed(name), span: part.content })
}

/// The `boundary` among the parameters of a `Content-Type`.
fn boundary(parameters: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut boundary = None;
    for parameter in Parameters(parameters) {
        let (name, value) = parameter?;
        if name.eq_ignore_ascii_case(b"boundary") && boundary.replace(value).is_some() {
            return Err("its Content-Type has more than one boundary");
        }
    }
    match boundary {
        Some(boundary) if (1..=LONGEST_BOUNDARY).contains(&boundary.len()) => Ok(boundary.into_owned()),
        Some(_) => Err("its boundary is not between 1 and 70 characters long"),
        None => Err("its Content-Type has no boundary"),
    }
}

/// A part of a form.
struct Part {
    /// Whether its name is `model`.
    is_model: bool,
    /// Whether it is a text, written as it is.
    is_plain: bool,
    /// Where its content stands in the body.
    content: std::ops::Range<usize>,
}

/// The parts of a form, up to the first fault.
struct Parts<'a, 'b> {
    body: &'a [u8],
    /// `CRLF -- boundary`
    delimiter: memmem::Finder<'b>,
    /// Behind the last delimiter; `None` when the form is over.
    at: Option<usize>,
}

impl<'a> Parts<'a, 'static> {
    fn new(boundary: &[u8], body: &'a [u8]) -> Result<Self, Fault> {
        let delimiter = [b"\r\n--", boundary].concat();
        // The first one may be at the very start; what stands before it counts for nothing.
        let at = match body.starts_with(&delimiter[2..]) {
            true => delimiter.len() - 2,
            false => memmem::find(body, &delimiter).ok_or("its boundary is nowhere in it")? + delimiter.len(),
        };
        Ok(Self { body, delimiter: memmem::Finder::new(&delimiter).into_owned(), at: Some(at) })
    }
}

impl Parts<'_, '_> {
    fn read(&mut self) -> Result<Option<Part>, Fault> {
        let Some(at) = self.at.take() else { return Ok(None) };
        let rest = &self.body[at..];
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            let ends = trim_padding(epilogue);
            if !(ends.is_empty() || ends.starts_with(b"\r\n")) {
                return Err("its last boundary is followed by something else");
            }
            return match self.delimiter.find(epilogue) {
                Some(_) => Err("it goes on behind its end"),
                None => Ok(None),
            };
        }
        let start = match trim_padding(rest).strip_prefix(b"\r\n") {
            Some(part) => self.body.len() - part.len(),
            None => return Err("a boundary is followed by something else"),
        };
        let length = self.delimiter.find(&self.body[start..]).ok_or("its last boundary is missing")?;
        self.at = Some(start + length + self.delimiter.needle().len());
        part(self.body, start..start + length).map(Some)
    }
}

impl Iterator for Parts<'_, '_> {
    type Item = Result<Part, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn part(body: &[u8], range: std::ops::Range<usize>) -> Result<Part, Fault> {
    let whole = &body[range.clone()];
    let window = &whole[..whole.len().min(LONGEST_HEAD)];
    let head = memmem::find(window, b"\r\n\r\n").ok_or("a part has no head, or one of over 8 KiB")?;
    let mut part = Part { is_model: false, is_plain: true, content: range.start + head + 4..range.end };
    let mut is_named = false;
    for line in lines(&whole[..head]) {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a line of a part's head has no colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !name.iter().all(|byte| is_token(*byte)) || name.is_empty() {
            return Err("a line of a part's head does not begin with a name");
        }
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err("a line of a part's head is broken");
        }
        if name.eq_ignore_ascii_case(b"content-disposition") {
            if std::mem::replace(&mut is_named, true) {
                return Err("a part has two names");
            }
            let disposition = disposition(value)?;
            part.is_model = disposition.is_model;
            part.is_plain &= !disposition.is_file;
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let as_is: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
            part.is_plain &= as_is.iter().any(|encoding| value.eq_ignore_ascii_case(encoding));
        }
    }
    if is_named { Ok(part) } else { Err("a part has no name") }
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let head = rest?;
        let end = memmem::find(head, b"\r\n");
        rest = end.map(|end| &head[end + 2..]);
        Some(&head[..end.unwrap_or(head.len())])
    })
}

struct Disposition {
    is_model: bool,
    is_file: bool,
}

/// Reads `form-data; name="model"`.
fn disposition(value: &[u8]) -> Result<Disposition, Fault> {
    let (kind, parameters) = split_value(value);
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err("a part is not form-data");
    }
    let (mut name, mut is_file) = (None, false);
    for parameter in Parameters(parameters) {
        let (key, value) = parameter?;
        if key.eq_ignore_ascii_case(b"name") {
            // Where one reader sees an escape, another sees a backslash.
            if name.replace(value.clone()).is_some() || matches!(value, Cow::Owned(_)) {
                return Err("a part's name can be read in two ways");
            }
        } else if key.eq_ignore_ascii_case(b"name*") {
            return Err("a part's name can be read in two ways");
        }
        is_file |= key.eq_ignore_ascii_case(b"filename") || key.eq_ignore_ascii_case(b"filename*");
    }
    let name = name.ok_or("a part has no name")?;
    Ok(Disposition { is_model: *name == *b"model", is_file })
}

/// The value of a header before its parameters, and the parameters.
fn split_value(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    (value[..end].trim_ascii(), &value[end..])
}

/// The parameters of a header, each behind a semicolon: names, and values with their quotes and escapes resolved.
struct Parameters<'a>(&'a [u8]);

type Parameter<'a> = (&'a [u8], Cow<'a, [u8]>);

impl<'a> Parameters<'a> {
    fn read(&mut self) -> Result<Option<Parameter<'a>>, Fault> {
        const FAULT: Fault = "a parameter in a header of it is malformed";
        loop {
            let rest = self.0.trim_ascii_start();
            if rest.is_empty() {
                return Ok(None);
            }
            let rest = rest.strip_prefix(b";").ok_or(FAULT)?.trim_ascii_start();
            self.0 = rest;
            // An empty one does no harm.
            if !(rest.is_empty() || rest.starts_with(b";")) {
                break;
            }
        }
        let (name, rest) = take_while(self.0, is_token);
        let rest = rest.trim_ascii_start().strip_prefix(b"=").filter(|_| !name.is_empty()).ok_or(FAULT)?;
        let rest = rest.trim_ascii_start();
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted).ok_or(FAULT)?,
            None => {
                // Boundaries come without quotes that should have some.
                let (value, rest) = take_while(rest, |byte| !matches!(byte, b';' | b'"' | b' ' | b'\t'));
                (Cow::Borrowed(value), rest)
            }
        };
        self.0 = rest;
        Ok(Some((name, value)))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose();
        if matches!(read, Some(Err(_))) {
            self.0 = &[];
        }
        read
    }
}

fn take_while(text: &[u8], is_of_it: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !is_of_it(*byte)).unwrap_or(text.len()))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a quoted string holds, and what follows it; without escapes it is borrowed.
fn unquote(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    if text[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = text[..end].to_vec();
    let mut rest = &text[end..];
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some((Cow::Owned(value), after)),
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                after
            }
            [byte, after @ ..] => {
                value.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

fn trim_padding(text: &[u8]) -> &[u8] {
    take_while(text, |byte| matches!(byte, b' ' | b'\t')).1
}
