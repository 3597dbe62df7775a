//! The heads of requests and answers.

use std::{mem::MaybeUninit, ops::Range};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use smallvec::SmallVec;

use super::{Error, body::Framing, chunks::Chunks, malformed};

/// Room for the head of a request, in bytes; a larger one takes more.
const USUAL_HEAD: usize = 1024;

/// The largest head of an answer, in bytes, with the interim ones before it; and the most fields in one.
const LARGEST_HEAD: usize = 256 * 1024;
pub(super) const MOST_FIELDS: usize = 128;

/// As many fields as most answers have.
const USUAL_FIELDS: usize = 24;

/// A head of this size is read again from its start whenever more of it comes; a larger one would take too long.
const SMALL_HEAD: usize = 4 * 1024;

/// Writes the head of a request with a body of this length. The authority gives the host, unless a field does.
pub(super) fn write<'a>(
    method: &Method,
    target: &str,
    authority: &str,
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    length: usize,
) -> Bytes {
    let mut out = Vec::with_capacity(USUAL_HEAD);
    // A URL may have a query behind its host.
    let root = if target.starts_with('/') { "" } else { "/" };
    for piece in [method.as_str(), " ", root, target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    // Two hosts or lengths would leave it to the provider which of them counts.
    let mut has_host = false;
    fields.filter(|(name, _)| *name != header::CONTENT_LENGTH).for_each(|(name, value)| {
        if *name != header::HOST || !std::mem::replace(&mut has_host, true) {
            write_field(name.as_str(), value.as_bytes(), &mut out);
        }
    });
    if !has_host {
        // Without the user and the password that may stand before it.
        let host = memchr::memrchr(b'@', authority.as_bytes()).map_or(authority, |at| &authority[at + 1..]);
        write_field("host", host.as_bytes(), &mut out);
    }
    if length > 0 || !matches!(*method, Method::GET | Method::HEAD) {
        write_field("content-length", itoa::Buffer::new().format(length).as_bytes(), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

/// The head of an answer, and what it says of what follows.
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether the connection can be used again after this answer.
    pub(super) keeps_alive: bool,
}

/// Reads the head of an answer as it comes in.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// How much of what was read is known to be no whole head.
    seen: usize,
    /// The length of the interim answers that were passed over.
    passed_over: usize,
}

impl HeadReader {
    /// Takes the head of the answer off what was read; `None` if there is no whole one yet. Interim answers (1xx) are
    /// passed over.
    pub(super) fn take(&mut self, read: &mut BytesMut, method: &Method) -> Result<Option<Head>, Error> {
        let mut fields = Fields::new();
        loop {
            let found = if self.may_be_whole(read) { Found::at_start_of(read, &mut fields)? } else { None };
            let Some(Found { status, version, length }) = found else {
                self.seen = read.len();
                let is_large = self.passed_over + read.len() >= LARGEST_HEAD;
                return if is_large { Err(malformed("the head of the answer is too large")) } else { Ok(None) };
            };
            let head = read.split_to(length).freeze();
            if status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(malformed("the protocol was switched, which nobody asked for"));
            }
            if status.is_informational() {
                self.seen = 0;
                self.passed_over += length;
                continue;
            }
            // With room for what the gateway adds.
            let mut headers = HeaderMap::with_capacity(fields.len() + 8);
            let mut said = Said::default();
            for (name, value) in fields.drain(..) {
                let name = HeaderName::from_bytes(&head[name]).map_err(|_| malformed("a field has no proper name"))?;
                let value = HeaderValue::from_maybe_shared(head.slice(value));
                let value = value.map_err(|_| malformed("a field has no proper value"))?;
                said.note(&name, value.as_bytes());
                headers.append(name, value);
            }
            let is_empty =
                method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            let framing = if is_empty { Framing::Length(0) } else { said.framing(version, &mut headers)? };
            let keeps_alive = said.keeps_alive(version) && !matches!(framing, Framing::ToClose);
            let mut response = Response::new(());
            (*response.status_mut(), *response.version_mut(), *response.headers_mut()) = (status, version, headers);
            return Ok(Some(Head { response, framing, keeps_alive }));
        }
    }

    /// Whether it is worth the time to read a head: its end must be in what is new.
    fn may_be_whole(&self, read: &[u8]) -> bool {
        let new = &read[self.seen.saturating_sub(2)..];
        let is_end = |at: usize| matches!(new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
        self.seen < SMALL_HEAD || memchr::memchr_iter(b'\n', new).any(is_end)
    }
}

/// The first line of a head, and the length of it all.
struct Found {
    status: StatusCode,
    version: Version,
    length: usize,
}

/// Where names and values stand in a head.
type Fields = SmallVec<[(Range<usize>, Range<usize>); USUAL_FIELDS]>;

impl Found {
    fn at_start_of(read: &[u8], fields: &mut Fields) -> Result<Option<Self>, Error> {
        let mut space = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut head, read, &mut space);
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(malformed("what came is not an HTTP answer")),
        };
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let place = |part: &[u8]| {
            // The parts borrow from `read`, so the difference of the addresses is the place there.
            let start = part.as_ptr().addr() - read.as_ptr().addr();
            start..start + part.len()
        };
        fields.clear();
        fields.extend(head.headers.iter().map(|field| (place(field.name.as_bytes()), place(field.value))));
        Ok(Some(Self {
            status: status.ok_or_else(|| malformed("the status is not one of HTTP"))?,
            version: if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 },
            length,
        }))
    }
}

