//! The gateway is a service in an axum application, below a path of its own and beside the application's routes.

mod support;

use axum::{Router, extract::Request, http::HeaderValue, middleware, response::Response, routing};
use pointsman::{Config, Gateway};
use serde_json::json;
use support::{Client, Ended, Gate, Reply, Served, Upstream, backend, backends, get, post_json};

fn gateway(upstream: &Upstream) -> Gateway {
    let yaml = format!(
        "models: [{{ name: m, providers: [{{ provider: a, model: n }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    );
    Gateway::from_config(Config::from_yaml_with(&yaml, &|_: &str| None).expect("a good configuration").config)
}

/// An application with the gateway at `/llm`.
fn application(gateway: Gateway) -> Router {
    Router::new()
        .route("/", routing::get(async || "the application"))
        .route("/v1/models", routing::get(async || "the application's models"))
        .nest_service("/llm", gateway)
        .fallback(async || (axum::http::StatusCode::NOT_FOUND, "the application has no such page"))
}

#[tokio::test]
async fn requests_below_the_path_are_the_gateway_s() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let served = Served::start(application(gateway(&upstream)));
    let addr = served.addr();
    let answer = post_json(addr, "/llm/v1/chat/completions?a=b", &json!({ "model": "m" }), &[]).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello");
    assert_eq!(answer.header("x-pointsman-provider"), Some("a"));
    assert_eq!(upstream.request().target, "/v1/chat/completions?a=b");
    assert_eq!(upstream.request().body, r#"{"model":"n"}"#);
    assert_eq!(get(addr, "/llm/v1/models", &[]).await.json()["data"][0]["id"], "m");
    assert_eq!(get(addr, "/llm/healthz", &[]).await.json(), json!({ "status": "ok" }));
    let answer = post_json(addr, "/llm/v1/chat/completions", &json!({ "model": "x" }), &[]).await;
    assert_eq!(answer.json()["error"]["code"], "model_not_found");
    let answer = get(addr, "/llm/nothing", &[]).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("unknown_path")));
}

#[tokio::test]
async fn requests_beside_it_are_the_application_s() {
    let upstream = Upstream::script([]);
    let served = Served::start(application(gateway(&upstream)));
    let addr = served.addr();
    assert_eq!(get(addr, "/", &[]).await.text(), "the application");
    assert_eq!(get(addr, "/v1/models", &[]).await.text(), "the application's models");
    for path in ["/llmx/v1/models", "/v1/chat/completions", "/healthz"] {
        assert_eq!(get(addr, path, &[]).await.text(), "the application has no such page", "{path}");
    }
}

#[tokio::test]
async fn layers_of_the_application_go_around_it() {
    async fn mark(mut request: Request, next: middleware::Next) -> Response {
        request.headers_mut().insert("x-tenant", HeaderValue::from_static("blue"));
        let mut response = next.run(request).await;
        response.headers_mut().insert("x-marked", HeaderValue::from_static("yes"));
        response
    }
    let upstream = Upstream::always(Reply::chat("hello"));
    let served = Served::start(application(gateway(&upstream)).layer(middleware::from_fn(mark)));
    let answer = post_json(served.addr(), "/llm/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    assert_eq!((answer.status, answer.header("x-marked")), (200, Some("yes")));
    assert_eq!(upstream.request().header("x-tenant"), Some("blue"));
}

#[tokio::test]
async fn streams_pass_through_it_and_end_with_the_client() {
    let gate = Gate::new();
    let upstream = Upstream::always(Reply::sse().event("1").gate(&gate).event("2").stall());
    let served = Served::start(application(gateway(&upstream)));
    let mut client = Client::connect(served.addr()).await;
    client.post("/llm/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
    client.head().await;
    assert_eq!(client.until("\n\n").await, "data: 1\n\n");
    gate.release();
    assert_eq!(client.until("\n\n").await, "data: 2\n\n");
    drop(client);
    upstream.closed(0).await;
}

#[tokio::test]
async fn two_gateways_and_a_clone_live_in_one_application() {
    let (blue, green) = (Upstream::always(Reply::chat("blue")), Upstream::always(Reply::error(500, "oops", "oops")));
    let (first, second) = (gateway(&blue), gateway(&green));
    let application = Router::new()
        .nest_service("/blue", first)
        .nest_service("/green", second.clone())
        .nest_service("/deep/er/green", second.clone());
    let served = Served::start(application);
    for (path, status) in [("/blue", 200), ("/green", 500), ("/deep/er/green", 500)] {
        let path = format!("{path}/v1/chat/completions");
        assert_eq!(post_json(served.addr(), &path, &json!({ "model": "m" }), &[]).await.status, status, "{path}");
    }
    assert_eq!(second.error_counts().count("a"), 2, "clones share their state");
}

/// An application whose body is cut must cut it too.
#[tokio::test]
async fn a_broken_body_is_cut() {
    let half = Reply::new(200).header("content-type", "application/json").header("content-length", "100");
    let upstream = Upstream::always(half.data("{\"half\":").close());
    let served = Served::start(application(gateway(&upstream)));
    let answer = post_json(served.addr(), "/llm/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    assert_eq!((answer.status, answer.end), (200, Ended::Cut));
}
