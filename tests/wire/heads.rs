//! Heads that another server on the way could read in another way, and odd ones that are fine.

use std::time::Duration;

use pointsman::server::Limits;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tokio::task::JoinSet;

use crate::{
    CHAT, GOOD, request, serve, serve_with,
    support::{Answer, Client, Ended, Gate, Reply, Site, Upstream, guard},
};

const HELLO: &str = "HTTP/1.1 200 OK";

/// Sends bytes on a connection of its own, and a further request behind them, which must not be looked at.
async fn refused(site: &Site, bytes: &str) -> Answer {
    let mut client = site.client().await;
    // It may be refused before it is all sent.
    let _ = client.try_send([bytes, &request("x-smuggled: 1\r\n")].concat()).await;
    let answer = client.answer().await;
    assert!(answer.status >= 400, "{} for {bytes:?}", answer.status);
    assert!(matches!(client.closed().await, Ended::Clean | Ended::Cut), "{bytes:?}");
    answer
}

/// The gateway's own refusals have a body, and an id.
fn is_ours(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.end), (status, Ended::Clean), "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"), "{code}");
    assert!(answer.header("x-request-id").is_some_and(|id| id.len() > 16), "{code}");
}

#[tokio::test]
async fn of_two_readings_are_refused_and_the_connection_closed() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let post = |fields: &str, body: &str| format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{fields}\r\n{body}");
    let chunked = "d\r\n{\"model\":\"m\"}\r\n0\r\n\r\n";
    for (request, code) in [
        (post("content-length: 13\r\ntransfer-encoding: chunked\r\n", chunked), "ambiguous_length"),
        (post("transfer-encoding: chunked\r\ncontent-length: 13\r\n", chunked), "ambiguous_length"),
        (post("Content-Length:\t3\r\nTRANSFER-ENCODING:chunked\r\n", chunked), "ambiguous_length"),
        (post("content-length: 13\r\ncontent-length: 13\r\n", GOOD), "ambiguous_length"),
        (post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", chunked), "invalid_transfer_encoding"),
        (post("transfer-encoding: chunked, chunked\r\n", chunked), "invalid_transfer_encoding"),
        (post("transfer-encoding: gzip, chunked\r\n", chunked), "invalid_transfer_encoding"),
        (post("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", chunked), "invalid_transfer_encoding"),
        (format!("POST {CHAT} HTTP/1.1\nhost: h\r\ncontent-length: 13\r\n\r\n{GOOD}"), "invalid_line_end"),
        (format!("POST {CHAT} HTTP/1.1\r\nhost: h\ncontent-length: 13\r\n\r\n{GOOD}"), "invalid_line_end"),
        (format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 13\r\n\n{GOOD}"), "invalid_line_end"),
        (format!("POST {CHAT} HTTP/1.1\r\ncontent-length: 13\r\n\r\n{GOOD}"), "invalid_host"),
        (post("host: h\r\ncontent-length: 13\r\n", GOOD), "invalid_host"),
        (format!("POST {CHAT} HTTP/1.0\r\nhost: a\r\nhost: b\r\ncontent-length: 13\r\n\r\n{GOOD}"), "invalid_host"),
    ] {
        is_ours(&refused(&site, &request).await, 400, code);
    }
    assert!(upstream.requests().is_empty());
}

/// hyper finds these out by itself, before a request is made of them; the answer is the gateway's even so.
#[tokio::test]
async fn that_are_no_http_are_refused_too() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let two_lengths = "content-length: 13\r\ncontent-length: 14\r\n";
    is_ours(
        &refused(&site, &format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{two_lengths}\r\n{GOOD}")).await,
        400,
        "ambiguous_length",
    );
    for fields in [
        "content-length: 13, 14\r\n",
        "content-length: -13\r\n",
        "content-length: +13\r\n",
        "content-length: 0xd\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding : chunked\r\n",
        "content-length : 13\r\n",
        "x-folded: a\r\n b\r\ncontent-length: 13\r\n",
        " x: leading\r\ncontent-length: 13\r\n",
        "x\0y: nul\r\n",
        "x-y: nul\0\r\n",
        "x-y: a\rb\r\n",
        "no colon here\r\n",
        ": no name\r\n",
    ] {
        let answer = refused(&site, &format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{fields}\r\n{GOOD}")).await;
        is_ours(&answer, 400, "invalid_http");
    }
    let with_encoding = format!("POST {CHAT} HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    for request in [
        &*with_encoding,
        "GET / HTTP/1.2\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nS\r\n",
    ] {
        is_ours(&refused(&site, request).await, 400, "invalid_http");
    }
    assert!(upstream.requests().is_empty());
}

/// The refusal of one is never taken for a part of another's answer, nor the other way around.
#[tokio::test]
async fn that_are_no_http_are_refused_behind_others() {
    // A provider whose last words look like a refusal of hyper's own.
    let bare = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let gate = Gate::new();
    let answer = Reply::new(200).header("content-length", &(bare.len() + 1).to_string());
    let upstream = Upstream::always(answer.data("1").gate(&gate).data(bare));
    let site = serve(&upstream, Limits::default()).await;
    for good in [1, 2, 5] {
        let mut client = site.client().await;
        client.send([request("").repeat(good), "no http\r\n\r\n".to_owned(), request("")].concat()).await;
        for _ in 0..good {
            assert_eq!(client.head().await.start, HELLO);
            client.until("1").await;
            gate.release();
            assert_eq!(client.rest().await, (bare.into(), Ended::Clean));
        }
        is_ours(&client.answer().await, 400, "invalid_http");
        client.closed().await;
    }
    assert_eq!(upstream.requests().len(), 8);
}

#[tokio::test]
async fn behind_other_requests_are_found() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let chunked = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{{\"mo\r\n9;x=\"y\"\r\ndel\":\"m\"}}\r\n0\r\nt: u\r\n\r\n"
    );
    let bad =
        format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let mut client = site.client().await;
    client.send([request(""), chunked, request(""), bad, request("")].concat()).await;
    for _ in 0..3 {
        assert_eq!(client.answer().await.status, 200);
    }
    is_ours(&client.answer().await, 400, "ambiguous_length");
    client.closed().await;
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn keep_the_client_s_id_in_a_refusal() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let answer = refused(&site, "GET /health HTTP/1.1\r\nx-request-id: mine-7\r\n\r\n").await;
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
}

#[tokio::test]
async fn with_odd_hosts_are_refused() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    for host in ["", "a b", "user@h", "h:", "h:99999", "h:8x", "h/path", "a,b", "[::1", "h?x", "h#x", "\u{e9}"] {
        let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\n\r\n");
        is_ours(&refused(&site, &request).await, 400, "invalid_host");
    }
    is_ours(&refused(&site, "GET http://a/health HTTP/1.1\r\nhost: b\r\n\r\n").await, 400, "invalid_host");
}

#[tokio::test]
async fn with_usual_hosts_and_in_other_forms_are_fine() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    let mut client = site.client().await;
    for (target, host) in [
        ("/health", "h"),
        ("/health", "localhost:8000"),
        ("/health", "127.0.0.1:1"),
        ("/health", "[::1]:8000"),
        ("/health", "a_b.example.com."),
        ("http://h:80/health", "H:80"),
        ("https://example.com/health", "example.com"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200, "{target} {host}");
    }
}

