use std::{error::Error, fmt, ops::Range};

use super::{Event, EventReader};

/// Hands out each [`Event`] of a stream that arrives in chunks.
///
/// An event that lies in one chunk is a slice of it; only one that is spread over several is copied together. No more
/// than the limit is ever kept.
///
/// ```
/// use pointsman_layers::body::EventCollector;
///
/// let mut events = EventCollector::new(1024);
/// let mut said = Vec::new();
/// for mut chunk in [&b"data: one\n\nda"[..], b"ta: two\n\n"] {
///     while let Some(event) = events.read(&mut chunk) {
///         said.push(event.unwrap().data().into_owned());
///     }
/// }
/// assert_eq!(said, [b"one", b"two"]);
/// ```
#[derive(Clone)]
pub struct EventCollector {
    reader: EventReader,
    /// What came of the open event in chunks before this one; empty once it is over the limit, stale at a border.
    partial: Vec<u8>,
    limit: usize,
}

impl EventCollector {
    /// A collector at the start of a stream, for events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { reader: EventReader::new(), partial: Vec::new(), limit }
    }

    /// What is known of the stream besides its events.
    pub fn reader(&self) -> &EventReader {
        &self.reader
    }

    /// Reads on to the end of the next event and moves `chunk` past it; `None` when the chunk is used up.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] in place of each event over the limit. The next call goes on behind it.
    pub fn read<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Option<Result<Event<'a>, EventTooLarge>> {
        let whole = *chunk;
        let base = self.reader.position();
        let Some(range) = self.reader.read(chunk) else {
            self.keep(whole, base);
            return None;
        };
        if range.end - range.start > self.limit as u64 {
            return Some(Err(EventTooLarge { limit: self.limit }));
        }
        let lines = match within(&range, base) {
            Some(range) => &whole[range],
            None => {
                // The end is never before the chunk: the blank line that ended the event is in it.
                let tail = within(&(base..range.end), base).unwrap_or_default();
                self.partial.extend_from_slice(&whole[tail]);
                &self.partial
            }
        };
        Some(Ok(Event::new(lines)))
    }

    /// The event that was left unfinished at the end of the stream, as if a blank line had followed.
    ///
    /// To the standard this is no event; but a provider that hangs up right after an error may have meant one.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] if it is over the limit.
    pub fn read_unfinished(&mut self) -> Option<Result<Event<'_>, EventTooLarge>> {
        let mut closing = self.reader.closing().as_bytes();
        self.read(&mut closing)
    }

    /// Keeps what a used-up chunk holds of the open event.
    fn keep(&mut self, chunk: &[u8], base: u64) {
        let Some(start) = self.reader.open_start() else {
            return self.partial.clear();
        };
        let piece = match within(&(start..self.reader.position()), base) {
            Some(range) => {
                self.partial.clear();
                &chunk[range]
            }
            None => chunk,
        };
        if self.reader.position() - start > self.limit as u64 {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(piece);
        }
    }
}

/// A range of the stream as one of the chunk that begins at `base`; `None` if it begins before the chunk.
fn within(range: &Range<u64>, base: u64) -> Option<Range<usize>> {
    let index = |offset: u64| usize::try_from(offset.checked_sub(base)?).ok();
    Some(index(range.start)?..index(range.end)?)
}

impl Default for EventCollector {
    /// Events of up to 10 MiB.
    fn default() -> Self {
        Self::new(10 * 1024 * 1024)
    }
}

impl fmt::Debug for EventCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventCollector")
            .field("reader", &self.reader.position())
            .field("partial", &self.partial.len())
            .field("limit", &self.limit)
            .finish()
    }
}

/// An event is over the limit of its [`EventCollector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    limit: usize,
}

impl EventTooLarge {
    /// The limit, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is over the limit of {} bytes", self.limit)
    }
}

impl Error for EventTooLarge {}
