//! Bodies of requests: their framing, and `Expect`.

use pointsman::server::Limits;

use crate::{
    CHAT, GOOD, request, serve, serve_with,
    support::{Ended, Reply, Upstream},
};

fn chunked(body: &str) -> String {
    format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

#[tokio::test]
async fn bad_chunks_are_refused_and_the_connection_closed() {
    let upstream = Upstream::script([]);
    let site = serve(&upstream, Limits::default()).await;
    for body in [
        "zz\r\n",
        "-1\r\n",
        "+d\r\n",
        "0xd\r\n",
        "\r\n",
        "fffffffffffffffff\r\n",
        "d\n{\"model\":\"m\"}\r\n0\r\n\r\n",
        "d\r\n{\"model\":\"m\"}\n0\r\n\r\n",
        "d\r\n{\"model\":\"m\"}x\r\n0\r\n\r\n",
        "d;\nx\r\n{\"model\":\"m\"}\r\n0\r\n\r\n",
    ] {
        let mut client = site.client().await;
        client.send(chunked(&format!("{body}{}", request("")))).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert_eq!(answer.json()["error"]["code"], "request_body_broken", "{body:?}");
        client.closed().await;
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn odd_and_good_chunks_are_read() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let mut client = site.client().await;
    for body in [
        "d\r\n{\"model\":\"m\"}\r\n0\r\n\r\n",
        "D;name=\"value\"\r\n{\"model\":\"m\"}\r\n000\r\ntrailer: 1\r\n\r\n",
        "0000000d\r\n{\"model\":\"m\"}\r\n0\r\n\r\n",
        "1\r\n{\r\nc\r\n\"model\":\"m\"}\r\n0\r\n\r\n",
    ] {
        client.send(chunked(body)).await;
        assert_eq!(client.answer().await.status, 200, "{body:?}");
    }
    for request in upstream.requests() {
        assert_eq!(request.body, GOOD);
        assert_eq!((request.header("content-length"), request.header("trailer")), (Some("13"), None));
    }
}

#[tokio::test]
async fn the_go_ahead_is_given_when_the_body_is_wanted() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve_with(&upstream, "api_keys: [k], body_limit: 1KiB", Limits::default(), None).await;
    let head = |fields: &str, length: usize| {
        format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n{fields}content-length: {length}\r\n\r\n")
    };
    let mut client = site.client().await;
    client.send(head("x-api-key: k\r\n", 13)).await;
    assert_eq!(client.head().await.status(), 100);
    client.send(GOOD).await;
    assert_eq!(client.answer().await.status, 200);

    for (fields, length, status) in
        [("", 13, 401), ("x-api-key: k\r\n", 5000, 413), ("x-api-key: k\r\nhost: b\r\n", 13, 400)]
    {
        let mut client = site.client().await;
        client.send(head(fields, length)).await;
        assert_eq!(client.answer().await.status, status, "at once, and without a 100");
        // Whether the body comes or not, it cannot be taken for a request.
        let _ = client.try_send(request("")).await;
        client.closed().await;
    }
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(upstream.requests()[0].header("expect"), None);
}

#[tokio::test]
async fn what_is_behind_an_unread_body_is_no_request() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve(&upstream, Limits::default()).await;
    let mut client = site.client().await;
    let inner = request("");
    // Answered without a look at the body, which is a request itself.
    client.send(format!("POST /nothing HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{inner}", inner.len())).await;
    assert_eq!(client.answer().await.status, 404);
    let _ = client.try_send("GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    let (rest, _) = client.everything().await;
    assert!(!String::from_utf8_lossy(&rest).contains("hello"));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_body_that_stops_is_a_timeout_and_the_connection_closed() {
    let upstream = Upstream::script([]);
    let site = serve_with(&upstream, "body_timeout: 100ms", Limits::default(), None).await;
    for head in [
        "content-length: 100\r\n\r\n{\"model\":",
        "transfer-encoding: chunked\r\n\r\n5\r\n{\"mo",
        "transfer-encoding: chunked\r\n\r\n",
    ] {
        let mut client = site.client().await;
        client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{head}")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (408, Ended::Clean), "{head:?}");
        assert_eq!(answer.json()["error"]["code"], "request_body_timeout");
        assert_eq!(client.closed().await, Ended::Clean);
    }
}
