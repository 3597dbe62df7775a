//! Streams pass through as they are produced, byte for byte, and end with whoever leaves.

mod support;

use bytes::Bytes;
use serde_json::json;
use support::{Client, Deployed, Ended, Gate, Reply, Step, Upstream, backend, backends};

/// A gateway with the route `m` to this upstream.
fn in_front_of(upstream: &Upstream) -> Deployed {
    Deployed::start(&format!(
        "models: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    ))
}

/// A client that has asked for a stream.
async fn asking(gateway: &Deployed) -> Client {
    let mut client = gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
    client
}

/// What a client gets of a reply.
async fn received(reply: Reply) -> (support::Head, Bytes, Ended) {
    let upstream = Upstream::always(reply);
    let gateway = in_front_of(&upstream);
    let mut client = asking(&gateway).await;
    let head = client.head().await;
    let (body, end) = client.rest().await;
    (head, body, end)
}

#[tokio::test]
async fn every_event_is_with_the_client_before_the_next_is_produced() {
    let gate = Gate::new();
    let texts: Vec<_> = (0..64).map(|n| format!("word {n} ")).collect();
    let upstream = Upstream::always(Reply::chat_stream(texts.iter().map(String::as_str)).gated(&gate));
    let gateway = in_front_of(&upstream);
    let mut client = asking(&gateway).await;
    gate.release();
    let head = client.head().await;
    assert_eq!(head.headers.get("content-type"), Some("text/event-stream"));
    assert_eq!(head.headers.get("content-length"), None);
    for text in &texts {
        let event = client.until("\n\n").await;
        assert!(event.starts_with("data: {") && event.contains(text), "{event}");
        assert_eq!(event.matches("\n\n").count(), 1, "one event at a time: {event}");
        gate.release();
    }
    assert!(client.until("\n\n").await.contains("\"finish_reason\":\"stop\""));
    gate.release();
    assert_eq!(client.until("\n\n").await, "data: [DONE]\n\n");
    assert_eq!(client.rest().await, (Bytes::new(), Ended::Clean));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn whatever_the_events_look_like_the_bytes_are_the_provider_s() {
    let parts: [&[u8]; 9] = [
        b": heartbeat\n\n",
        b"data: {\"a\": 1 }\r\n\r\n",
        b"event: message\rid: 7\rretry: 10\rdata:no space\r\r",
        b"data: one\ndata: two\n\n",
        b"\n\n\n",
        b"data: \xff\xfe not UTF-8\n\n",
        b"data: {\"x\":1e400,\"y\":-0,\"z\":\"\\u00e9\"}\n\n",
        b"unknown: field\n\n",
        b"data: [DONE]\n\n",
    ];
    let reply = parts.iter().fold(Reply::sse(), |reply, part| reply.data(*part)).end();
    let (_, body, end) = received(reply).await;
    assert_eq!((body, end), (parts.concat().into(), Ended::Clean));
}

#[tokio::test]
async fn a_byte_at_a_time_is_the_same() {
    let text = "data: {\"t\":\"žluťoučký 🐎 日本\"}\n\ndata: [DONE]\n\n";
    let bytes = text.bytes().fold(Reply::sse(), |reply, byte| reply.data(vec![byte]));
    let upstream = Upstream::always(bytes.end());
    let gateway = in_front_of(&upstream);
    let mut client = asking(&gateway).await;
    client.head().await;
    assert_eq!(client.rest().await, (Bytes::from(text), Ended::Clean));
}

#[tokio::test]
async fn a_character_is_passed_on_in_halves() {
    let gate = Gate::new();
    let horse = "🐎".as_bytes();
    let reply = Reply::sse().event("1").gate(&gate).data(horse[..2].to_vec()).gate(&gate).data(horse[2..].to_vec());
    let upstream = Upstream::always(reply.end());
    let gateway = in_front_of(&upstream);
    let mut client = asking(&gateway).await;
    client.head().await;
    client.until("data: 1\n\n").await;
    gate.release();
    assert_eq!(client.piece().await.expect("a piece"), horse[..2], "the first half does not wait for the second");
    gate.release();
    assert_eq!(client.rest().await, (Bytes::copy_from_slice(&horse[2..]), Ended::Clean));
}

#[tokio::test]
async fn compressed_answers_pass_as_they_are() {
    let gzipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV\xcaO\xcaR\xb2R(\xcfH,Q\xa8\x05\x00";
    let stream = Reply::sse().header("content-encoding", "gzip").data(&gzipped[..9]).data(&gzipped[9..]).end();
    let whole = Reply::body(200, "application/json", &gzipped[..]).header("content-encoding", "gzip");
    for (reply, kind) in [(stream, "text/event-stream"), (whole, "application/json")] {
        let (head, body, end) = received(reply).await;
        assert_eq!(head.headers.get("content-encoding"), Some("gzip"));
        assert_eq!(head.headers.get("content-type"), Some(kind));
        assert_eq!((body.as_ref(), end), (&gzipped[..], Ended::Clean));
    }
}

#[tokio::test]
async fn a_length_stays() {
    let body = "{\"embedding\":\"AACAPwAAAEA=\"}";
    let (head, received_body, _) = received(Reply::body(200, "application/json", body)).await;
    assert_eq!(head.headers.get("content-length"), Some(&*body.len().to_string()));
    assert_eq!(received_body, body);
}

#[tokio::test]
async fn many_streams_at_a_time_stay_apart() {
    let upstream = Upstream::start(|request| {
        let user = request.json()["user"].as_str().expect("a name").to_owned();
        Reply::chat_stream(std::iter::repeat_n(user.as_str(), 20))
    });
    let gateway = in_front_of(&upstream);
    let mut streams = tokio::task::JoinSet::new();
    for user in 0..50 {
        let mut client = gateway.client().await;
        streams.spawn(async move {
            let user = format!("user-{user}");
            for _ in 0..4 {
                let body = json!({ "model": "m", "user": user });
                client.post("/v1/chat/completions", &body, &[]).await;
                let answer = client.answer().await;
                assert_eq!(answer.events().len(), 22);
                assert_eq!(answer.text().matches(&format!("\"{user}\"")).count(), 20, "{}", answer.text());
                assert_eq!(answer.text().matches("\"user-").count(), 20, "{}", answer.text());
            }
        });
    }
    while let Some(done) = streams.join_next().await {
        done.expect("no panic");
    }
}

mod a_client_that_leaves {
    use super::*;

    /// A client is at this point of a stream, then leaves: the upstream's connection is gone too.
    async fn closes_the_upstream(reply: Reply, until: Option<&str>) {
        for reset in [false, true] {
            let upstream = Upstream::always(reply.clone());
            let gateway = in_front_of(&upstream);
            let mut client = asking(&gateway).await;
            upstream.wait_for(1).await;
            if let Some(until) = until {
                client.head().await;
                client.until(until).await;
            }
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            upstream.closed(0).await;
        }
    }

    #[tokio::test]
    async fn before_the_head_closes_the_upstream() {
        closes_the_upstream(Reply::nothing().stall(), None).await;
    }

    #[tokio::test]
    async fn before_the_first_event_closes_the_upstream() {
        closes_the_upstream(Reply::sse().stall(), None).await;
        closes_the_upstream(Reply::sse().data(": wait\n\n").stall(), None).await;
    }

    #[tokio::test]
    async fn in_the_middle_closes_the_upstream() {
        closes_the_upstream(Reply::sse().event("1").stall(), Some("data: 1\n\n")).await;
        let half = Reply::new(200).header("content-type", "application/json").header("content-length", "100");
        closes_the_upstream(half.data("{\"half\":").stall(), Some("{\"half\":")).await;
    }

    #[tokio::test]
    async fn while_the_provider_talks_on_closes_the_upstream() {
        // More than all buffers on the way hold.
        let reply = Reply::sse().flood("data: x\n\n".repeat(8 * 1024), 4096).done();
        closes_the_upstream(reply, Some("data: x\n\n")).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_provider() {
    const CHUNK: usize = 64 * 1024;
    const ALL: u64 = 256 << 20;
    let flood = Reply::sse().flood(Bytes::from(vec![b'x'; CHUNK]), (ALL as usize) / CHUNK);
    let upstream = Upstream::always(flood.step(Step::Stall));
    let gateway = in_front_of(&upstream);
    let mut client = asking(&gateway).await;
    client.head().await;
    client.piece().await.expect("a piece");
    // Stands still when nothing was taken for a while; that it has by then, or not yet, changes nothing below.
    let mut sent = 0;
    while upstream.sent() > sent {
        sent = upstream.sent();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(sent < ALL / 4, "{sent} bytes were taken from the provider for a client that reads nothing");
    // It goes on with the client.
    let mut read = 0;
    while read < sent * 2 {
        read += client.piece().await.expect("a piece").len() as u64;
    }
    assert!(upstream.sent() > sent);
}
