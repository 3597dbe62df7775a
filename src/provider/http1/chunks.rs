use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Error, connection::take_front, head::MOST_FIELDS, malformed};

/// The longest line of a chunk's size, extensions included, and the largest trailers.
const LONGEST_LINE: usize = 4 * 1024;
const LARGEST_TRAILERS: usize = 64 * 1024;

/// Takes a body out of its chunks: RFC 9112, section 7.1.
#[derive(Debug, Default)]
pub(super) enum Chunks {
    /// The line with the size of a chunk is next.
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// The line end behind a chunk is next.
    End,
    /// The last chunk was there.
    Trailers,
    Over,
}

/// What the chunks hold next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Chunks {
    /// Whether there is nothing more to come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes the next piece off what was read; `None` if more has to be read, or it [is over](Self::is_over).
    ///
    /// All data that is there is one piece: that of later chunks is moved up to that of the first.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Error> {
        let (mut at, mut data) = (0, 0..0);
        loop {
            let rest = &read[at..];
            match self {
                Self::Size => {
                    match size_line(rest) {
                        Ok(Some((size, length))) => {
                            at += length;
                            *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                        }
                        Ok(None) => break,
                        // What came before it comes first.
                        Err(_) if !data.is_empty() => break,
                        Err(error) => return Err(error),
                    }
                }
                Self::Data(left) => {
                    let here = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    if here == 0 {
                        break;
                    }
                    if data.is_empty() {
                        data = at..at + here;
                    } else {
                        read.copy_within(at..at + here, data.end);
                        data.end += here;
                    }
                    at += here;
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::End;
                    }
                }
                Self::End => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => break,
                    _ if !data.is_empty() => break,
                    _ => return Err(malformed("a chunk is longer than its size")),
                },
                Self::Trailers if rest.starts_with(b"\r\n") => {
                    at += 2;
                    *self = Self::Over;
                }
                Self::Trailers | Self::Over => break,
            }
        }
        if !data.is_empty() {
            let mut piece = take_front(read, at);
            piece.truncate(data.end);
            piece.advance(data.start);
            return Ok(Some(Piece::Data(piece)));
        }
        read.advance(at);
        match self {
            Self::Trailers => self.take_trailers(read),
            _ => Ok(None),
        }
    }

    fn take_trailers(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Error> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        match httparse::parse_headers(read, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) => {
                let mut trailers = HeaderMap::with_capacity(fields.len());
                for field in fields {
                    let name = HeaderName::from_bytes(field.name.as_bytes());
                    let value = HeaderValue::from_bytes(field.value);
                    let (Ok(name), Ok(value)) = (name, value) else { return Err(malformed("a trailer is not one")) };
                    trailers.append(name, value);
                }
                read.advance(length);
                *self = Self::Over;
                Ok(Some(Piece::Trailers(trailers)))
            }
            Ok(httparse::Status::Partial) if read.len() < LARGEST_TRAILERS => Ok(None),
            _ => Err(malformed("the trailers are too large, or none")),
        }
    }
}

/// The size that a line gives, and the length of the line; `None` if it is not all there.
fn size_line(rest: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return if rest.len() < LONGEST_LINE {
            Ok(None)
        } else {
            Err(malformed("the line of a chunk's size is too long"))
        };
    };
    let size = rest[..end].strip_suffix(b"\r").and_then(|line| {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extensions) = line.split_at(digits);
        let is_size = match extensions.trim_ascii_start() {
            [] => true,
            [first, ..] => *first == b';',
        };
        // What is more than 64 bits is none.
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        size.filter(|_| is_size && !extensions.contains(&b'\r'))
    });
    match size {
        Some(size) if end < LONGEST_LINE => Ok(Some((size, end + 1))),
        _ => Err(malformed("the size of a chunk is not a number")),
    }
}
