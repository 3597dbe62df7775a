//! The heads of HTTP/1 requests, read along as they come in.

/// What is wrong with the head of a request, although hyper lets it pass: as a rule, that two readers may take it for two
/// different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line of the head ends without a carriage return.
    BareLineFeed,
    /// It has more than one length, or a length and a transfer encoding.
    TwoFramings,
    /// The head is over the limit.
    TooLarge,
}

/// Follows a connection's bytes from request to request.
///
/// hyper decides what a request is; this only notes what hyper does not tell. Whatever this cannot follow hyper refuses
/// too, and closes the connection, so it simply stops looking then.
#[derive(Debug)]
pub(super) struct Heads {
    place: Place,
    /// The start of a line whose end has not come. No line is read without a bound: those of a head by the limit, all
    /// others by hyper's.
    partial: Vec<u8>,
    /// The most bytes of a head.
    limit: usize,
    /// How many are left of that.
    room: usize,
    framing: Framing,
    /// How many heads have begun.
    begun: u64,
    /// The first request that is at fault, counted from 0.
    fault: Option<(u64, Fault)>,
}

/// Where in the bytes of a connection the next one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front of a head, where empty lines do not count.
    Between,
    Head,
    /// So many bytes of a body are left.
    Body(u64),
    ChunkSize,
    /// So many bytes of a chunk and of the line end behind it are left.
    Chunk(u64),
    Trailers,
    /// Not to be followed.
    Lost,
    /// Another protocol, whose connections end in another way.
    Http2,
}

/// What the head says of the body.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    length: Option<u64>,
    is_encoded: bool,
}

impl Heads {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            place: Place::Between,
            partial: Vec::new(),
            limit,
            room: limit,
            framing: Framing::default(),
            begun: 0,
            fault: None,
        }
    }

    /// Whether a head has begun that is over the limit, and of which no more is to be read.
    pub(super) fn is_inside_too_large_a_head(&self) -> bool {
        self.is_inside_head() && self.fault == Some((self.begun - 1, Fault::TooLarge))
    }

    /// Whether a head has begun and is not yet whole.
    pub(super) fn is_inside_head(&self) -> bool {
        self.place == Place::Head
    }

    /// Whether something is still to come of what has begun, or comes behind what was refused.
    pub(super) fn is_followed_by_more(&self) -> bool {
        !matches!(self.place, Place::Between | Place::Http2) || self.fault.is_some()
    }

    /// How many heads have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The first request that is at fault, counted from 0.
    pub(super) fn fault(&self) -> Option<(u64, Fault)> {
        self.fault
    }

    /// Takes the next bytes.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.place {
                Place::Lost | Place::Http2 => return,
                Place::Body(left) | Place::Chunk(left) => {
                    let here = left.min(bytes.len() as u64);
                    self.place = match (self.place, left - here) {
                        (Place::Body(_), 0) => Place::Between,
                        (Place::Body(_), left) => Place::Body(left),
                        (_, 0) => Place::ChunkSize,
                        (_, left) => Place::Chunk(left),
                    };
                    usize::try_from(here).unwrap_or(bytes.len())
                }
                Place::Between if matches!(bytes[0], b'\r' | b'\n') => 1,
                Place::Between => {
                    self.begun += 1;
                    self.framing = Framing::default();
                    self.room = self.limit;
                    self.place = Place::Head;
                    0
                }
                Place::Head | Place::ChunkSize | Place::Trailers => {
                    let end = memchr::memchr(b'\n', bytes);
                    let taken = end.map_or(bytes.len(), |end| end + 1);
                    if self.place == Place::Head {
                        match self.room.checked_sub(taken) {
                            Some(room) => self.room = room,
                            None => self.note(Fault::TooLarge),
                        }
                    }
                    match end {
                        Some(end) if self.partial.is_empty() => self.line(&bytes[..end]),
                        Some(end) => {
                            let mut line = std::mem::take(&mut self.partial);
                            line.extend_from_slice(&bytes[..end]);
                            self.line(&line);
                        }
                        None => self.partial.extend_from_slice(bytes),
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// Takes a line, up to its line feed.
    fn line(&mut self, line: &[u8]) {
        let (text, ends_well) = match line {
            [text @ .., b'\r'] => (text, true),
            text => (text, false),
        };
        self.place = match self.place {
            Place::Head if text == b"PRI * HTTP/2.0" => Place::Http2,
            Place::Head => {
                if !ends_well {
                    self.note(Fault::BareLineFeed);
                }
                if text.is_empty() { self.end_of_head() } else { self.field(text) }
            }
            Place::ChunkSize => {
                let digits = text.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits.trim_ascii()).unwrap_or_default();
                match u64::from_str_radix(digits, 16) {
                    Ok(0) => Place::Trailers,
                    Ok(size) => size.checked_add(2).map_or(Place::Lost, Place::Chunk),
                    Err(_) => Place::Lost,
                }
            }
            Place::Trailers if text.is_empty() => Place::Between,
            place => place,
        };
    }

    /// Takes a line of a head. hyper refuses names with white space in them or around them.
    fn field(&mut self, line: &[u8]) -> Place {
        if let Some(digits) = value_of("content-length", line) {
            if self.framing.length.is_some() {
                self.note(Fault::TwoFramings);
            }
            let digits = std::str::from_utf8(digits.trim_ascii()).unwrap_or_default();
            let Ok(length) = digits.parse() else { return Place::Lost };
            self.framing.length = Some(length);
        } else if value_of("transfer-encoding", line).is_some() {
            self.framing.is_encoded = true;
        }
        Place::Head
    }

    fn end_of_head(&mut self) -> Place {
        match self.framing {
            Framing { is_encoded: true, length } => {
                if length.is_some() {
                    self.note(Fault::TwoFramings);
                }
                Place::ChunkSize
            }
            Framing { length: Some(length @ 1..), .. } => Place::Body(length),
            Framing { .. } => Place::Between,
        }
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert((self.begun - 1, fault));
    }
}

