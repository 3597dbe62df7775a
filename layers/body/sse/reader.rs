use std::{fmt, ops::Range};

use memchr::memchr2;

use super::event::split_field;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const DONE: &[u8] = b"[DONE]";
/// Enough of a line to tell `data: [DONE]` from all longer ones.
const HEAD: usize = b"data: [DONE]".len() + 1;

/// Finds the events in a stream of bytes that arrives in chunks, however it is cut.
///
/// The reader looks at the chunks and keeps nothing of them, so that a body can be watched while it passes through. It
/// reports each finished event as the range of its lines, counted from the start of the stream. The blank line that
/// ends the event is not in the range: so an event is reported as soon as its last line end begins, even if that may
/// turn out to be the first half of a `\r\n`.
///
/// ```
/// use pointsman_layers::body::EventReader;
///
/// let mut reader = EventReader::new();
/// let mut chunk: &[u8] = b": hello\n\ndata: one\n\ndata: tw";
/// assert_eq!(reader.read(&mut chunk), Some(9..19));
/// assert_eq!(reader.read(&mut chunk), None);
/// assert_eq!(reader.closing(), "\n\n"); // in the middle of a line
///
/// let mut chunk: &[u8] = b"o\n\ndata: [DONE]\n\n";
/// assert_eq!(reader.read(&mut chunk), Some(20..30));
/// assert_eq!(reader.read(&mut chunk), Some(31..44));
/// assert_eq!(reader.closing(), "");
/// assert!(reader.is_done());
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventReader {
    position: u64,
    /// Where the open line began; of no meaning while none is open.
    line_start: u64,
    /// The first bytes of the open line; empty while none is open.
    head: Head,
    /// The last byte was a `\r`: a `\n` now is the rest of the same line end.
    after_cr: bool,
    /// Where the first finished line since the last blank one began.
    block_start: Option<u64>,
    has_data: bool,
    done: bool,
}

impl EventReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on to the end of the next event and moves `chunk` past it; `None` when the chunk is used up.
    ///
    /// To be called until it returns `None`, then with the next chunk.
    pub fn read(&mut self, chunk: &mut &[u8]) -> Option<Range<u64>> {
        while let Some(first) = chunk.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                self.advance(chunk, 1);
                continue;
            }
            let reach = self.reach(chunk.len());
            let Some(length) = memchr2(b'\n', b'\r', &chunk[..reach]) else {
                self.extend_line(&chunk[..reach]);
                self.advance(chunk, reach);
                if self.position == BYTE_ORDER_MARK.len() as u64 && self.head.as_slice() == BYTE_ORDER_MARK {
                    self.head.clear();
                }
                continue;
            };
            self.extend_line(&chunk[..length]);
            self.advance(chunk, length);
            let event = self.end_line();
            self.after_cr = chunk[0] == b'\r';
            self.advance(chunk, 1);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// How many bytes were read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether a `data: [DONE]` line has passed.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether what was read ends between two events, so that another one may follow.
    pub fn at_border(&self) -> bool {
        self.open_start().is_none()
    }

    /// What has to be written before an event can be added to what was read: nothing at a border, else the line ends
    /// that are missing.
    pub fn closing(&self) -> &'static str {
        match (self.head.is_empty(), self.block_start) {
            (true, None) => "",
            // A single `\n` would only complete the `\r\n`.
            (true, Some(_)) if self.after_cr => "\n\n",
            (true, Some(_)) => "\n",
            (false, _) => "\n\n",
        }
    }

    /// Where the lines since the last border begin; `None` at a border.
    pub(super) fn open_start(&self) -> Option<u64> {
        self.block_start.or((!self.head.is_empty()).then_some(self.line_start))
    }

    /// How far to look in one step: at the start of a stream, to the end of a possible byte order mark.
    fn reach(&self, available: usize) -> usize {
        match usize::try_from(self.position) {
            Ok(position) if position < BYTE_ORDER_MARK.len() => available.min(BYTE_ORDER_MARK.len() - position),
            _ => available,
        }
    }

    fn advance(&mut self, chunk: &mut &[u8], length: usize) {
        *chunk = &chunk[length..];
        self.position += length as u64;
    }

    fn extend_line(&mut self, piece: &[u8]) {
        if self.head.is_empty() {
            self.line_start = self.position;
        }
        self.head.extend(piece);
    }

    fn end_line(&mut self) -> Option<Range<u64>> {
        if self.head.is_empty() {
            let start = self.block_start.take()?;
            return std::mem::take(&mut self.has_data).then_some(start..self.position);
        }
        self.block_start.get_or_insert(self.line_start);
        if let (b"data", value) = split_field(self.head.as_slice()) {
            self.has_data = true;
            self.done |= value == DONE;
        }
        self.head.clear();
        None
    }
}

/// The first bytes of a line.
#[derive(Clone, Default)]
struct Head {
    bytes: [u8; HEAD],
    length: usize,
}

impl Head {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let taken = room.len().min(piece.len());
        room[..taken].copy_from_slice(&piece[..taken]);
        self.length += taken;
    }
}

impl fmt::Debug for Head {
    /// Not the bytes: they are part of what people and models say to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("length", &self.length).finish()
    }
}
