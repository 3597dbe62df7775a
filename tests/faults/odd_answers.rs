//! Answers that are no clean failure and no clean success.

use std::time::Duration;

use serde_json::json;

use crate::{
    Pair, SHORT, direct, limited,
    support::{Deployed, Ended, Gate, Reply, Step, Upstream, backend, backends, guard, post_json},
};

/// Sends pieces without end.
fn endless(first: &'static str, piece: &'static str) -> Reply {
    let mut reply = Reply::raw(first);
    for _ in 0..2000 {
        reply = reply.step(Step::Raw(piece.into()));
    }
    reply.stall()
}

#[tokio::test]
async fn heads_without_end_go_on() {
    for (what, reply) in [
        (
            "fields",
            endless("HTTP/1.1 200 OK\r\n", concat!("x-a: ", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "\r\n")),
        ),
        ("one field", endless("HTTP/1.1 200 OK\r\nx-a: ", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")),
        ("informational heads", endless("", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")),
        ("go-aheads", endless("", "HTTP/1.1 100 Continue\r\n\r\n")),
    ] {
        Pair::new(reply, "", SHORT).goes_on(what).await;
    }
    let trickled =
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n").trickled(Duration::from_millis(20));
    Pair::new(trickled, "", SHORT).goes_on("a head byte by byte").await;
}

#[tokio::test]
async fn large_heads_are_bounded() {
    for bytes in [100 << 10, 1 << 20, 64 << 20] {
        let reply = Reply::chat("from a").huge_headers(bytes);
        let pair = Pair::new(reply, "", "");
        let answer = pair.gateway.chat("m").await;
        assert_eq!(answer.status, 200, "{bytes}");
        if bytes > 1 << 20 {
            assert_eq!(answer.header("x-pointsman-provider"), Some("b"), "{bytes}");
        }
    }
}

#[tokio::test]
async fn informational_heads_before_the_answer_are_no_answer() {
    for early in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"] {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
        let pair = Pair::new(Reply::raw(early.repeat(2) + text), "", "");
        let answer = pair.gateway.chat("m").await;
        assert_eq!((answer.status, answer.text(), answer.header("link")), (200, "{\"a\":1}", None));
        assert_eq!(answer.header("x-pointsman-provider"), Some("a"));
    }
}

#[tokio::test]
async fn a_switch_of_protocols_goes_on() {
    let reply =
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello");
    Pair::new(reply, "", SHORT).goes_on("101").await;
}

#[tokio::test]
async fn what_follows_an_answer_belongs_to_none() {
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsmuggle";
    let bodiless = |status: u16| Reply::new(status).step(Step::Raw(smuggled.into()));
    let replies: [(&str, Reply, u16); 5] = [
        ("a length", limited(2).data(format!("{{}}{smuggled}")), 200),
        (
            "a last chunk",
            Reply::new(200).header("transfer-encoding", "chunked").data("{}").end().step(Step::Raw(smuggled.into())),
            200,
        ),
        ("a last event", Reply::sse().event("1").done().step(Step::Raw(smuggled.into())), 200),
        ("a 204", bodiless(204), 204),
        ("a 304", bodiless(304), 304),
    ];
    for (what, odd, status) in replies {
        let script = [odd, Reply::chat("honest"), Reply::chat("honest")];
        let pair = Pair::of(Upstream::script(script), "", "");
        let first = pair.gateway.chat("m").await;
        assert_eq!((first.status, first.end), (status, Ended::Clean), "{what}: {}", first.text());
        assert!(!first.text().contains("smuggle"), "{what}: {}", first.text());
        for _ in 0..2 {
            let next = pair.gateway.chat("m").await;
            assert!(next.text().contains("honest"), "{what}: {}", next.text());
        }
        let connections: Vec<_> = pair.a.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections[0], 0);
        assert!(connections[1..].iter().all(|connection| *connection > 0), "{what}: {connections:?}");
    }
}

#[tokio::test]
async fn redirects_are_handed_on_and_never_followed() {
    let elsewhere = Upstream::script([]);
    for status in [300, 301, 302, 303, 307, 308] {
        let target = elsewhere.url("/v1/chat/completions");
        let pair = Pair::new(Reply::redirect(status, &target), "", "");
        let answer = pair.ends("a redirect", 0).await;
        assert_eq!((answer.status, answer.header("location")), (status, Some(&*target)));
    }
    assert!(elsewhere.requests().is_empty() && elsewhere.connections() == 0);
}

#[tokio::test]
async fn an_error_page_is_judged_by_its_status_and_handed_on_as_it_is() {
    let page = |status: u16| Reply::body(status, "text/html; charset=utf-8", "<html><h1>Bad gateway</h1></html>");
    for status in [429, 500, 502, 503, 520, 524, 530] {
        Pair::new(page(status), "", "").goes_on(&status.to_string()).await;
    }
    let upstream = Upstream::always(page(502));
    let gateway = Deployed::start(&format!(
        "models: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    ));
    for answer in [gateway.chat("m").await, gateway.stream("m").await] {
        assert_eq!((answer.status, answer.end), (502, Ended::Clean));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.text(), direct(&upstream, false).await.text());
    }
}

#[tokio::test]
async fn encoded_bodies_pass_untouched() {
    // A gzip stream whose header is all that is whole.
    let bytes: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\xca\x48\xcd\xc9\xc9\x07\x00\xff\xfe";
    for content_type in ["application/json", "text/event-stream"] {
        for encoding in ["gzip", "br", "zstd", "deflate", "unheard-of"] {
            let reply = Reply::body(200, content_type, bytes).header("content-encoding", encoding);
            let pair = Pair::new(reply, "", "");
            let answer = pair.ends(encoding, 0).await;
            assert_eq!(
                (answer.status, answer.end, answer.header("content-encoding")),
                (200, Ended::Clean, Some(encoding))
            );
            assert_eq!(answer.body, bytes);
        }
    }
    // An encoded error is an error still.
    let reply = Reply::body(500, "application/json", bytes).header("content-encoding", "gzip");
    Pair::new(reply, "", "").goes_on("an encoded 500").await;
}

#[tokio::test]
async fn bytes_that_are_no_text_pass_untouched() {
    let event: &[u8] = b"data: {\"text\":\"\xff\xfe\xc3\x28\"}\n\n";
    let pair = Pair::new(Reply::sse().data(event).data(event).end(), "", "");
    let answer = pair.ends("events", 0).await;
    assert_eq!((answer.end, &answer.body[..]), (Ended::Clean, &[event, event].concat()[..]));
    let json: &[u8] = b"{\"text\":\"\xf0\x28\x8c\x28\0\"}";
    let pair = Pair::new(Reply::body(200, "application/json", json), "", "");
    let answer = pair.ends("a body", 0).await;
    assert_eq!((answer.end, &answer.body[..]), (Ended::Clean, json));
    // And an error among them is found.
    let error: &[u8] = b"data: {\"error\":{\"message\":\"\xff\xfe\"}}\n\n";
    let answer = Pair::new(Reply::sse().data(error).done(), "", "").gateway.stream("m").await;
    assert_eq!((answer.status, answer.end), (200, Ended::Clean));
}

/// The layer that waits for the first event holds 1 MiB of it, and passes on the rest as it comes.
#[tokio::test]
async fn events_of_10_mib_pass_and_are_not_held() {
    let part = "x".repeat(64 << 10);
    let parts = 10 << 4;
    let gate = Gate::new();
    let mut reply = Reply::sse().data("data: {\"text\":\"");
    for number in 0..parts {
        if number == parts / 2 {
            reply = reply.gate(&gate);
        }
        reply = reply.data(part.clone());
    }
    let pair = Pair::new(reply.data("\"}\n\n").done(), "", "");
    let mut client = pair.gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
    // 5 MiB are sent, and no event is whole: the head is here although.
    assert_eq!(guard("the head", client.head()).await.status(), 200);
    gate.open();
    let (body, end) = client.rest().await;
    assert_eq!((end, body.len()), (Ended::Clean, 15 + (10 << 20) + 4 + "data: [DONE]\n\n".len()));
    assert_eq!(pair.errors(), (0, 0));
}

#[tokio::test]
async fn a_trickle_is_no_silence() {
    let reply = Reply::chat_stream(["a", "b"]).trickled(Duration::from_millis(2));
    let pair = Pair::new(reply, "", "timeouts: { headers: 5s, idle: 150ms }");
    let answer = pair.ends("a trickle", 0).await;
    assert_eq!((answer.status, answer.end), (200, Ended::Clean));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn an_answer_before_the_request_is_whole_is_an_answer() {
    // Answers as soon as the head is here, and closes: what a body limit of a provider looks like.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let root = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 1024];
            let _ = stream.read(&mut some).await;
            let answer = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut some).await.is_ok_and(|read| read > 0) {}
        }
    });
    let gateway = Deployed::start(&format!(
        "models: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &root, "")])
    ));
    let body = json!({ "model": "m", "text": "x".repeat(8 << 20) });
    let answer = post_json(gateway.addr(), "/v1/chat/completions", &body, &[]).await;
    assert_eq!((answer.status, answer.text()), (413, "{}"));
}
