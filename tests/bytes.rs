//! What the client sent is what the provider gets, but for the model, the credential and the headers of the hop.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::{Client, Deployed, Received, Reply, Upstream, backends};

/// A gateway with the route `m`, which asks for `n`, to an upstream with this base path.
fn gateway(upstream: &Upstream, base: &str, more: &str) -> Deployed {
    Deployed::start(&format!(
        "models: [{{ name: m, providers: [{{ provider: a, model: \"{}\" }}] }}]\n{}",
        MODEL.replace('"', "\\\""),
        backends([format!(
            "  a: {{ type: openai, base_url: \"{}\", api_key: key-of-a, {more} }}\n",
            upstream.url(base)
        )])
    ))
}

/// The model that the provider is asked for: not as long as the client's, and with something to escape.
const MODEL: &str = "org/the \"model\" 4.1";
const MODEL_JSON: &str = r#""org/the \"model\" 4.1""#;

/// The body that the provider gets for a body in which `@` stands for the model.
async fn passes(client: &mut Client, upstream: &Upstream, body: &str) {
    let before = upstream.requests().len();
    client.request("POST", "/v1/chat/completions", &[], body.replacen('@', "\"m\"", 1).as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{}\n{body}", answer.text());
    let received = &upstream.requests()[before];
    assert_eq!(String::from_utf8_lossy(&received.body), body.replacen('@', MODEL_JSON, 1));
    assert_eq!(received.header("content-length"), Some(&*received.body.len().to_string()));
}

#[tokio::test]
async fn the_body_is_the_client_s_but_for_the_model() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "/v1", "");
    let mut client = gateway.client().await;
    for body in [
        r#"{"model":@}"#,
        r#"{"z":1,"model":@,"a":2,"m":3}"#,
        r#"{ "seed" : 1e400 , "a":-0, "b":1.0, "c":1E+2, "d":0.1000, "e":123456789012345678901234567890 ,"model":@}"#,
        r#"{"model":@,"text":"\u00e9\ud83d\ude00\/\b\u0000\u003c","raw":"é😀<>&"}"#,
        r#"{"model":@,"lone":"\ud800","\udc00":0}"#,
        "\n\t {\r\n\t\"model\"\t:\n@\r\n,\"x\" : [ ] , \"y\":{ }\n}\r\n ",
        r#"{"messages":[{"role":"user","content":null,"model":"inner"}],"model":@,"metadata":{"model":"inner"}}"#,
        r#"{"x":1,"x":2,"model":@,"x":3,"stream":false,"stream":true}"#,
        r#"{"Model":"other","model ":"other","model":@,"":0}"#,
        r#"{"mod\u0065l":@,"models":["m"]}"#,
        r#"{"tools":[{"type":"custom","weird":{"a":[[[{}]]]}}],"tool_choice":{"type":"none"},"model":@}"#,
        r#"{"input":[1,2,3],"encoding_format":"base64","model":@}"#,
    ] {
        passes(&mut client, &upstream, body).await;
    }
}

#[tokio::test]
async fn the_client_s_spelling_of_the_model_does_not_matter() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "/v1", "");
    let mut client = gateway.client().await;
    client.request("POST", "/v1/chat/completions", &[], br#"{"model":"\u006d"}"#).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.request().body, format!("{{\"model\":{MODEL_JSON}}}"));
}

#[tokio::test]
async fn chunks_of_the_client_become_one_body() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "/v1", "");
    let mut client = gateway.client().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send("4\r\n{\"mo\r\n7\r\ndel\":\"m\r\n").await;
    client.send("9;x=y\r\n\",\"n\":1} \r\n0\r\nx-trailer: 1\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.request().body, format!("{{\"model\":{MODEL_JSON},\"n\":1}} "));
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "/v1", "");
    let mut client = gateway.client().await;
    let image = "iVBORw0KGgo".repeat(1 << 20);
    passes(&mut client, &upstream, &format!("{{\"model\":@,\"image\":\"{image}\"}}")).await;
}

