use std::{io, ops::Deref};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Header fields in the order and spelling in which they were sent. A byte of a value is a char, so nothing is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a field, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Deref for Headers {
    type Target = [(String, String)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The head of a message: the start line and the header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line, without its line end.
    pub start: String,
    /// The header fields.
    pub headers: Headers,
}

impl Head {
    /// The `n`th word of the start line.
    pub fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_else(|_| panic!("not a status line: {:?}", self.start))
    }
}

/// Where in the body of a message a [`Reader`] is.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// The size line of a chunk is next.
    ChunkSize,
    /// So many bytes are left of a chunk.
    Chunk(u64),
    /// Everything up to the end of the connection.
    ToClose,
}

impl Framing {
    fn of(headers: &Headers, without_length: Self) -> io::Result<Self> {
        if headers.all("transfer-encoding").any(|value| value.to_ascii_lowercase().ends_with("chunked")) {
            return Ok(Self::ChunkSize);
        }
        match headers.get("content-length") {
            Some(length) => length.parse().map(Self::Length).map_err(io::Error::other),
            None => Ok(without_length),
        }
    }

    /// The framing of a request.
    pub fn of_request(head: &Head) -> io::Result<Self> {
        Self::of(&head.headers, Self::Length(0))
    }

    /// The framing of a response to a request that was not a HEAD. An error for what is not a response.
    pub fn of_response(head: &Head) -> io::Result<Self> {
        let status = head.start.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        match status {
            Some(100..=199 | 204 | 304) => Ok(Self::Length(0)),
            Some(200..=u16::MAX) => Self::of(&head.headers, Self::ToClose),
            Some(0..100) | None => Err(io::Error::other(format!("not a response: {:?}", head.start))),
        }
    }
}

/// Reads HTTP/1 messages. Each method may be dropped half-way without losing a byte.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
    framing: Framing,
    trailers: Headers,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new(), framing: Framing::Length(0), trailers: Headers::default() }
    }

    /// The trailer fields of the body that was read last.
    pub fn trailers(&self) -> &Headers {
        &self.trailers
    }

    /// Reads a head, and from then on the body behind it. `None` when the peer closed before its first byte.
    pub async fn head(&mut self, framing: impl FnOnce(&Head) -> io::Result<Framing>) -> io::Result<Option<Head>> {
        while find(&self.buffer, b"\r\n\r\n").is_none() {
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
        let start = self.line().await?;
        let head = Head { start, headers: self.fields().await? };
        self.framing = framing(&head)?;
        self.trailers = Headers::default();
        Ok(Some(head))
    }

    /// The next piece of the body, as it comes in; `None` at its end. A body that is cut off is an error.
    pub async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match &mut self.framing {
                Framing::Length(0) => return Ok(None),
                Framing::ChunkSize => {
                    let line = self.peek_line().await?;
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
                    if size > 0 {
                        self.line().await?;
                        self.framing = Framing::Chunk(size);
                    } else {
                        while find(&self.buffer, b"\r\n\r\n").is_none() {
                            self.need().await?;
                        }
                        self.line().await?;
                        self.trailers = self.fields().await?;
                        self.framing = Framing::Length(0);
                    }
                }
                Framing::Chunk(0) => {
                    if !self.line().await?.is_empty() {
                        return Err(io::Error::other("a chunk is longer than its size"));
                    }
                    self.framing = Framing::ChunkSize;
                }
                Framing::Length(left) | Framing::Chunk(left) if !self.buffer.is_empty() => {
                    let here = self.buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    return Ok(Some(self.buffer.split_to(here).freeze()));
                }
                Framing::Length(_) | Framing::Chunk(_) => self.need().await?,
                Framing::ToClose if !self.buffer.is_empty() => return Ok(Some(self.buffer.split().freeze())),
                Framing::ToClose => {
                    if !self.fill().await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until the peer closes its side; whatever it sends before is kept.
    pub async fn closed(&mut self) -> io::Result<()> {
        while self.fill().await? {}
        Ok(())
    }

    /// Takes everything up to the end of the connection for a body.
    pub fn take_all(&mut self) {
        self.framing = Framing::ToClose;
    }

    /// Whether bytes have come in that belong to no message that was asked for.
    pub fn has_left_over(&self) -> bool {
        !self.buffer.is_empty()
    }

    async fn fields(&mut self) -> io::Result<Headers> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(Headers(fields));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no field: {line:?}")))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn peek_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                return Ok(self.buffer[..end].iter().copied().map(char::from).collect());
            }
            self.need().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = self.peek_line().await?;
        // A char is a byte here.
        let _ = self.buffer.split_to(line.chars().count() + 2);
        Ok(line)
    }

    async fn need(&mut self) -> io::Result<()> {
        if self.fill().await? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(16 << 10);
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}