/// What the fields of a head say of this hop.
#[derive(Debug, Default)]
struct Said {
    /// Whether the one transfer coding is `chunked`, if there are any.
    is_chunked: Option<bool>,
    /// The length, which is none if it is not one number.
    length: Option<Option<u64>>,
    /// Whether the length is said more than once.
    is_repeated: bool,
    closes: bool,
    keeps_alive: bool,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == header::CONTENT_LENGTH {
            let length = length(value);
            self.is_repeated |= self.length.is_some() || value.contains(&b',');
            self.length = Some(self.length.map_or(length, |first| first.filter(|_| first == length)));
        } else if *name == header::TRANSFER_ENCODING {
            // No other was asked for, and whoever reads on would not know of it.
            self.is_chunked = Some(self.is_chunked.is_none() && value.eq_ignore_ascii_case(b"chunked"));
        } else if *name == header::CONNECTION {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.closes |= option.eq_ignore_ascii_case(b"close");
                self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }

    /// How a body ends: RFC 9112, section 6.3. Leaves at most one length in the headers.
    fn framing(&self, version: Version, headers: &mut HeaderMap) -> Result<Framing, Error> {
        match (self.is_chunked, self.length) {
            (Some(_), _) if version == Version::HTTP_10 => Err(malformed("a transfer encoding in HTTP/1.0")),
            (Some(false), _) => Err(malformed("a transfer encoding that is not `chunked` alone")),
            (Some(true), length) => {
                // The chunks go before a length, which whoever reads on must not see.
                if length.is_some() {
                    headers.remove(header::CONTENT_LENGTH);
                }
                Ok(Framing::Chunked(Chunks::default()))
            }
            (None, Some(length)) => {
                let length = length.ok_or_else(|| malformed("the content length is not one number"))?;
                if self.is_repeated {
                    headers.insert(header::CONTENT_LENGTH, length.into());
                }
                Ok(Framing::Length(length))
            }
            (None, None) => Ok(Framing::ToClose),
        }
    }

    fn keeps_alive(&self, version: Version) -> bool {
        // Who writes both may mean another end than is read here: RFC 9112, section 6.3.
        let is_doubtful = self.is_chunked.is_some() && self.length.is_some();
        !is_doubtful && !self.closes && (version != Version::HTTP_10 || self.keeps_alive)
    }
}

/// A length that may stand there several times, with commas between, as long as it is the same.
fn length(value: &[u8]) -> Option<u64> {
    let mut lengths = value.split(|byte| *byte == b',').map(|text| {
        let text = text.trim_ascii();
        // The parser of numbers takes a sign.
        let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
        std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
    });
    let first = lengths.next()??;
    lengths.all(|other| other == Some(first)).then_some(first)
}