/// What stands behind the colon, if the field has this name.
fn value_of<'a>(name: &str, line: &'a [u8]) -> Option<&'a [u8]> {
    let (given, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    given.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1000;

    fn after(bytes: &[u8]) -> Heads {
        let mut heads = Heads::new(LIMIT);
        heads.read(bytes);
        heads
    }

    fn fault(bytes: &str) -> Option<(u64, Fault)> {
        after(bytes.as_bytes()).fault()
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

    #[test]
    fn good_requests_have_no_fault() {
        for request in [
            GET.to_owned(),
            GET.repeat(3),
            format!("\r\n{GET}\r\n\n{GET}"),
            format!("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nb{GET}"),
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nt: 1\r\n\r\n{GET}"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncontent-length: 1\n\n".to_owned(),
        ] {
            let heads = after(request.as_bytes());
            assert_eq!(heads.fault(), None, "{request:?}");
            let expected = request.matches("HTTP/").count() as u64;
            assert_eq!((heads.begun(), heads.is_inside_head()), (expected, false), "{request:?}");
        }
    }

    #[test]
    fn what_has_two_readings_is_noted_with_its_place() {
        use Fault::{BareLineFeed, TwoFramings};

        for (request, expected) in [
            ("GET / HTTP/1.1\nhost: h\r\n\r\n", BareLineFeed),
            ("GET / HTTP/1.1\r\nhost: h\n\r\n", BareLineFeed),
            ("GET / HTTP/1.1\r\nhost: h\r\n\n", BareLineFeed),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", TwoFramings),
            ("POST / HTTP/1.1\r\nContent-Length:1\r\nTransfer-Encoding: \t chunked\r\n\r\n", TwoFramings),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", TwoFramings),
        ] {
            assert_eq!(fault(request), Some((0, expected)), "{request:?}");
            assert_eq!(fault(&format!("{GET}{GET}{request}")), Some((2, expected)), "{request:?}");
            let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
            assert_eq!(fault(&format!("{chunked}{request}")), Some((1, expected)), "{request:?}");
        }
    }

    #[test]
    fn a_head_is_too_large_by_itself() {
        let head = |length: usize| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(length - 23));
        let fits = head(LIMIT);
        assert_eq!(fault(&fits.repeat(3)), None);
        assert_eq!(fault(&format!("{fits}{}", head(LIMIT + 1))), Some((1, Fault::TooLarge)));
        let begun = after(format!("{fits}x: {}", "y".repeat(LIMIT)).as_bytes());
        assert!(begun.is_inside_too_large_a_head());
        assert!(!after(head(LIMIT + 1).as_bytes()).is_inside_too_large_a_head());
    }

    #[test]
    fn a_body_is_never_taken_for_a_head() {
        let bad = "GET / HTTP/1.1\ncontent-length: 1\ncontent-length: 2\n\n";
        let with_length = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{bad}{GET}", bad.len());
        assert_eq!(fault(&with_length), None);
        let chunk = format!("{:x}\r\n{bad}\r\n0\r\n\r\n{GET}", bad.len());
        assert_eq!(fault(&format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{chunk}")), None);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(
            parts in prop::collection::vec(prop::sample::select(vec![
                GET, "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", "\n", "\r\n", "x: y\n", "content-length: 2\r\n",
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n", "5\r\n",
            ]), 0..8),
            cuts in prop::collection::vec(1usize..40, 0..20),
        ) {
            let whole = parts.concat();
            let mut heads = Heads::new(LIMIT);
            let mut left = whole.as_bytes();
            for cut in cuts {
                let (now, later) = left.split_at(cut.min(left.len()));
                heads.read(now);
                left = later;
            }
            heads.read(left);
            prop_assert_eq!(format!("{heads:?}"), format!("{:?}", after(whole.as_bytes())));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            after(&bytes);
        }
    }
}
