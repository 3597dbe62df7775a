use std::{io, net::SocketAddr};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    Head, Headers, guard,
    wire::{Framing, Reader},
};

/// How a body or a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In good order: the length was reached, the last chunk came, the peer closed.
    Clean,
    /// Cut off: short of its length, without its last chunk, or by a reset.
    Cut,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields, as sent.
    pub headers: Headers,
    /// The body, without its framing.
    pub body: Bytes,
    /// How the body ended.
    pub end: Ended,
}

impl Answer {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The data of each event of a stream whose events have one `data` line each.
    pub fn events(&self) -> Vec<&str> {
        self.text().lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }
}

/// One HTTP/1.1 connection, driven by hand: what is sent is sent as it is, what comes back is seen as it comes.
#[derive(Debug)]
pub struct Client {
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    addr: SocketAddr,
    /// The answer to a HEAD has no body, whatever its head says.
    asked_head: bool,
}

impl Client {
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap_or_else(|error| panic!("connecting to {addr}: {error}"));
        stream.set_nodelay(true).expect("an open socket takes the option");
        let (read, writer) = stream.into_split();
        Self { reader: Reader::new(read), writer, addr, asked_head: false }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the peer reads what is sent");
    }

    /// Sends bytes as they are to a peer that may have closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        self.asked_head = bytes.starts_with(b"HEAD ");
        guard("the peer to read", self.writer.write_all(bytes)).await
    }

    /// Sends a well-formed request, with `host` and, for a body, `content-length` in front of the given fields.
    pub async fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.send([head.as_bytes(), b"\r\n", body].concat()).await;
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&mut self, target: &str, json: &Value, headers: &[(&str, &str)]) {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.request("POST", target, &headers, json.to_string().as_bytes()).await;
    }

    /// Reads the head of the next answer, an informational one included.
    pub async fn head(&mut self) -> Head {
        self.try_head().await.expect("the peer answers before it closes")
    }

    /// Reads the head of the next answer; `None` when the peer closes, resets or speaks no HTTP instead.
    pub async fn try_head(&mut self) -> Option<Head> {
        let asked_head = self.asked_head;
        let framing = |head: &Head| if asked_head { Ok(Framing::Length(0)) } else { Framing::of_response(head) };
        guard("the head of an answer", self.reader.head(framing)).await.ok().flatten()
    }

    /// Reads the next piece of the body, or how the body ended.
    pub async fn piece(&mut self) -> Result<Bytes, Ended> {
        match guard("a piece of the body", self.reader.piece()).await {
            Ok(Some(piece)) => Ok(piece),
            Ok(None) => Err(Ended::Clean),
            Err(_) => Err(Ended::Cut),
        }
    }

    /// Reads on in the body until `needle` has come, and returns what was read.
    pub async fn until(&mut self, needle: &str) -> String {
        let mut read = Vec::new();
        loop {
            match self.piece().await {
                Ok(piece) => read.extend_from_slice(&piece),
                Err(end) => panic!("{end:?} end before {needle:?}, after {:?}", String::from_utf8_lossy(&read)),
            }
            let text = String::from_utf8_lossy(&read);
            if text.contains(needle) {
                return text.into_owned();
            }
        }
    }

    /// Reads the rest of the body.
    pub async fn rest(&mut self) -> (Bytes, Ended) {
        let mut read = Vec::new();
        loop {
            match self.piece().await {
                Ok(piece) => read.extend_from_slice(&piece),
                Err(end) => return (read.into(), end),
            }
        }
    }

    /// Reads what comes next, byte for byte and not as HTTP.
    pub async fn anything(&mut self) -> Bytes {
        self.reader.take_all();
        self.piece().await.unwrap_or_default()
    }

    /// Reads everything up to the end of the connection, byte for byte and not as HTTP.
    pub async fn everything(&mut self) -> (Bytes, Ended) {
        self.reader.take_all();
        self.rest().await
    }

    /// Reads a whole answer, past informational ones.
    pub async fn answer(&mut self) -> Answer {
        let mut head = self.head().await;
        while head.status() < 200 {
            head = self.head().await;
        }
        let (body, end) = self.rest().await;
        Answer { status: head.status(), headers: head.headers, body, end }
    }

    /// The trailer fields of the body that was read to its end.
    pub fn trailers(&self) -> &Headers {
        self.reader.trailers()
    }

    /// Waits until the peer closes the connection, and says how. Bytes that come before fail the test.
    pub async fn closed(&mut self) -> Ended {
        let closed = guard("the peer to close", self.reader.closed()).await;
        assert!(!self.reader.has_left_over(), "the peer sent more before it closed");
        if closed.is_ok() { Ended::Clean } else { Ended::Cut }
    }

    /// Leaves with a reset, as a process that was killed does.
    pub fn reset(self) {
        self.writer.as_ref().set_zero_linger().expect("an open socket takes the option");
        self.writer.forget();
    }
}

/// Sends one POST on a connection of its own.
pub async fn post_json(addr: SocketAddr, target: &str, json: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut client = Client::connect(addr).await;
    client.post(target, json, headers).await;
    client.answer().await
}

/// Sends one GET on a connection of its own.
pub async fn get(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut client = Client::connect(addr).await;
    client.request("GET", target, headers, b"").await;
    client.answer().await
}
