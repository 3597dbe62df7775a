//! Anthropic's API: the gateway's own errors have its shape, and what a provider says passes as it is.

mod support;

use serde_json::{Value, json};
use support::{Answer, Binary, Client, Deployed, Ended, Refusing, Reply, Upstream, backend, backends, post_json};

const MESSAGES: &str = "/v1/messages";

/// A gateway with the routes `m` and `closed`, and bodies of at most 1 KiB.
fn gateway(root: &str, server: &str) -> Deployed {
    Deployed::start(&format!(
        "server: {{ body_limit: 1KiB, body_timeout: 100ms, {server} }}\nmodels:\n  \
         - {{ name: m, providers: [{{ provider: a }}] }}\n  \
         - {{ name: closed, providers: [{{ provider: a, condition: \"error_count < 0\" }}] }}\n  \
         - {{ name: slow, total_timeout: 50ms, providers: [{{ provider: a }}] }}\n{}",
        backends([backend("a", root, "")])
    ))
}

/// An error in Anthropic's shape and nothing else: its type.
fn is_error(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, answer.end), (status, Ended::Clean), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let id = answer.header("x-request-id").expect("an id");
    let body = answer.json();
    let message = body["error"]["message"].as_str().expect("a text");
    assert!(!message.is_empty());
    let whole = json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": id });
    assert_eq!(body, whole);
}

#[tokio::test]
async fn refusals_have_its_shape_on_each_of_its_paths() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream.url(""), "api_keys: [canary]");
    let key = ("x-api-key", "canary");
    for path in [MESSAGES, "/v1/messages/count_tokens", "/llm/v1/messages", "/v1/messages?beta=true"] {
        let mut client = gateway.client().await;
        client.request("POST", path, &[], br#"{"model":"m"}"#).await;
        let answer = client.answer().await;
        is_error(&answer, 401, "authentication_error");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        client.request("GET", path, &[key], b"").await;
        let answer = client.answer().await;
        is_error(&answer, 405, "invalid_request_error");
        assert_eq!(answer.header("allow"), Some("POST"));
        for body in [&b"{"[..], b"[]", b"{}", br#"{"model":7}"#, br#"{"model":"m","model":"m"}"#] {
            client.request("POST", path, &[key], body).await;
            is_error(&client.answer().await, 400, "invalid_request_error");
        }
        client.request("POST", path, &[key], br#"{"model":"n"}"#).await;
        is_error(&client.answer().await, 404, "not_found_error");
        client.request("POST", path, &[key], br#"{"model":"closed"}"#).await;
        let answer = client.answer().await;
        is_error(&answer, 503, "overloaded_error");
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("60"), Some("false")));
        client.request("POST", path, &[key], &[b' '; 1025]).await;
        is_error(&client.answer().await, 413, "request_too_large");
    }
    let mut client = gateway.client().await;
    client
        .send(format!("POST {MESSAGES} HTTP/1.1\r\nhost: h\r\nx-api-key: canary\r\ncontent-length: 9\r\n\r\n{{"))
        .await;
    is_error(&client.answer().await, 408, "invalid_request_error");
    let mut client = gateway.client().await;
    client.request("POST", "/v1/messages/%2e%2e/x", &[key], b"{}").await;
    is_error(&client.answer().await, 400, "invalid_request_error");
}

#[tokio::test]
async fn failures_of_the_provider_have_its_shape() {
    let nobody = Refusing::new();
    is_error(&ask(&gateway(&nobody.url(""), ""), "m").await, 502, "api_error");
    let silent = Upstream::always(Reply::nothing().stall());
    is_error(&ask(&gateway(&silent.url(""), ""), "slow").await, 504, "timeout_error");
    let empty = Upstream::always(Reply::sse().end());
    is_error(&ask(&gateway(&empty.url(""), ""), "m").await, 502, "api_error");
}

#[tokio::test]
async fn a_backend_that_is_closed_has_its_shape() {
    let closed = Deployed::start("default_backend: qwen-oauth\nbackends: { qwen-oauth: {} }\n");
    is_error(&ask(&closed, "qwen-plus").await, 403, "permission_error");
}

#[tokio::test]
async fn the_ids_are_the_client_s_or_else_the_gateway_s() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream.url(""), "");
    let answer = post_json(gateway.addr(), MESSAGES, &json!({ "model": "n" }), &[("x-request-id", "mine-1")]).await;
    is_error(&answer, 404, "not_found_error");
    assert_eq!(answer.json()["request_id"], "mine-1");
}

#[tokio::test]
async fn what_a_provider_says_passes_as_it_is() {
    let said = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" }, "x": 1 });
    let reply = said.clone();
    let upstream = Upstream::start(move |_| Reply::json(529, &reply));
    let answer = ask(&gateway(&upstream.url(""), ""), "m").await;
    assert_eq!((answer.status, answer.json()), (529, said));
    let early = Upstream::always(Reply::sse().data(
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
    ).end());
    let answer = ask(&gateway(&early.url(""), ""), "m").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (503, &json!("overloaded_error")),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn other_paths_keep_the_other_shape() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream.url(""), "");
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/messages2"] {
        let answer = post_json(gateway.addr(), path, &json!({ "model": "n" }), &[]).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("model_not_found")), "{path}");
        assert_eq!(answer.json().get("type"), None);
    }
}

#[tokio::test]
async fn a_broken_stream_ends_with_its_error_event() {
    let begin = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n";
    let upstream = Upstream::always(Reply::sse().data(begin).close());
    let answer = ask(&gateway(&upstream.url(""), ""), "m").await;
    assert_eq!((answer.status, answer.end), (200, Ended::Clean));
    assert!(
        answer.text().starts_with(begin) && answer.text().contains("\n\nevent: error\ndata: "),
        "{}",
        answer.text()
    );
    let event: Value = serde_json::from_str(answer.events()[1]).expect("JSON");
    assert_eq!((&event["type"], &event["error"]["type"]), (&json!("error"), &json!("api_error")));
}

/// The refusals of the server itself, which the gateway never sees.
#[tokio::test]
async fn refused_heads_have_the_shape_of_their_path_and_an_id() {
    let running = Binary::new(["--port", "0", "--config", "c.yaml"]).file("c.yaml", "backends: {}\n").start();
    let addr = running.listening().await;
    let refused = async |request: String| {
        let mut client = Client::connect(addr).await;
        let _ = client.try_send(request).await;
        client.answer().await
    };
    let answer = refused(format!("POST {MESSAGES} HTTP/1.1\r\nx-request-id: mine-2\r\n\r\n")).await;
    is_error(&answer, 400, "invalid_request_error");
    assert_eq!(answer.header("x-request-id"), Some("mine-2"));
    let long = "x".repeat(16 * 1024);
    is_error(
        &refused(format!("POST {MESSAGES}?{long} HTTP/1.1\r\nhost: h\r\n\r\n")).await,
        414,
        "invalid_request_error",
    );
    let answer = refused("POST /v1/chat/completions HTTP/1.1\r\n\r\n".to_owned()).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("invalid_host")));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
}

async fn ask(gateway: &Deployed, model: &str) -> Answer {
    post_json(gateway.addr(), MESSAGES, &json!({ "model": model, "messages": [] }), &[]).await
}