/// The text of a JSON value, with white space and spellings as a hand might write them.
fn json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![Just("null".into()), Just("true".into()), number.prop_map(String::from), string()];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let pair = (string(), space(), inner.clone()).prop_map(|(key, space, value)| format!("{key}{space}:{value}"));
        let list = prop::collection::vec((space(), inner), 0..4);
        let fields = prop::collection::vec((space(), pair), 0..4);
        prop_oneof![
            list.prop_map(|items| format!("[{}]", joined(&items))),
            fields.prop_map(|fields| format!("{{{}}}", joined(&fields))),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a string")),
        "(\\\\u[0-9a-d][0-9a-f]{3}|\\\\[bfnrt/\"]|[a-zé日 ]){0,8}".prop_map(|text| format!("\"{text}\"")),
    ]
    // The mark for the model, which stands outside of every string.
    .prop_map(|text| text.replace('@', "#"))
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

fn joined(items: &[(String, String)]) -> String {
    let items: Vec<_> = items.iter().map(|(space, item)| format!("{space}{item}{space}")).collect();
    items.join(",")
}

/// The text of an object with one `model`, somewhere.
fn request() -> impl Strategy<Value = String> {
    let pair = (string(), space(), json()).prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
    (prop::collection::vec((space(), pair), 0..6), any::<prop::sample::Index>(), space())
        .prop_map(|(mut fields, at, space)| {
            fields.insert(at.index(fields.len() + 1), (space.clone(), format!("\"model\"{space}:{space}@")));
            format!("{space}{{{}}}{space}", joined(&fields))
        })
        // Another spelling of `model` would be a second one.
        .prop_filter("one model", |body| body.matches("model").count() == 1 && !body.contains("\\u006"))
}

#[test]
fn any_object_passes_byte_for_byte() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (upstream, gateway, client) = runtime.block_on(async {
        let upstream = Upstream::always(Reply::chat("hello"));
        let gateway = gateway(&upstream, "/v1", "");
        let client = gateway.client().await;
        (upstream, gateway, Arc::new(tokio::sync::Mutex::new(client)))
    });
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) }, |(body in request())| {
        let client = client.clone();
        runtime.block_on(async { passes(&mut *client.lock().await, &upstream, &body).await });
    });
    let _inside = runtime.enter();
    drop((upstream, gateway));
}

/// Sends a request with these header fields, and returns what arrived.
async fn arrived(fields: &[(&str, &str)], more: &str) -> Received {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "/v1", more);
    let mut client = gateway.client().await;
    client.request("POST", "/v1/chat/completions", fields, br#"{"model":"m"}"#).await;
    assert_eq!(client.answer().await.status, 200);
    upstream.request()
}

