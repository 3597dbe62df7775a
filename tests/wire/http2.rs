//! HTTP/2 with prior knowledge, frame by frame, and its known floods.

use pointsman::server::Limits;

use crate::{
    CHAT, GOOD, serve,
    support::{Client, Gate, Reply, Site, Upstream, get, guard},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field that is not indexed; its lengths need one byte each.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    assert!(name.len() < 127 && value.len() < 127);
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// The fields of a request; those of the static table by their index.
fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let method = match method {
        "GET" => vec![0x82],
        "POST" => vec![0x83],
        other => field(":method", other),
    };
    let more = more.iter().flat_map(|(name, value)| field(name, value));
    [method, vec![0x86], field(":path", path), field(":authority", "h")].concat().into_iter().chain(more).collect()
}

fn get_head() -> Vec<u8> {
    head("GET", "/health", &[])
}

/// A connection of HTTP/2, by hand.
struct Http2 {
    client: Client,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2 {
    async fn connect(site: &Site) -> Self {
        let mut http2 = Self { client: site.client().await, buffer: Vec::new() };
        http2.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        http2
    }

    async fn send(&mut self, bytes: Vec<u8>) {
        // What is sent to a server that has had enough may not arrive.
        let _ = self.client.try_send(bytes).await;
    }

    /// The next frame; `None` at the end of the connection.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if rest.len() >= length {
                    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
                    let frame = Frame { kind: head[3], flags: head[4], stream, payload: rest[..length].to_vec() };
                    self.buffer.drain(..9 + length);
                    return Some(frame);
                }
            }
            let more = self.client.anything().await;
            if more.is_empty() {
                return None;
            }
            self.buffer.extend_from_slice(&more);
        }
    }

    /// Reads on up to a frame of this kind.
    async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the connection ended before a frame {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The body of the answer on a stream, with the first byte of its head: an index of the static table for the usual
    /// statuses.
    async fn answer(&mut self, stream: u32) -> (u8, String) {
        let mut status = 0;
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.expect("an answer before the end");
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = frame.payload[0],
                DATA => body.extend(frame.payload),
                kind => panic!("a frame {kind} on the stream: {:?}", frame.payload),
            }
            if frame.flags & END_STREAM != 0 {
                return (status, String::from_utf8(body).expect("text"));
            }
        }
    }

    /// The connection is given up by the server, for this reason.
    async fn given_up(mut self, reason: u8) {
        let goaway = guard("the end of the flood", self.until(GOAWAY)).await;
        assert_eq!(goaway.payload[4..8], [0, 0, 0, reason], "{goaway:?}");
        while self.next().await.is_some() {}
    }
}

const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8c;

const PROTOCOL_ERROR: u8 = 1;
const ENHANCE_YOUR_CALM: u8 = 11;

#[tokio::test]
async fn is_served_on_the_same_port() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let mut http2 = Http2::connect(&site).await;
    for stream in [1, 3] {
        http2.send(frame(HEADERS, END_HEADERS, stream, &head("POST", CHAT, &[]))).await;
        http2.send(frame(DATA, END_STREAM, stream, GOOD.as_bytes())).await;
        let (status, body) = http2.answer(stream).await;
        assert!(status == STATUS_200 && body.contains("hello"), "{status:x} {body}");
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn has_many_streams_on_one_connection() {
    let gate = Gate::new();
    let upstream = Upstream::always(Reply::sse().gate(&gate).event("1").done());
    let site = serve(&upstream, Limits::default()).await;
    let mut http2 = Http2::connect(&site).await;
    for stream in [1, 3, 5] {
        http2.send(frame(HEADERS, END_HEADERS, stream, &head("POST", CHAT, &[]))).await;
        http2.send(frame(DATA, END_STREAM, stream, GOOD.as_bytes())).await;
    }
    upstream.wait_for(3).await;
    // One that the client gives up is felt upstream, and the others go on.
    http2.send(frame(RST_STREAM, 0, 3, &[0, 0, 0, 8])).await;
    guard("the end of a stream", async {
        while upstream.open_connections() > 2 {
            tokio::task::yield_now().await
        }
    })
    .await;
    gate.open();
    let mut ended = 0;
    while ended < 2 {
        let frame = http2.next().await.expect("answers");
        assert_ne!(frame.stream, 3);
        ended += usize::from(frame.kind == DATA && frame.flags & END_STREAM != 0);
    }
}

#[tokio::test]
async fn heads_are_checked_as_in_http_1() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let many: Vec<_> = (0..101).map(|_| ("x-a", "b")).collect();
    for (head, code) in [
        (head("GET", "/health", &[("host", "another")]), "invalid_host"),
        (head("TRACE", "/health", &[]), "method_not_allowed"),
        (head("GET", "/health", &many), "too_many_headers"),
    ] {
        let mut http2 = Http2::connect(&site).await;
        http2.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
        let (status, body) = http2.answer(1).await;
        assert!(body.contains(code), "{body}");
        assert!(status != STATUS_200 && (code != "invalid_host" || status == STATUS_400), "{status:x}");
    }
    // Fields of a connection, which another hop could take for framing, make a stream malformed.
    for (name, value) in [("transfer-encoding", "chunked"), ("connection", "close"), ("X-Upper", "a")] {
        let mut http2 = Http2::connect(&site).await;
        http2.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/health", &[(name, value)]))).await;
        let reset = guard("a reset", async {
            loop {
                let frame = http2.next().await.expect("a reset before the end");
                if matches!(frame.kind, RST_STREAM | GOAWAY) {
                    return frame;
                }
                assert_ne!(frame.kind, HEADERS, "{name} was answered");
            }
        })
        .await;
        assert!(reset.payload.contains(&PROTOCOL_ERROR), "{name}: {reset:?}");
    }
}

