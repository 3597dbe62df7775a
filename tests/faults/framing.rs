//! How a provider frames its answers is between it and the gateway: a client sees the gateway's own framing.

use http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt as _;
use pointsman::provider::{Client, Provider};
use pointsman_layers::body::ReplayBody;
use serde_json::json;
use std::time::Duration;
use tower::ServiceExt as _;

use crate::{
    Pair,
    support::{Ended, Reply, Step, Upstream},
};

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn answers_are_framed_anew() {
    for (what, text) in [
        ("HTTP/1.0 with a length", format!("HTTP/1.0 200 OK\r\n{JSON}content-length: 7\r\n\r\n{{\"a\":1}}")),
        ("HTTP/1.0 to the end", format!("HTTP/1.0 200 OK\r\n{JSON}\r\n{{\"a\":1}}")),
        ("HTTP/1.1 to the end", format!("HTTP/1.1 200 OK\r\n{JSON}\r\n{{\"a\":1}}")),
        ("one length twice", format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 7, 7\r\n\r\n{{\"a\":1}}")),
        ("two lengths", format!("HTTP/1.1 200\r\n{JSON}content-length: 7\r\ncontent-length: 7\r\n\r\n{{\"a\":1}}")),
        (
            "a length and chunks",
            format!(
                "HTTP/1.1 200 OK\r\n{JSON}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{{\"a\":1}}\r\n0\r\n\r\n"
            ),
        ),
    ] {
        let pair = Pair::new(Reply::raw(text).close(), "", "");
        let mut client = pair.gateway.client().await;
        for _ in 0..2 {
            client.post("/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
            let head = client.head().await;
            assert_eq!(head.start, "HTTP/1.1 200 OK", "{what}");
            assert_eq!(client.rest().await, ("{\"a\":1}".into(), Ended::Clean), "{what}");
            assert_eq!(head.headers.get("x-pointsman-provider"), Some("a"), "{what}");
            let lengths: Vec<_> = head.headers.all("content-length").collect();
            let is_chunked = head.headers.get("transfer-encoding") == Some("chunked");
            assert!(if is_chunked { lengths.is_empty() } else { lengths == ["7"] }, "{what}: {lengths:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_http_1_0_that_breaks_looks_broken() {
    let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let pair = Pair::new(Reply::raw(format!("{head}data: {{\"a\":1}}\n\n")).reset(), "", "");
    let answer = pair.gateway.stream("m").await;
    assert!(answer.end == Ended::Cut || answer.text().contains("upstream_stream_broken"), "{}", answer.text());
}

#[tokio::test]
async fn codings_that_nobody_asked_for_go_on() {
    for coding in ["gzip, chunked", "chunked, chunked", "chunked, gzip", "gzip", "identity", "xchunked"] {
        let text = format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: {coding}\r\n\r\n7\r\n{{\"a\":1}}\r\n0\r\n\r\n");
        Pair::new(Reply::raw(text), "", "").goes_on(coding).await;
    }
}

#[tokio::test]
async fn trailers_lose_what_headers_lose() {
    let trailers = [
        ("set-cookie", "a=b"),
        ("authorization", "Bearer k"),
        ("x-echo", "you sent sk-secret"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("x-usage", "7"),
    ];
    let fields = trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let upstream = Upstream::always(Reply::sse().data("data: 1\n\n").step(Step::End(fields)));
    let provider = Provider::builder(&upstream.url("").parse().expect("a URL")).expect("an absolute URL");
    let key = (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer sk-secret"));
    let provider = provider.credential(key.0, key.1, "sk-secret").build(Client::new(Duration::from_secs(5)));
    let request = Request::post("/v1/chat/completions").body(ReplayBody::from("{}")).expect("a request");
    let body = provider.oneshot(request).await.expect("an answer").into_body().collect().await.expect("whole");
    let left: Vec<_> = body.trailers().into_iter().flat_map(|trailers| trailers.keys()).collect();
    assert_eq!(left, ["x-usage"]);
}
