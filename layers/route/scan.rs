//! A quick look through a JSON body, for the place of its `model`.

use std::ops::Range;

use smallvec::SmallVec;

mod block;
mod marks;

use self::block::Block;
pub(crate) use self::marks::{MarkSearch, Marks};

/// A body of so many bytes is read as a whole: people write such ones, and are helped by the place of a mistake.
const SHORT: usize = 512;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The piece of the body that has all of it.
    pub(super) piece: usize,
    /// The bytes of that piece.
    pub(super) range: Range<usize>,
    /// The same, counted from the start of the body.
    pub(super) span: Range<usize>,
}

/// The value of the one `model` of a JSON object that is plain to read; `None` if it is not, for whatever reason, one of
/// which is that it cannot be known from a single piece of the body.
///
/// What is certain without a look at all of a body is not looked at. Where `"model"` stands once, all that it takes to
/// know whether it is a key of the outermost object is what stands in front of it, or what stands behind it; the shorter
/// of the two is read. The rest is for the provider to judge. What is wrong with a body that is read, and what hides
/// behind escapes in its keys, is left to a slower reader to say.
///
/// `marks` is what [`MarkSearch`] has found in these pieces, if they were searched before.
pub(super) fn find_model(pieces: &[impl AsRef<[u8]>], marks: Option<Marks>) -> Option<Place> {
    let (first, last) = (pieces.first()?.as_ref(), pieces.last()?.as_ref());
    if !first.trim_ascii_start().starts_with(b"{") || !last.trim_ascii_end().ends_with(b"}") {
        return None;
    }
    let length: usize = pieces.iter().map(|piece| piece.as_ref().len()).sum();
    let search = || {
        let mut search = MarkSearch::default();
        pieces.iter().for_each(|piece| search.read(piece.as_ref()));
        search.marks()
    };
    let (at, is_certain) = match marks.unwrap_or_else(search) {
        Marks::Nothing => return None,
        Marks::Once(at) if length > SHORT => (at as usize, true),
        _ if pieces.len() == 1 => (0, false),
        _ => return None,
    };
    let (mut piece, mut start) = (0, 0);
    while start + pieces[piece].as_ref().len() <= at {
        start += pieces[piece].as_ref().len();
        piece += 1;
    }
    let text = pieces[piece].as_ref();
    let mut scan = Scan { body: text, at: 0, block: Block::first(text) };
    let before = text[..at - start].trim_ascii_end();
    let range = if is_certain && at > length / 2 && (before.is_empty() || before.ends_with(b",")) {
        // If its object ends where the body does, it is the outermost one.
        (!before.is_empty() && piece + 1 == pieces.len()).then_some(())?;
        scan.at = at - start;
        scan.model(false)?
    } else {
        (start == 0).then_some(())?;
        scan.skip_space();
        scan.expect(b'{')?;
        scan.model(is_certain)?
    };
    Some(Place { piece, span: start + range.start..start + range.end, range })
}

struct Scan<'a> {
    body: &'a [u8],
    at: usize,
    block: Block,
}

impl<'a> Scan<'a> {
    /// The value of the one `model` among the fields from here on: up to it, or up to the end of the object and the body.
    fn model(&mut self, stops_there: bool) -> Option<Range<usize>> {
        let mut model = None;
        loop {
            let key = self.key()?;
            self.skip_space();
            let start = self.at;
            self.value()?;
            if key == b"model" {
                if model.replace(start..self.at).is_some() {
                    return None;
                }
                if stops_there {
                    return model;
                }
            }
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.skip_space();
        (self.at == self.body.len()).then_some(model)?
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A key without escapes, and the colon.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        self.expect(b'"')?;
        let start = self.at;
        self.string()?;
        let key = &self.body[start..self.at - 1];
        self.skip_space();
        self.expect(b':')?;
        (!key.contains(&b'\\')).then_some(key)
    }

    /// A value of any kind. Does not recurse, however deep it is.
    fn value(&mut self) -> Option<()> {
        /// The brackets that are to be closed.
        type Open = SmallVec<[u8; 32]>;

        let mut open = Open::new();
        loop {
            self.skip_space();
            match self.next()? {
                b'"' => self.string()?,
                b'-' => self.number(None)?,
                digit @ b'0'..=b'9' => self.number(Some(digit))?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                bracket @ (b'{' | b'[') => {
                    // In ASCII, the closing one is two behind.
                    let closing = bracket + 2;
                    self.skip_space();
                    if self.peek()? == closing {
                        self.at += 1;
                    } else {
                        if bracket == b'{' {
                            self.key()?;
                        }
                        open.push(closing);
                        continue;
                    }
                }
                _ => return None,
            }
            loop {
                let Some(closing) = open.last() else { return Some(()) };
                let is_object = *closing == b'}';
                self.skip_space();
                match self.next()? {
                    b',' => {
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    byte if byte == *closing => {
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    /// The rest of a string behind its first quote.
    fn string(&mut self) -> Option<()> {
        loop {
            let end = self.block.next_special(self.body, self.at);
            let escape = match self.body.get(end..)? {
                [b'"', ..] => {
                    self.at = end + 1;
                    return Some(());
                }
                [b'\\', escape, ..] => *escape,
                // A control character stands for itself in no string.
                _ => return None,
            };
            self.at = end + 2;
            match escape {
                b'n' | b'"' | b'\\' | b'/' | b'b' | b'f' | b'r' | b't' => {}
                b'u' => {
                    let digits = self.body.get(self.at..self.at + 4)?;
                    self.at += 4;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                }
                _ => return None,
            }
        }
    }

    /// The rest of a number behind its sign or its first digit.
    fn number(&mut self, first: Option<u8>) -> Option<()> {
        let first = first.or_else(|| self.next())?;
        match first {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        self.skip_digits();
        (self.at > start).then_some(())
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.body[self.at..].starts_with(rest).then(|| self.at += rest.len())
    }
}
