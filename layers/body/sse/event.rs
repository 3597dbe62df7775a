use std::{borrow::Cow, fmt, iter::FusedIterator};

use memchr::{memchr, memchr2};

/// One event: the lines between two borders of a stream, read on demand.
///
/// ```
/// use pointsman_layers::body::Event;
///
/// let event = Event::new(b"event: error\ndata: {\ndata: }\n");
/// assert_eq!(event.kind(), b"error");
/// assert_eq!(*event.data(), *b"{\n}");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    lines: &'a [u8],
}

impl<'a> Event<'a> {
    /// The event made of these lines, which are those of a range that
    /// [`EventReader::read`](crate::body::EventReader::read) gave.
    pub fn new(lines: &'a [u8]) -> Self {
        Self { lines }
    }

    /// The lines as they came, each with its line end, without the blank one.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.lines
    }

    /// The fields in order, as pairs of name and value. A comment is a field without a name.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.lines }
    }

    /// The values of all fields of one name.
    fn values(&self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter(move |(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The comments.
    pub fn comments(&self) -> impl Iterator<Item = &'a [u8]> {
        self.values(b"")
    }

    /// The event's type: the last `event` field, empty if there is none.
    pub fn kind(&self) -> &'a [u8] {
        self.values(b"event").last().unwrap_or_default()
    }

    /// The event's data: the values of the `data` fields, joined with `\n`. Copied only if there are several.
    pub fn data(&self) -> Cow<'a, [u8]> {
        let mut values = self.values(b"data");
        let mut data = Cow::Borrowed(values.next().unwrap_or_default());
        for value in values {
            let data = data.to_mut();
            data.push(b'\n');
            data.extend_from_slice(value);
        }
        data
    }
}

impl fmt::Debug for Event<'_> {
    /// Shows the size only: events carry what people and models say to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("bytes", &self.lines.len()).finish()
    }
}

/// The fields of an [`Event`]; see [`Event::fields`].
#[derive(Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            // The `\n` of a `\r\n` is left as a blank line, and those are passed over.
            if !line.is_empty() {
                return Some(split_field(line));
            }
        }
        None
    }
}

impl FusedIterator for Fields<'_> {}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("bytes", &self.rest.len()).finish()
    }
}

/// The name and the value of a line, without the one space that may stand between them.
pub(super) fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}