#[tokio::test]
async fn of_tunnels_and_mirrors_are_refused() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    for head in
        ["CONNECT h:443 HTTP/1.1\r\nhost: h:443", "TRACE /health HTTP/1.1\r\nhost: h", "TRACE * HTTP/1.1\r\nhost: h"]
    {
        let answer = refused(&site, &format!("{head}\r\n\r\n")).await;
        is_ours(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
    }
}

#[tokio::test]
async fn with_targets_in_other_forms_lead_nowhere_else() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    for (start, status, code) in [
        ("OPTIONS *", 404, "unknown_path"),
        ("GET *", 404, "unknown_path"),
        ("GET http://user:password@h/health", 400, "invalid_host"),
        ("GET http://h@other/health", 400, "invalid_host"),
        ("GET //h/health", 400, "invalid_path"),
        ("GET h:80", 400, "invalid_host"),
        ("GET http:///health", 400, "invalid_http"),
        ("GET health", 400, "invalid_host"),
        ("GET http://h", 404, "unknown_path"),
        ("get /health", 404, "unknown_path"),
        ("POST http://h/v1/chat/completions/../../admin", 400, "invalid_path"),
    ] {
        let mut client = site.client().await;
        client.send(format!("{start} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)), "{start}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn of_http_1_0_are_answered() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    for (fields, stays) in [("", false), ("connection: keep-alive\r\n", true)] {
        let mut client = site.client().await;
        let request = format!("POST {CHAT} HTTP/1.0\r\n{fields}content-length: 13\r\n\r\n{GOOD}");
        client.send(&request).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (200, Ended::Clean), "{fields}");
        if stays {
            client.send(&request).await;
            assert_eq!(client.answer().await.status, 200);
        } else {
            assert_eq!(client.closed().await, Ended::Clean);
        }
    }
    // A stream has no length, and HTTP/1.0 knows no chunks: it ends with the connection.
    let upstream = Upstream::always(Reply::chat_stream(["hello"]));
    let site = serve(&upstream, Limits::default()).await;
    let mut client = site.client().await;
    client.send(format!("POST {CHAT} HTTP/1.0\r\ncontent-length: 27\r\n\r\n{{\"model\":\"m\",\"stream\":true}}")).await;
    let answer = client.answer().await;
    assert_eq!((answer.header("transfer-encoding"), answer.end), (None, Ended::Clean));
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
}

#[tokio::test]
async fn sent_at_once_are_answered_in_order() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let mut client = site.client().await;
    let health = "GET /health HTTP/1.1\r\nhost: h\r\n\r\n".to_owned();
    client.send([request("x: 1\r\n"), health.clone(), request("x: 2\r\n"), health].concat()).await;
    for expected in ["hello", "ok", "hello", "ok"] {
        let answer = client.answer().await;
        assert!(answer.status == 200 && answer.text().contains(expected), "{}", answer.text());
    }
    let seen: Vec<_> =
        upstream.requests().iter().filter_map(|request| request.header("x").map(str::to_owned)).collect();
    assert_eq!(seen, ["1", "2"]);
}

