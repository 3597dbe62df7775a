//! Each example, run as it is built, answers a request end to end.

mod support;

use serde_json::{Value, json};
use support::{Binary, Refusing, Reply, Signal, Upstream, get, post_json};

/// An example, on a port of its own.
fn example<const N: usize>(name: &str, args: [&str; N]) -> Binary {
    // Cargo puts the tests into `target/<profile>/deps`, and the examples beside that.
    let test = std::env::current_exe().expect("the system knows the path of a running program");
    let folder = test.ancestors().nth(2).expect("the test is in target/<profile>/deps").join("examples");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} is missing: `cargo test --test examples` needs `cargo build --examples`",
        path.display()
    );
    Binary::of(path.to_str().expect("the path is UTF-8"), args).env("PORT", "0")
}

fn request() -> Value {
    json!({ "model": "small", "messages": [{ "role": "user", "content": "hello" }] })
}

#[tokio::test]
async fn server() {
    let upstream = Upstream::always(Reply::chat("hi"));
    let example = example("server", []).env("UPSTREAM", upstream.url("/v1")).start();
    let answer = post_json(example.listening().await, "/v1/chat/completions", &request(), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
    assert_eq!(answer.header("x-pointsman-provider"), Some("local"));
    let received = upstream.request();
    assert_eq!((received.path(), &received.json()["model"]), ("/v1/chat/completions", &json!("llama3.2:3b")));

    example.signal(Signal::Int).await;
    assert!(example.finished().await.status.success());
}

#[tokio::test]
async fn server_with_a_file() {
    let upstream = Upstream::always(Reply::chat("hi"));
    let config = format!(
        "models:\n  - {{ name: small, providers: [{{ provider: mine, model: m }}] }}\n\
         backends:\n  mine: {{ type: openai, base_url: \"{}\" }}\n",
        upstream.url("/v1")
    );
    let running = example("server", ["my.yaml"]).file("my.yaml", config).start();
    let answer = post_json(running.listening().await, "/v1/chat/completions", &request(), &[]).await;
    assert_eq!((answer.status, answer.header("x-pointsman-provider")), (200, Some("mine")));

    let broken = example("server", ["my.yaml"]).file("my.yaml", "model: []").run().await;
    assert_eq!(broken.status.code(), Some(1));
    assert!(broken.stderr.contains("unknown key `model`") && broken.stderr.contains("my.yaml:1:1"), "{broken:?}");
}

/// A gateway under `/llm` beside an app's own page.
async fn mounted(name: &str) {
    let upstream = Upstream::always(Reply::chat_stream(["h", "i"]));
    let example = example(name, []).env("UPSTREAM", upstream.url("/v1")).start();
    let app = example.listening().await;

    assert_eq!(get(app, "/", &[]).await.text(), "the gateway is below /llm");
    let models = get(app, "/llm/v1/models", &[]).await;
    assert_eq!(models.json()["data"][0]["id"], "small");

    let answer = post_json(app, "/llm/v1/chat/completions", &request(), &[]).await;
    assert_eq!((answer.status, answer.events().len()), (200, 4), "{}", answer.text());
    assert_eq!(answer.events().last(), Some(&"[DONE]"));
    let received = upstream.request();
    assert_eq!((received.path(), &received.json()["model"]), ("/v1/chat/completions", &json!("llama3.2:3b")));
}

#[tokio::test]
async fn mount_in_axum() {
    mounted("mount_in_axum").await;
}

#[tokio::test]
async fn mount_in_hyper() {
    mounted("mount_in_hyper").await;
}

#[tokio::test]
async fn custom_stack_goes_on_and_stops_asking_a_provider_that_fails() {
    // An error inside a success, which the first-event layer has to find.
    let primary = Upstream::always(Reply::sse().event(r#"{"error": {"message": "Overloaded"}}"#).end());
    let spare = Upstream::always(Reply::chat("hi"));
    let example = example("custom_stack", []).env("PRIMARY", primary.url("/v1")).env("SPARE", spare.url("/v1")).start();
    let addr = example.listening().await;
    for _ in 0..5 {
        let answer = post_json(addr, "/v1/chat/completions", &request(), &[]).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
    }
    // The condition is `error_count < 3`.
    assert_eq!((primary.requests().len(), spare.requests().len()), (3, 5));
    assert_eq!(spare.requests()[0].json()["model"], "llama-3.2-3b-instruct");
}

#[tokio::test]
async fn custom_stack_asks_the_first_while_there_is_a_budget() {
    for (budget, asked) in [("0.5", (1, 0)), ("0", (0, 1))] {
        let (primary, spare) = (Upstream::always(Reply::chat("hi")), Upstream::always(Reply::chat("hi")));
        let example = example("custom_stack", [])
            .env("PRIMARY", primary.url("/v1"))
            .env("SPARE", spare.url("/v1"))
            .env("BUDGET", budget)
            .start();
        let answer = post_json(example.listening().await, "/v1/chat/completions", &request(), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((primary.requests().len(), spare.requests().len()), asked, "with a budget of {budget}");
    }
}

#[tokio::test]
async fn custom_stack_holds_a_rate_limit_and_puts_in_the_key() {
    let primary =
        Upstream::script([Reply::error(429, "slow", "slow down").header("retry-after", "0"), Reply::chat("hi")]);
    let example = example("custom_stack", []).env("PRIMARY", primary.url("/v1")).env("PRIMARY_KEY", "its-key").start();
    let client = [("authorization", "Bearer of-the-client")];
    let answer = post_json(example.listening().await, "/v1/chat/completions", &request(), &client).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
    let keys: Vec<_> =
        primary.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert_eq!(keys, [Some("Bearer its-key".to_owned()), Some("Bearer its-key".to_owned())]);
}

#[tokio::test]
async fn one_layer() {
    let upstream = Upstream::script([
        Reply::chat_stream(["h", "i"]),
        Reply::sse().event(r#"{"error": {"message": "Overloaded"}}"#).end(),
    ]);
    let running = example("one_layer", []).env("UPSTREAM", upstream.addr().to_string()).start();
    let addr = running.listening().await;
    let answer = post_json(addr, "/v1/chat/completions?a=b", &request(), &[]).await;
    assert_eq!((answer.status, answer.events().len()), (200, 4), "{}", answer.text());
    assert_eq!(upstream.request().target, "/v1/chat/completions?a=b");
    let answer = post_json(addr, "/v1/chat/completions", &request(), &[]).await;
    assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (503, Some("Overloaded")));

    let nobody = Refusing::new();
    let running = example("one_layer", []).env("UPSTREAM", nobody.addr().to_string()).start();
    let answer = post_json(running.listening().await, "/v1/chat/completions", &request(), &[]).await;
    assert_eq!(answer.status, 502);
}
