use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Failure;

/// One connection of a client that reads answers no further than it must.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// What was read and not handed out.
    read: Vec<u8>,
}

/// How the end of an answer is found.
enum End {
    After(usize),
    LastChunk,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request and reads its answer to the end. Anything but a 200 is a failure.
    ///
    /// The body is returned as it came, chunk sizes included.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        let start = self.send(request).await?;
        let end = End::of(&self.read[..start])?;
        while !end.is_reached(&self.read[start..]) {
            self.read_more().await?;
        }
        Ok(&self.read[start..])
    }

    /// Sends a request and reads the head of its answer; returns where the body begins.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<usize, Failure> {
        self.read.clear();
        self.stream.write_all(request).await?;
        loop {
            if let Some(end) = memmem::find(&self.read, b"\r\n\r\n") {
                if self.read.starts_with(b"HTTP/1.1 200") {
                    return Ok(end + 4);
                }
                self.read_more().await?;
                return Err(format!("no 200, but {}", String::from_utf8_lossy(&self.read)).into());
            }
            self.read_more().await?;
        }
    }

    /// What was read so far, and more of it than the last time.
    pub(crate) async fn read_more(&mut self) -> Result<&mut Vec<u8>, Failure> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err("the connection was closed".into()),
            _ => Ok(&mut self.read),
        }
    }
}

impl End {
    fn of(head: &[u8]) -> Result<Self, Failure> {
        for line in std::str::from_utf8(head)?.lines() {
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    return Ok(Self::After(value.trim().parse()?));
                }
                Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => return Ok(Self::LastChunk),
                _ => {}
            }
        }
        Err("an answer without a length".into())
    }

    fn is_reached(&self, body: &[u8]) -> bool {
        match self {
            Self::After(length) => body.len() >= *length,
            Self::LastChunk => body.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}
