//! Whatever a client sends, it gets an error in OpenAI's shape, and its connection goes on.

mod support;

use serde_json::{Value, json};
use support::{Answer, Client, Deployed, Ended, Reply, Upstream, backend, backends, post_json};

/// A gateway with the routes `m` and `my-gpt4`, and bodies of at most 1 KiB.
fn gateway(upstream: &Upstream, server: &str) -> Deployed {
    Deployed::start(&format!(
        "server: {{ body_limit: 1KiB, {server} }}\nmodels:\n  - {{ name: m, providers: [{{ provider: a }}] }}\n  \
         - {{ name: my-gpt4, providers: [{{ provider: a }}] }}\n{}",
        backends([backend("a", &upstream.url(""), "models: [small]")])
    ))
}

const CHAT: &str = "/v1/chat/completions";
const GOOD: &[u8] = br#"{"model":"m"}"#;

/// An error of the gateway: its status and code, in a body with all four keys.
fn is_error(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!((answer.status, answer.end), (status, Ended::Clean), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    let body = answer.json();
    assert_eq!(body.as_object().expect("an object").len(), 1, "{body}");
    let error = &body["error"];
    let mut keys: Vec<_> = error.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "message", "param", "type"]);
    assert_eq!(error["code"], code, "{body}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(error["type"].is_string() && (error["param"].is_string() || error["param"].is_null()), "{body}");
    error.clone()
}