#[tokio::test]
async fn rapid_resets_are_bounded() {
    let upstream = Upstream::always(Reply::nothing().stall());
    let site = serve(&upstream, Limits::default()).await;
    let mut http2 = Http2::connect(&site).await;
    let mut flood = Vec::new();
    for stream in (1..2000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, stream, &head("POST", CHAT, &[])));
        flood.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    http2.send(flood).await;
    http2.given_up(ENHANCE_YOUR_CALM).await;
    assert_eq!(get(site.addr, "/health", &[]).await.status, 200);
}

#[tokio::test]
async fn endless_heads_are_bounded() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let mut http2 = Http2::connect(&site).await;
    http2.send(frame(HEADERS, END_STREAM, 1, &get_head())).await;
    let many: Vec<u8> = (0..100).flat_map(|_| field("x-a", &"b".repeat(100))).collect();
    for _ in 0..1000 {
        http2.send(frame(CONTINUATION, 0, 1, &many)).await;
    }
    http2.given_up(ENHANCE_YOUR_CALM).await;

    // Empty frames, which make no head larger.
    let mut http2 = Http2::connect(&site).await;
    http2.send(frame(HEADERS, END_STREAM, 1, &get_head())).await;
    http2.send(frame(CONTINUATION, 0, 1, &[]).repeat(10_000)).await;
    http2.given_up(ENHANCE_YOUR_CALM).await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let mut http2 = Http2::connect(&site).await;
    let large: Vec<u8> = (0..700).flat_map(|_| field("x-a", &"b".repeat(100))).collect();
    http2.send(frame(HEADERS, END_STREAM, 1, &get_head())).await;
    for part in large.chunks(16_000) {
        http2.send(frame(CONTINUATION, 0, 1, part)).await;
    }
    http2.send(frame(CONTINUATION, END_HEADERS, 1, &[])).await;
    let (_, body) = http2.answer(1).await;
    assert_eq!(body, "", "h2 answers 431 by itself");
    // The connection goes on.
    http2.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &get_head())).await;
    assert_eq!(http2.answer(3).await.0, STATUS_200);
}

/// A client that asks for answers to its own frames and reads none of them: the server stops reading.
#[tokio::test]
async fn pings_and_settings_are_answered_no_faster_than_they_are_read() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut http2 = Http2::connect(&site).await;
        // Read on, each is answered, and requests too.
        http2.send(flood.repeat(1000)).await;
        http2.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_head())).await;
        let mut acknowledged = 0;
        loop {
            let frame = http2.next().await.expect("an answer");
            acknowledged += usize::from(frame.kind == flood[3] && frame.flags & ACK != 0);
            if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        assert!(acknowledged > 0);

        // Not read, they fill the socket, and then nothing more is taken.
        let mut http2 = Http2::connect(&site).await;
        let flood = flood.repeat(10_000);
        let stuck = tokio::time::timeout(std::time::Duration::from_secs(2), async {
            for _ in 0..2_000 {
                http2.send(flood.clone()).await;
            }
        });
        assert!(stuck.await.is_err(), "the server took more than 100 MB of it");
        assert_eq!(get(site.addr, "/health", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_not_http_2_ends_the_connection() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let mut http2 = Http2::connect(&site).await;
    http2.send(frame(DATA, 0, 1, b"no stream")).await;
    http2.given_up(PROTOCOL_ERROR).await;
    let mut http2 = Http2::connect(&site).await;
    http2.send(frame(HEADERS, END_HEADERS, 1, &[0xff; 20])).await;
    http2.given_up(PROTOCOL_ERROR).await;
}

#[tokio::test]
async fn idle_connections_are_told_to_go_away() {
    let upstream = Upstream::script([]);
    let limits = Limits { keep_alive_timeout: std::time::Duration::from_millis(200), ..Limits::default() };
    let site = serve(&upstream, limits).await;
    let mut http2 = Http2::connect(&site).await;
    http2.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_head())).await;
    assert_eq!(http2.answer(1).await.0, STATUS_200);
    let goaway = guard("a farewell", http2.until(GOAWAY)).await;
    assert_eq!(goaway.payload[4..8], [0; 4], "without an error: {goaway:?}");
    // The last word waits for the ping that comes with the first.
    let ping = http2.until(PING).await;
    http2.send(frame(PING, ACK, 0, &ping.payload)).await;
    while http2.next().await.is_some() {}
}