#[tokio::test]
async fn byte_by_byte_are_read() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let mut client: Client = site.client().await;
    for byte in request("").into_bytes() {
        client.send([byte]).await;
    }
    client.send(request("")).await;
    for _ in 0..2 {
        let head = client.head().await;
        assert_eq!(head.start, HELLO);
        client.rest().await;
    }
}

/// Pieces of good and of bad heads, in any order.
fn any_heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET /health HTTP/1.1\r\n",
        "GET ",
        "/",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "PRI * HTTP/2.0\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\n",
        "host: h\r\n",
        "host : h\r\n",
        "content-length: 1\r\n",
        "content-length: x\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: x\r\n",
        "expect: 100-continue\r\n",
        "connection: close\r\n",
        "upgrade: h2c\r\n",
        "x-y: \u{e9}\r\n",
        " folded\r\n",
        "\0",
        "\r",
        "\n",
        ":",
        "\r\n",
        "\r\n\r\n",
        "0\r\n\r\n",
    ]);
    let bytes =
        prop_oneof![9 => piece.prop_map(|text| text.as_bytes().to_vec()), 1 => any::<[u8; 2]>().prop_map(Vec::from)];
    prop::collection::vec(bytes, 1..12)
        .prop_map(|pieces| [&*pieces.concat(), b"\r\n\r\n"].concat())
        .prop_filter("empty lines are none", |heads| !heads.trim_ascii().is_empty())
}

#[tokio::test]
async fn whatever_they_are_have_an_answer_of_the_gateway_s() {
    const SHORT: Duration = Duration::from_millis(100);

    let upstream = Upstream::always(Reply::chat("hello"));
    let limits = Limits { header_timeout: SHORT, keep_alive_timeout: SHORT, ..Limits::default() };
    let site = serve_with(&upstream, "body_timeout: 100ms", limits, None).await;
    let mut runner = TestRunner::deterministic();
    let mut clients = JoinSet::new();
    for _ in 0..500 {
        let heads = any_heads().new_tree(&mut runner).expect("a head").current();
        let mut client = site.client().await;
        clients.spawn(async move {
            let _ = client.try_send(&heads).await;
            let shown = String::from_utf8_lossy(&heads).into_owned();
            let mut refused = 0;
            while let Some(head) = client.try_head().await {
                if head.status() == 100 {
                    continue;
                }
                let (body, end) = client.rest().await;
                assert_eq!(end, Ended::Clean, "{head:?} for {shown:?}");
                assert!(head.headers.get("x-request-id").is_some(), "{head:?} for {shown:?}");
                if head.status() >= 400 {
                    let json: serde_json::Value = serde_json::from_slice(&body)
                        .unwrap_or_else(|error| panic!("{error} in {body:?} for {shown:?}"));
                    assert!(json["error"]["code"].is_string(), "{json} for {shown:?}");
                    refused += 1;
                }
            }
            refused
        });
    }
    let refused: usize = guard("all clients", clients.join_all()).await.into_iter().sum();
    assert!(refused > 250, "only {refused}");
}
