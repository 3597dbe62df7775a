use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use pointsman_layers::body::ReplayBody;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
};

/// How much is read at a time, at first and at the most.
const READ: usize = 8 * 1024;
const LARGEST_READ: usize = 128 * 1024;

/// How many pieces of a request are written at a time. The head and a body with one value replaced are four, and a
/// large body has another one for each 256 KiB.
const PIECES: usize = 16;

/// A connection to a provider, with what is still to be written to it, and what was read and not handed on.
pub(super) struct Connection {
    stream: TcpStream,
    /// Has no memory while it is empty: a stream is silent most of the time.
    pub(super) read: BytesMut,
    /// How much to read the next time.
    reach: usize,
    unsent: VecDeque<Bytes>,
    /// Whether a byte of the request has left.
    pub(super) has_sent: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, read: BytesMut::new(), reach: READ, unsent: VecDeque::new(), has_sent: false }
    }

    /// Makes a request the next thing to be written.
    pub(super) fn send(&mut self, head: Bytes, body: ReplayBody) {
        self.has_sent = false;
        self.unsent.push_back(head);
        self.unsent.extend(body.into_segments());
    }

    /// Writes what is left of the request.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = pieces.iter_mut().zip(&self.unsent).map(|(slot, piece)| *slot = IoSlice::new(piece)).count();
            let mut written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &pieces[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_sent = true;
            while let Some(piece) = self.unsent.front_mut().filter(|_| written > 0) {
                let part = written.min(piece.len());
                written -= part;
                piece.advance(part);
                if piece.is_empty() {
                    self.unsent.pop_front();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more behind what is there; 0 at the end of the connection.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (read, room) = if self.reach == READ {
            // By way of the stack, so that little pieces take little memory, and none before they are there.
            let mut space = [const { MaybeUninit::uninit() }; READ];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if self.read.is_empty() {
                self.read = BytesMut::from(buffer.filled());
            } else {
                self.read.extend_from_slice(buffer.filled());
            }
            (buffer.filled().len(), READ)
        } else {
            self.read.reserve(self.reach);
            let room = self.read.capacity() - self.read.len();
            match pin!(self.stream.read_buf(&mut self.read)).poll(cx) {
                Poll::Ready(read) => (read?, room),
                Poll::Pending => {
                    if self.read.is_empty() {
                        (self.read, self.reach) = (BytesMut::new(), READ);
                    }
                    return Poll::Pending;
                }
            }
        };
        self.reach = if read < room { READ } else { LARGEST_READ.min(2 * self.reach) };
        Poll::Ready(Ok(read))
    }

    /// Whether nothing is left of the last exchange.
    pub(super) fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.read.is_empty()
    }

    /// Whether an idle connection takes another request: the other end has neither closed it nor said anything unasked.
    ///
    /// Asks the system. The runtime only knows what it was told when it last asked, and what the other end has said since
    /// would be taken for the answer to the next request.
    pub(super) fn is_open(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Takes so many bytes off what was read, and with the last of them its memory: what is left of it, if nothing, would keep
/// the memory as long as the next silence lasts.
pub(super) fn take_front(read: &mut BytesMut, length: usize) -> Bytes {
    if length == read.len() { std::mem::take(read).freeze() } else { read.split_to(length).freeze() }
}

/// Without what is read and written: a key is in it.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", &self.stream).finish_non_exhaustive()
    }
}
