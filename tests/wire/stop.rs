//! The end of a server that has work to do.

use std::time::Duration;

use pointsman::server::Limits;
use serde_json::json;

use crate::{
    CHAT, request, serve,
    support::{Client, Ended, Gate, Reply, Upstream, guard},
};

#[tokio::test]
async fn under_load_loses_no_request() {
    let upstream = Upstream::start(|request| match request.json()["stream"].as_bool() {
        Some(true) => Reply::chat_stream(["a", "b", "c"]),
        _ => Reply::chat("hello"),
    });
    let site = serve(&upstream, Limits::default()).await;
    // Each asks again and again on one connection until that is closed, and counts what it got for what it asked.
    let clients = (0..32).map(|number| {
        let addr = site.addr;
        tokio::spawn(async move {
            let mut client = Client::connect(addr).await;
            let (mut answered, mut last_said_close) = (0, false);
            loop {
                let body = json!({ "model": "m", "stream": number % 2 == 0 }).to_string();
                let request =
                    format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                // A connection that is closed has not taken the request.
                let Ok(()) = client.try_send(request).await else { break };
                let Some(head) = client.try_head().await else { break };
                last_said_close = head.headers.get("connection") == Some("close");
                let (body, end) = client.rest().await;
                assert_eq!((head.status(), end), (200, Ended::Clean));
                let text = String::from_utf8_lossy(&body);
                assert!(text.contains("hello") || text.ends_with("data: [DONE]\n\n"), "{text}");
                answered += 1;
                if last_said_close {
                    break;
                }
            }
            (answered, last_said_close)
        })
    });
    let clients: Vec<_> = clients.collect();
    upstream.wait_for(500).await;
    assert_eq!(site.stopped().await, 0);
    let mut answered = 0;
    for client in clients {
        answered += guard("a client", client).await.expect("no answer was cut short").0;
    }
    // What reached the provider reached a client.
    assert_eq!(answered, upstream.requests().len());
}

#[tokio::test]
async fn waits_for_a_request_that_was_just_sent() {
    let upstream = Upstream::always(Reply::chat("hello"));
    for _ in 0..10 {
        let site = serve(&upstream, Limits::default()).await;
        let (mut fresh, mut used) = (site.client().await, site.client().await);
        used.send(request("")).await;
        assert_eq!(used.answer().await.status, 200);
        fresh.send(request("")).await;
        used.send(request("")).await;
        assert_eq!(site.stopped().await, 0);
        for client in [&mut fresh, &mut used] {
            assert_eq!(client.answer().await.status, 200);
            assert_eq!(client.closed().await, Ended::Clean);
        }
    }
}

#[tokio::test]
async fn is_known_before_the_listener_is_closed() {
    let gate = Gate::new();
    let upstream = Upstream::always(Reply::sse().event("1").gate(&gate).done());
    let site = serve(&upstream, Limits::default()).await;
    let mut client = site.client().await;
    client.send(request("")).await;
    assert_eq!(client.head().await.status(), 200);
    let mut probe = site.client().await;
    let addr = site.addr;
    let stopped = tokio::spawn(site.stopped());
    // A probe in time hears it, and none hears that all is well once nobody gets in.
    let mut heard = Vec::new();
    loop {
        if probe.try_send("GET /readyz HTTP/1.1\r\nhost: h\r\n\r\n").await.is_err() {
            break;
        }
        let Some(head) = probe.try_head().await else { break };
        heard.push(head.status());
        probe.rest().await;
    }
    assert!(heard.contains(&503) && heard.is_sorted(), "{heard:?}");
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "the listener is closed before the connections");
    gate.open();
    client.until("data: [DONE]\n\n").await;
    assert_eq!(guard("the end", stopped).await.expect("no panic"), 0);
}

#[tokio::test]
async fn cuts_streams_with_an_error_event_and_the_rest_with_503() {
    cuts_after(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn without_time_for_it_cuts_in_the_same_way_at_once() {
    cuts_after(Duration::ZERO).await;
}

async fn cuts_after(shutdown_timeout: Duration) {
    let upstream = Upstream::start(|request| match request.json()["stream"].as_bool() {
        Some(true) => Reply::sse().event("1").stall(),
        _ => Reply::nothing().stall(),
    });
    let limits = Limits { shutdown_timeout, ..Limits::default() };
    let site = serve(&upstream, limits).await;
    let mut streams = Vec::new();
    for path in [CHAT, "/v1/responses", "/v1/messages"] {
        let mut client = site.client().await;
        client.post(path, &json!({ "model": "m", "stream": true }), &[]).await;
        assert_eq!(client.head().await.status(), 200);
        client.until("data: 1\n\n").await;
        streams.push((path, client));
    }
    let mut waiting = site.client().await;
    waiting.post(CHAT, &json!({ "model": "m" }), &[]).await;
    upstream.wait_for(4).await;
    assert_eq!(site.gateway.error_counts().count("a"), 0);
    let gateway = site.gateway.clone();
    assert_eq!(site.stopped().await, 4);
    for (path, mut client) in streams {
        let (rest, end) = client.rest().await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert_eq!(end, Ended::Clean, "{path}");
        assert!(rest.contains("error") && !rest.contains("[DONE]"), "{path}: {rest}");
        assert_eq!(rest.contains("event: error"), path != CHAT, "{path}: {rest}");
    }
    let answer = waiting.answer().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["error"]["code"], "server_stopping");
    assert_eq!(gateway.error_counts().count("a"), 0, "the provider has done nothing wrong");
    upstream.all_closed().await;
}