/// The same connection still serves a good request.
async fn goes_on(client: &mut Client) {
    client.request("POST", CHAT, &[], GOOD).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn bodies_without_a_usable_model_are_refused() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client().await;
    let bodies: [(&[u8], &str); 26] = [
        (b"", "invalid_json"),
        (b" \r\n", "invalid_json"),
        (b"hello", "invalid_json"),
        (b"{", "invalid_json"),
        (br#"{"model":"m""#, "invalid_json"),
        (br#"{"model":"m"}}"#, "invalid_json"),
        (br#"{"model":"m"} {"model":"m"}"#, "invalid_json"),
        (br#"{"model":"m",}"#, "invalid_json"),
        (br#"{'model':'m'}"#, "invalid_json"),
        (br#"{model:"m"}"#, "invalid_json"),
        (b"{\"model\":\"m\",\"x\":NaN}", "invalid_json"),
        (b"\xef\xbb\xbf{\"model\":\"m\"}", "invalid_json"),
        (b"\xff\xfe{\x00", "invalid_json"),
        (b"{\"model\":\"\xff\"}", "invalid_json"),
        (b"[]", "invalid_json"),
        (br#"[{"model":"m"}]"#, "invalid_json"),
        (br#""m""#, "invalid_json"),
        (b"null", "invalid_json"),
        (b"{}", "missing_model"),
        (br#"{"Model":"m"}"#, "missing_model"),
        (br#"{"messages":[{"model":"m"}]}"#, "missing_model"),
        (br#"{"model":null}"#, "invalid_model"),
        (br#"{"model":7}"#, "invalid_model"),
        (br#"{"model":["m"]}"#, "invalid_model"),
        (br#"{"model":"m","model":"m"}"#, "duplicate_model"),
        (br#"{"model":"m","mod\u0065l":"x"}"#, "duplicate_model"),
    ];
    for (body, code) in bodies {
        client.request("POST", CHAT, &[], body).await;
        let error = is_error(&client.answer().await, 400, code);
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["param"], if code == "invalid_json" { Value::Null } else { json!("model") });
        goes_on(&mut client).await;
    }
    assert_eq!(upstream.requests().len(), bodies.len(), "the good ones, and no other");
}

#[tokio::test]
async fn bodies_of_endless_depth_do_not_matter() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let limit = "body_limit: 8MiB";
    let gateway = Deployed::start(&format!(
        "server: {{ {limit} }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    ));
    let mut client = gateway.client().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 500_000;
        let inner = if open == "[" { "" } else { "0" };
        let deep = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
        client.request("POST", CHAT, &[], format!("{{\"x\":{deep},\"model\":\"m\"}}").as_bytes()).await;
        assert_eq!(client.answer().await.status, 200);
        client.request("POST", CHAT, &[], open.repeat(depth).as_bytes()).await;
        assert_eq!(client.answer().await.status, 400);
    }
    goes_on(&mut client).await;
}

#[tokio::test]
async fn unknown_models_are_not_found_and_near_ones_are_named() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream, "");
    for (model, near) in [("my-gpt5", Some("`my-gpt4`")), ("M", None), ("zzz", None), ("smal", Some("`small`"))] {
        let error = is_error(&gateway.chat(model).await, 404, "model_not_found");
        assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &json!("model")));
        let message = error["message"].as_str().expect("a text");
        assert!(message.contains(&format!("`{model}`")), "{message}");
        assert_eq!(message.contains("did you mean"), near.is_some(), "{message}");
        assert!(near.is_none_or(|near| message.contains(near)), "{message}");
    }
    let answer = support::get(gateway.addr(), "/v1/models/my-gpt5", &[]).await;
    is_error(&answer, 404, "model_not_found");
}

#[tokio::test]
async fn odd_models_are_shown_safely() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream, "");
    for (model, status, code) in [
        ("\u{0}\u{1b}[31m", 400, "invalid_model_selector"),
        ("a\r\nset-cookie: x", 400, "invalid_model_selector"),
        ("\"}, \"", 404, "model_not_found"),
        (&"é".repeat(400), 404, "model_not_found"),
    ] {
        let error = is_error(&gateway.chat(model).await, status, code);
        assert!(error["message"].as_str().is_some_and(|message| message.len() < 1024));
    }
}

mod too_large {
    use super::*;

    #[tokio::test]
    async fn by_its_length() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let gateway = gateway(&upstream, "");
        let mut client = gateway.client().await;
        let fits = format!("{:1024}", "{\"model\":\"m\"}");
        assert_eq!(fits.len(), 1024);
        client.request("POST", CHAT, &[], fits.as_bytes()).await;
        assert_eq!(client.answer().await.status, 200);
        client.request("POST", CHAT, &[], format!("{fits} ").as_bytes()).await;
        is_error(&client.answer().await, 413, "request_too_large");
        goes_on(&mut client).await;
    }

    #[tokio::test]
    async fn by_its_length_alone() {
        let upstream = Upstream::script([]);
        let gateway = gateway(&upstream, "");
        let mut client = gateway.client().await;
        client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999\r\n\r\n").await;
        is_error(&client.answer().await, 413, "request_too_large");
    }

    #[tokio::test]
    async fn before_it_is_sent() {
        let upstream = Upstream::script([]);
        let gateway = gateway(&upstream, "");
        let mut client = gateway.client().await;
        let head =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n";
        client.send(head).await;
        assert_eq!(client.head().await.status(), 413, "and not 100");
    }

    #[tokio::test]
    async fn in_chunks() {
        let upstream = Upstream::script([]);
        let gateway = gateway(&upstream, "");
        let mut client = gateway.client().await;
        client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for _ in 0..2 {
            client.send(format!("200\r\n{}\r\n", " ".repeat(512))).await;
        }
        client.send("1\r\nx\r\n").await;
        is_error(&client.answer().await, 413, "request_too_large");
    }

    /// The connection is closed under it, and the answer is there before.
    #[tokio::test]
    async fn for_a_client_that_writes_on() {
        let upstream = Upstream::script([]);
        let gateway = gateway(&upstream, "");
        let mut client = gateway.client().await;
        client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 16777216\r\n\r\n").await;
        let _ = client.try_send(vec![b' '; 16 << 20]).await;
        is_error(&client.answer().await, 413, "request_too_large");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_not() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client().await;
    for (path, methods, allowed) in [
        (CHAT, ["GET", "PUT", "DELETE"], "POST"),
        ("/v1/embeddings", ["GET", "PATCH", "DELETE"], "POST"),
        ("/v1/rerank", ["GET", "PUT", "OPTIONS"], "POST"),
        ("/llm/v1/responses", ["GET", "PUT", "TRACE"], "POST"),
        ("/v1/models", ["POST", "PUT", "DELETE"], "GET, HEAD"),
        ("/v1/models/m", ["POST", "PUT", "DELETE"], "GET, HEAD"),
    ] {
        for method in methods {
            client.request(method, path, &[], b"").await;
            let answer = client.answer().await;
            is_error(&answer, 405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
            goes_on(&mut client).await;
        }
    }
    client.request("HEAD", CHAT, &[], b"").await;
    assert_eq!(client.head().await.status(), 405);
    goes_on(&mut client).await;
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client().await;
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("POST", "/"),
        ("POST", "/v1"),
        ("POST", "/v1/"),
        ("POST", "/chat/completions"),
        ("POST", "/v1beta/models"),
        ("POST", "/v12/chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("GET", "/favicon.ico"),
        ("POST", "/health"),
        ("GET", "/v1/nothing"),
        ("GET", "/?path=/v1/models"),
        ("OPTIONS", "*"),
    ] {
        let body = if method == "POST" { GOOD } else { b"" };
        client.request(method, target, &[], body).await;
        is_error(&client.answer().await, 404, "unknown_path");
        goes_on(&mut client).await;
    }
}

#[tokio::test]
async fn paths_that_could_be_read_in_two_ways_are_refused() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client().await;
    let mut odd = 0;
    for path in [
        "/v1/../admin",
        "/v1/..",
        "/v1/./chat/completions",
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/v1/chat/completions/..",
        "/v1/%2e%2e/admin",
        "/v1/%2E./admin",
        "/v1/..%2fadmin",
        "/v1/%2f/admin",
        "/v1/chat%2f%2fcompletions",
        "/v1/chat\\completions",
        "/v1/%5c..%5cadmin",
        "/v1/chat/completions%00",
        "/x/../v1/chat/completions",
        "/v1/%252e%252e/admin",
        "/v1/chat/completions;/../admin",
        "http://h/v1/../admin",
    ] {
        client.request("POST", path, &[], GOOD).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{path}");
        is_error(&answer, 400, "invalid_path");
        odd += 1;
        goes_on(&mut client).await;
    }
    assert_eq!(upstream.requests().len(), odd);
}

mod keys {
    use super::*;

    #[tokio::test]
    async fn are_taken_from_headers_alone() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let gateway = gateway(&upstream, "api_keys: [canary-one, canary-two]");
        let mut client = gateway.client().await;
        for target in ["?key=canary-one", "?api_key=canary-one", "?api-key=canary-one", "?access_token=canary-one"] {
            client.request("POST", &format!("{CHAT}{target}"), &[], GOOD).await;
            let answer = client.answer().await;
            let error = is_error(&answer, 401, "invalid_api_key");
            assert!(error["message"].as_str().is_some_and(|message| message.starts_with("Incorrect API key provided")));
            assert_eq!(error["type"], "authentication_error");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.text().contains("canary"));
        }
        for header in [
            ("authorization", "Bearer canary-two"),
            ("authorization", "bearer canary-one"),
            ("x-api-key", "canary-one"),
            ("api-key", "canary-one"),
        ] {
            client.request("POST", CHAT, &[header], GOOD).await;
            assert_eq!(client.answer().await.status, 200, "{header:?}");
        }
        for header in
            [("authorization", "Bearer canary"), ("authorization", "Basic canary-one"), ("cookie", "canary-one")]
        {
            for (method, path) in [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/nothing"), ("POST", "/v1/../x")] {
                client.request(method, path, &[header], if method == "POST" { GOOD } else { b"" }).await;
                is_error(&client.answer().await, 401, "invalid_api_key");
            }
        }
        for path in ["/health", "/healthz", "/readyz"] {
            client.request("GET", path, &[], b"").await;
            assert_eq!(client.answer().await.status, 200, "{path}");
        }
        assert_eq!(upstream.requests().len(), 4);
    }

    #[tokio::test]
    async fn are_asked_for_before_a_byte_of_the_body() {
        let upstream = Upstream::script([]);
        let gateway = gateway(&upstream, "api_keys: [canary]");
        let mut client = gateway.client().await;
        client
            .send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status(), 401);
    }
}

#[tokio::test]
async fn a_circle_is_noticed() {
    let relay = Upstream::start(|request| Reply::json(200, &json!({ "loop": request.header("x-pointsman-loop") })));
    let gateway = gateway(&relay, "");
    let mark = gateway.chat("m").await.json()["loop"].as_str().expect("a mark").to_owned();
    assert!(!mark.is_empty());
    let body = json!({ "model": "m" });
    let answer = post_json(gateway.addr(), CHAT, &body, &[("x-pointsman-loop", &mark)]).await;
    is_error(&answer, 508, "loop_detected");
    let others = [("x-pointsman-loop", "another"), ("x-pointsman-loop", &*mark)];
    is_error(&post_json(gateway.addr(), CHAT, &body, &others).await, 508, "loop_detected");
    // Another gateway on the way is no circle.
    let answer = post_json(gateway.addr(), CHAT, &body, &[("x-pointsman-loop", "another")]).await;
    assert_eq!(answer.status, 200);
    let marks = relay.requests().pop().expect("it came");
    assert_eq!(marks.headers.all("x-pointsman-loop").collect::<Vec<_>>(), ["another", &*mark]);
}

#[tokio::test]
async fn a_body_that_breaks_off_reaches_nobody() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await;
    let answer = client.answer().await;
    is_error(&answer, 400, "request_body_broken");
    let mut client = gateway.client().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{\"model\":").await;
    drop(client);
    goes_on(&mut gateway.client().await).await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_body_that_stops_is_a_timeout() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream, "body_timeout: 100ms");
    let mut client = gateway.client().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{\"model\":").await;
    is_error(&client.answer().await, 408, "request_body_timeout");
}

#[tokio::test]
async fn an_id_of_the_client_s_comes_back() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let answer = post_json(gateway.addr(), CHAT, &json!({ "model": "x" }), &[("x-request-id", "mine-1")]).await;
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    let ids: std::collections::HashSet<_> = [gateway.chat("m").await, gateway.chat("m").await]
        .iter()
        .map(|answer| answer.header("x-request-id").expect("it is there").to_owned())
        .collect();
    assert_eq!(ids.len(), 2, "each request has its own");
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client().await;
    let request =
        |body: &str| format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let good = r#"{"model":"m"}"#;
    client.send([request(good), request("{"), request(good), request("[]")].concat()).await;
    for status in [200, 400, 200, 400] {
        assert_eq!(client.answer().await.status, status);
    }
}