#[tokio::test]
async fn headers_of_the_api_pass() {
    let fields = [
        ("content-type", "application/json; charset=utf-8"),
        ("accept", "text/event-stream"),
        ("accept-encoding", "gzip, br"),
        ("user-agent", "OpenAI/Python 1.0"),
        ("openai-beta", "assistants=v2"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "tools-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("idempotency-key", "k"),
        ("x-request-id", "mine"),
        ("x-odd-value", "caf\u{e9}; \"quoted\""),
    ];
    let received = arrived(&fields, "").await;
    for (name, value) in fields {
        // The tools take a byte for a char, the value was sent as UTF-8.
        let value: String = value.bytes().map(char::from).collect();
        assert_eq!(received.headers.all(name).collect::<Vec<_>>(), [value], "{name}");
    }
}

#[tokio::test]
async fn headers_given_twice_stay_two() {
    let received = arrived(&[("x-tag", "one"), ("x-tag", "two")], "").await;
    assert_eq!(received.headers.all("x-tag").collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn headers_of_the_hop_stay_behind() {
    let fields = [
        ("connection", "keep-alive, X-Private, Upgrade, HTTP2-Settings"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("expect", "100-continue"),
        ("forwarded", "for=10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "internal"),
        ("x-real-ip", "10.0.0.1"),
        ("cookie", "a=b"),
    ];
    let received = arrived(&fields, "").await;
    for (name, _) in fields {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!(received.headers.all("host").count(), 1);
    assert!(received.header("host").is_some_and(|host| host.starts_with("127.0.0.1:")));
    assert_eq!(received.headers.all("content-length").count(), 1);
}

#[tokio::test]
async fn headers_of_the_backend_go_first() {
    let received =
        arrived(&[("x-team", "client"), ("authorization", "Bearer client")], "headers: { x-team: search }").await;
    assert_eq!(received.headers.all("x-team").collect::<Vec<_>>(), ["search"]);
    assert_eq!(received.headers.all("authorization").collect::<Vec<_>>(), ["Bearer key-of-a"]);
}

#[tokio::test]
async fn headers_of_the_answer_pass_but_for_those_of_the_hop() {
    let reply = Reply::chat("hello")
        .header("x-request-id", "theirs")
        .header("x-ratelimit-remaining-requests", "7")
        .header("openai-processing-ms", "12")
        .header("retry-after", "3")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("set-cookie", "a=b")
        .header("www-authenticate", "Bearer");
    let upstream = Upstream::always(reply);
    let gateway = gateway(&upstream, "/v1", "");
    let answer = gateway.chat("m").await;
    for (name, value) in [
        ("x-request-id", Some("theirs")),
        ("x-ratelimit-remaining-requests", Some("7")),
        ("openai-processing-ms", Some("12")),
        ("retry-after", Some("3")),
        ("www-authenticate", Some("Bearer")),
        ("x-hop", None),
        ("keep-alive", None),
        ("set-cookie", None),
    ] {
        assert_eq!(answer.headers.all(name).collect::<Vec<_>>(), value.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn paths_and_queries_are_joined_to_the_base() {
    for (base, target, arrives_at) in [
        ("/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/v1", "/v1/embeddings", "/openai/v1/embeddings"),
        ("/v1beta/openai", "/v1/chat/completions?x=1&y=%20&x=2", "/v1beta/openai/chat/completions?x=1&y=%20&x=2"),
        ("", "/v1/rerank", "/rerank"),
        ("/v1", "/v1/messages/count_tokens?beta=true", "/v1/messages/count_tokens?beta=true"),
        ("/v1", "/llm/v1/responses?a=b", "/v1/responses?a=b"),
        ("/api", "/deep/er/prefix/v1/audio/speech", "/api/audio/speech"),
        ("/v1", "http://elsewhere.example/v1/completions", "/v1/completions"),
    ] {
        let upstream = Upstream::always(Reply::chat("hello"));
        let gateway = gateway(&upstream, base, "");
        let mut client = gateway.client().await;
        client.request("POST", target, &[], br#"{"model":"m"}"#).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(upstream.request().target, arrives_at, "{target} on {base}");
    }
}

#[tokio::test]
async fn a_head_request_has_an_answer_without_a_body() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream, "/v1", "");
    let mut client = gateway.client().await;
    for path in ["/v1/models", "/llm/v1/models", "/v1/models/m", "/healthz"] {
        client.request("GET", path, &[], b"").await;
        let whole = client.answer().await;
        client.request("HEAD", path, &[], b"").await;
        let head = client.head().await;
        assert_eq!((head.status(), whole.status), (200, 200), "{path}");
        assert_eq!(head.headers.get("content-length"), Some(&*whole.body.len().to_string()), "{path}");
        assert_eq!(head.headers.get("content-type"), Some("application/json"), "{path}");
    }
}

#[tokio::test]
async fn the_provider_is_not_asked_anything_else() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = gateway(&upstream, "/v1", "");
    gateway.chat("m").await;
    let received = upstream.request();
    let names: Vec<_> = received.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, ["authorization", "content-length", "content-type", "host", "x-pointsman-loop"]);
}
