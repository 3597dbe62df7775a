//! `pointsman explain` and the endpoint that it asks: what a model string leads to.

mod support;

use serde_json::{Value, json};
use support::{Binary, Deployed, Reply, Upstream, backend, backends, get};

const ROUTES: &str = "\
model_aliases: [{ pattern: ^fast$, replacement: my-gpt4 }]
models:
  - name: my-gpt4
    providers:
      - { provider: a, model: gpt-4o, condition: balance > 0 or error_count < 1 }
      - { provider: b, model: llama }
";

fn config(a: &Upstream, b: &Upstream) -> String {
    let quota = format!("quota: {{ url: \"{}\" }}", a.url("/quota"));
    format!(
        "{ROUTES}{}",
        backends([
            backend("a", &a.url(""), &quota),
            backend("b", &b.url(""), "forced_params: { top_k: 1 }, default_params: { seed: 7 }")
        ])
    )
}

/// A provider with an empty account that is down, and one that works.
fn upstreams() -> (Upstream, Upstream) {
    let down = Upstream::start(|request| match request.path() {
        "/quota" => Reply::quota(&json!({ "balance": 0 })),
        _ => Reply::error(500, "down", "down"),
    });
    (down, Upstream::always(Reply::chat("hi")))
}

async fn explained(gateway: &Deployed, query: &str) -> Value {
    let answer = get(gateway.addr(), &format!("/v1/pointsman/explain?model={query}"), &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn the_endpoint_says_what_the_gates_say_now() {
    let (a, b) = upstreams();
    let gateway = Deployed::start(&config(&a, &b));
    let before = explained(&gateway, "fast").await;
    assert_eq!((&before["model"], &before["stands_for"]), (&json!("fast"), &json!("my-gpt4")));
    let first = &before["candidates"][0];
    assert_eq!((&first["provider"], &first["model"], &first["is_open"]), (&json!("a"), &json!("gpt-4o"), &json!(true)));
    assert_eq!((&first["condition"], &first["quota"]), (&json!("balance > 0 or error_count < 1"), &json!("unknown")));
    assert!(a.requests().is_empty(), "nothing is fetched for it");

    // One request meets an open gate and an error, the next one asks for the quota and is sent on.
    assert_eq!(gateway.chat("my-gpt4").await.status, 200);
    assert_eq!(gateway.chat("my-gpt4").await.status, 200);
    let after = explained(&gateway, "fast").await;
    let first = &after["candidates"][0];
    assert_eq!(
        (&first["is_open"], &first["error_count"], &first["quota"]),
        (&json!(false), &json!(1), &json!("fresh"))
    );
    assert!(first["reason"].as_str().unwrap().contains("balance = 0"), "{first}");
    assert_eq!(after["candidates"][1]["is_open"], true);
    assert!(!after.to_string().contains("key-of"), "{after}");
}

#[tokio::test]
async fn every_parameter_has_its_source() {
    let (a, b) = upstreams();
    let gateway = Deployed::start(&config(&a, &b));
    let candidate = &explained(&gateway, "b:m%3Ftemperature=0.5%26top_k=9").await["candidates"][0];
    let parameter = |name, value: Value, source| json!({ "name": name, "value": value, "source": source });
    let mut parameters = candidate["parameters"].as_array().unwrap().clone();
    parameters.sort_by_key(|parameter| parameter["name"].to_string());
    assert_eq!(
        parameters,
        [
            parameter("seed", json!(7), "default"),
            parameter("temperature", json!(0.5), "model string"),
            parameter("top_k", json!(1), "forced"),
        ]
    );
}

#[tokio::test]
async fn the_endpoint_is_guarded_and_its_errors_are_those_of_the_api() {
    let (a, b) = upstreams();
    let gateway = Deployed::start(&format!("server: {{ api_keys: [k] }}\n{}", config(&a, &b)));
    let target = "/v1/pointsman/explain";
    assert_eq!(get(gateway.addr(), &format!("{target}?model=fast"), &[]).await.status, 401);
    let key = [("x-api-key", "k")];
    for (query, status, code) in [
        ("", 400, "missing_model"),
        ("?model=nobody", 404, "model_not_found"),
        ("?model=a:m%3Fsed=1", 400, "invalid_model_parameter"),
    ] {
        let answer = get(gateway.addr(), &format!("{target}{query}"), &key).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{query}");
    }
    let mut client = gateway.client().await;
    client.post(target, &json!({ "model": "fast" }), &key).await;
    assert_eq!(client.answer().await.status, 405);
}

#[tokio::test]
async fn the_command_explains_a_configuration() {
    let (a, b) = upstreams();
    let explain = |args: &[&str]| {
        let args = [&["explain", "--config", "config.yaml"], args].concat();
        Binary::new(args).file("config.yaml", config(&a, &b)).run()
    };
    let done = explain(&["fast?seed=1"]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("there is no model `fast`"), "{done:?}");

    let done = explain(&["a:x?temperature=0.2|my-gpt4"]).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(
        done.stdout.trim_end(),
        "\
a:x?temperature=0.2|my-gpt4
  1. a x
     temperature = 0.2 (model string)
     no condition
     0 errors counted, quota unknown
  2. a gpt-4o
     open: balance > 0 or error_count < 1 (balance = 0, error_count = 0)
     0 errors counted, quota unknown
  3. b llama
     top_k = 1 (forced)
     seed = 7 (default)
     no condition
     0 errors counted, quota unknown
(from the configuration alone: no error is counted and no quota known; --url asks a running gateway)"
    );
    let done = explain(&["--json", "hybrid:[a:x,b:y?seed=3]"]).await;
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&json["reasoning"][0]["model"], &json["candidates"][0]["model"]), (&json!("x"), &json!("y")));
    assert!(a.requests().is_empty() && b.requests().is_empty());
}

#[tokio::test]
async fn the_command_asks_a_running_gateway() {
    let (a, b) = upstreams();
    let gateway = Deployed::start(&format!("server: {{ api_keys: [k] }}\n{}", config(&a, &b)));
    let url = format!("http://{}", gateway.addr());
    let done = Binary::new(["explain", "my-gpt4", "--url", &url, "--key", "k"]).run().await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.starts_with("my-gpt4\n  1. a gpt-4o\n     open: "), "{done:?}");
    assert!(!done.stdout.contains("configuration alone"), "{done:?}");

    let done = Binary::new(["explain", "my-gpt4", "--url", &url]).run().await;
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stderr.contains("401") && done.stderr.contains("Incorrect API key"), "{done:?}");
    let gone = support::Refusing::new();
    let done = Binary::new(["explain", "my-gpt4", "--url", &gone.url("")]).run().await;
    assert!(done.stderr.contains("no answer from http://127.0.0.1:"), "{done:?}");
}
