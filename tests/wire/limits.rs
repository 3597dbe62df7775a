//! How much, and how long.

use std::time::Duration;

use pointsman::server::Limits;
use serde_json::json;

use crate::{
    CHAT, GOOD, request, serve, serve_with,
    support::{Client, Ended, Gate, Reply, Site, Upstream, get, guard},
};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn of_a_head_are_kept() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let long = |length: usize| format!("{CHAT}?{}", "x".repeat(length - CHAT.len() - 1));
    let with_target = |target: &str| format!("POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: 13\r\n\r\n{GOOD}");
    for (what, request, status) in [
        ("a usual one", request(""), 200),
        ("a long target", with_target(&long(16 * 1024)), 200),
        ("one that is longer", with_target(&long(16 * 1024 + 1)), 414),
        ("one that is longer in all", with_target(&format!("http://h{}", long(16 * 1024))), 414),
        ("a large head", request(&format!("x-a: {}\r\n", "x".repeat(60 * 1024))), 200),
        ("one that is larger", request(&format!("x-a: {}\r\n", "x".repeat(70 * 1024))), 431),
        ("many fields", request(&"x-a: b\r\n".repeat(98)), 200),
        ("more of them", request(&"x-a: b\r\n".repeat(99)), 431),
        (
            "large trailers",
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{GOOD}\r\n0\r\n{}\r\n\r\n",
                "x: y\r\n".repeat(20_000)
            ),
            400,
        ),
    ] {
        let mut client = site.client().await;
        // It may be refused before it is all sent.
        let _ = client.try_send(request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status >= 400 {
            let code = answer.json()["error"]["code"].clone();
            let expected = match status {
                400 => "request_body_broken",
                414 => "uri_too_long",
                _ => "headers_too_large",
            };
            assert_eq!(code, expected, "{what}");
            assert!(answer.header("x-request-id").is_some(), "{what}");
            client.closed().await;
        }
    }
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn of_time_for_a_head_are_kept() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits { header_timeout: SHORT, ..Limits::default() }).await;
    for start in ["G", "POST /v1/chat/completions HTTP/1.1\r\nhost:", "PRI * HTTP/2.0\r\n\r\nS"] {
        let mut client = site.client().await;
        client.send(start).await;
        if start.starts_with("PRI") {
            // There is no answer in HTTP/1.1 to what may be HTTP/2.
            continue;
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (408, Ended::Clean), "{start}");
        assert_eq!(answer.json()["error"]["code"], "request_timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(client.closed().await, Ended::Clean, "{start}");
    }
    // Behind another request on the same connection, and byte by byte.
    let mut client = site.client().await;
    client.send(request("")).await;
    assert_eq!(client.answer().await.status, 200);
    let trickle = async {
        for byte in b"GET /health HTTP/1.1\r\nhost: hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh" {
            if client.try_send([*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
        panic!("it went on reading");
    };
    let _ = guard("an end of the trickle", tokio::time::timeout(SHORT * 5, trickle)).await;
    assert_eq!(client.answer().await.status, 408);
}

#[tokio::test]
async fn a_request_takes_longer_than_a_head() {
    let gate = Gate::new();
    let upstream = Upstream::always(Reply::sse().event("1").gate(&gate).event("2").done());
    let limits = Limits { header_timeout: SHORT, keep_alive_timeout: SHORT, ..Limits::default() };
    let site = serve(&upstream, limits).await;
    let mut client = site.client().await;
    // The start of the next head is there while the first request is still answered.
    client.send(format!("{}GET /hea", request(""))).await;
    assert_eq!(client.head().await.status(), 200);
    client.until("data: 1\n\n").await;
    tokio::time::sleep(SHORT * 2).await;
    gate.open();
    client.until("data: [DONE]\n\n").await;
    assert_eq!(client.rest().await.1, Ended::Clean);
    client.send("lth HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits { keep_alive_timeout: SHORT, ..Limits::default() }).await;
    let mut silent = site.client().await;
    let mut used = site.client().await;
    used.send(request("")).await;
    assert_eq!(used.answer().await.status, 200);
    assert_eq!(used.closed().await, Ended::Clean);
    silent.closed().await;
    // A connection that is used now and then stays.
    let mut client = site.client().await;
    for _ in 0..6 {
        client.send(request("")).await;
        assert_eq!(client.answer().await.status, 200);
        tokio::time::sleep(SHORT / 2).await;
    }
}

/// No time for an idle connection is no connection that is kept, as for other servers.
#[tokio::test]
async fn no_time_to_be_idle_is_a_connection_for_each_request() {
    let upstream = Upstream::start(|request| match request.json()["stream"].as_bool() {
        Some(true) => Reply::chat_stream(["hello"]),
        _ => Reply::chat("hello"),
    });
    let site = serve(&upstream, Limits { keep_alive_timeout: Duration::ZERO, ..Limits::default() }).await;
    let streamed = r#"{"model":"m","stream":true}"#;
    let streamed = format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{streamed}", streamed.len());
    let of_http_1_0 = format!("POST {CHAT} HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 13\r\n\r\n{GOOD}");
    for (request, status) in [
        (request(""), 200),
        (request("connection: keep-alive\r\n"), 200),
        (streamed, 200),
        (of_http_1_0, 200),
        ("GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(), 404),
    ] {
        let mut client = site.client().await;
        // There is time for a request.
        tokio::time::sleep(SHORT / 2).await;
        let (first, rest) = request.split_at(request.len() / 2);
        client.send(first).await;
        tokio::time::sleep(SHORT / 2).await;
        client.send(format!("{rest}GET /health HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (status, Ended::Clean), "{request}");
        if !request.contains("HTTP/1.0") {
            assert_eq!(answer.header("connection"), Some("close"), "{request}");
        }
        client.closed().await;
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits { connections: 2, ..Limits::default() }).await;
    let (mut one, mut two) = (site.client().await, site.client().await);
    for client in [&mut one, &mut two] {
        client.send(request("")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    for is_early in [false, true] {
        let mut client = site.client().await;
        if is_early {
            client.send(request("")).await;
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (503, Ended::Clean));
        assert_eq!(answer.json()["error"]["code"], "too_many_connections");
        assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
        assert!(answer.header("x-request-id").is_some());
        client.closed().await;
    }
    drop(one);
    // Its place is free as soon as the server has seen that it is gone.
    guard("a free place", async { while get(site.addr, "/health", &[]).await.status != 200 {} }).await;
    two.send(request("")).await;
    assert_eq!(two.answer().await.status, 200);
    assert_eq!(upstream.requests().len(), 3);
}

mod in_flight {
    use super::*;

    async fn stream(site: &Site) -> Client {
        let mut client = site.client().await;
        client.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
        client
    }

    #[tokio::test]
    async fn a_request_too_many_is_refused_until_a_body_has_ended() {
        let gate = Gate::new();
        let upstream = Upstream::always(Reply::sse().event("1").gate(&gate).event("2").done());
        let site = serve_with(&upstream, "max_in_flight: 2", Limits::default(), None).await;
        let (mut one, mut two) = (stream(&site).await, stream(&site).await);
        for client in [&mut one, &mut two] {
            assert_eq!(client.head().await.status(), 200);
            client.until("data: 1\n\n").await;
        }
        // Both have their heads, and count until their last byte.
        let mut third = stream(&site).await;
        let answer = third.answer().await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.json()["error"]["code"], "too_many_requests_in_flight");
        assert!(answer.header("x-request-id").is_some());
        // What needs no provider is answered still.
        for path in ["/health", "/readyz", "/v1/models"] {
            assert_eq!(get(site.addr, path, &[]).await.status, 200, "{path}");
        }
        gate.release();
        let ended = tokio::select! {
            _ = one.until("data: [DONE]\n\n") => &mut one,
            _ = two.until("data: [DONE]\n\n") => &mut two,
        };
        assert_eq!(ended.rest().await.1, Ended::Clean);
        // The refused connection goes on.
        third.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
        assert_eq!(third.head().await.status(), 200);
        gate.open();
        assert_eq!(upstream.requests().len(), 3);
    }

    #[tokio::test]
    async fn a_client_that_leaves_gives_its_place_back() {
        let upstream = Upstream::start(|request| match request.json()["stream"].as_bool() {
            Some(true) => Reply::nothing().stall(),
            _ => Reply::chat("hello"),
        });
        let site = serve_with(&upstream, "max_in_flight: 1", Limits::default(), None).await;
        let client = stream(&site).await;
        upstream.wait_for(1).await;
        drop(client);
        upstream.closed(0).await;
        let mut client = site.client().await;
        client.send(request("")).await;
        assert_eq!(client.answer().await.status, 200);
    }
}
