//! The libraries that users have, against a gateway: a program on each says what it saw.
//!
//! The libraries come from their registries, which a test does not reach by itself: `./test` installs them and then runs
//! these tests, which are ignored otherwise.

#[path = "../support/mod.rs"]
mod support;

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use support::{Deployed, Received, Reply, Upstream, backend, backends};

/// A provider whose models behave as they are called.
fn provider() -> Upstream {
    Upstream::start(|request: Received| {
        let asked = request.json();
        let is_stream = asked["stream"] == true;
        match (request.path(), asked["model"].as_str().unwrap_or_default()) {
            ("/v1/embeddings", "good") => {
                // The libraries ask for this by themselves, and decode it.
                assert_eq!(asked["encoding_format"], "base64");
                let bytes: Vec<u8> = [0.5_f32, -1.5].iter().flat_map(|number| number.to_le_bytes()).collect();
                let item = json!({ "object": "embedding", "index": 0, "embedding": BASE64_STANDARD.encode(bytes) });
                Reply::json(200, &json!({ "object": "list", "data": [item], "model": "m", "usage": {} }))
            }
            ("/v1/responses", "good") => ["你", "好"]
                .iter()
                .map(|text| json!({ "type": "response.output_text.delta", "delta": text }))
                .fold(Reply::sse(), |reply, event| {
                    reply.data(format!("event: response.output_text.delta\ndata: {event}\n\n"))
                })
                .end(),
            // As the first of a hybrid, it shows what it thinks apart.
            (_, "thinks") => ["想", "想"]
                .iter()
                .fold(Reply::sse(), |reply, text| {
                    let delta = json!({ "reasoning_content": text });
                    reply.event(&json!({ "id": "r", "choices": [{ "index": 0, "delta": delta }] }).to_string())
                })
                .event(
                    &json!({ "id": "r", "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })
                        .to_string(),
                )
                .done(),
            (_, "good") if is_stream => Reply::chat_stream(["你", "好"]),
            (_, "good") => Reply::chat("你好"),
            (_, "cut") => Reply::sse().chat_event("你").close(),
            (_, "refuses") => Reply::error(400, "context_length_exceeded", "too long"),
            (_, "throttled") => Reply::error(429, "rate_limit_exceeded", "slow down").header("retry-after", "7"),
            (_, "down") => Reply::error(500, "internal", "oh no"),
            (path, model) => panic!("nobody was to ask {path} for {model}"),
        }
    })
}

/// What a program sees of the gateway in front of that provider.
async fn seen(program: impl FnOnce(&str) -> Command) -> Value {
    let upstream = provider();
    let route = |name: &str| format!("  - {{ name: {name}, providers: [{{ provider: a }}] }}\n");
    let routes: String = ["good", "refuses", "throttled", "down", "cut"].into_iter().map(route).collect();
    let gateway = Deployed::start(&format!(
        "server: {{ api_keys: [client-key] }}\n\
         models:\n{routes}\
         \x20 - {{ name: second, providers: [{{ provider: a, model: down }}, {{ provider: a, model: good }}] }}\n\
         \x20 - {{ name: closed, providers: [{{ provider: a, condition: false }}] }}\n{}",
        backends([backend("a", &upstream.url(""), "")])
    ));
    let mut program = program(&format!("http://{}", gateway.addr()));
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(move || program.output())
        .await
        .expect("waiting does not panic")
        .expect("./test installs what runs the program");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).expect("the program prints JSON")
}

/// The folder that `./test` installs the libraries into.
fn installed() -> PathBuf {
    std::env::var_os("POINTSMAN_CLIENTS").expect("./test says here where it installed the libraries").into()
}

/// A program in Python.
fn python(source: &str, gateway: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    command.args(["-c", source, gateway]).stdin(Stdio::null());
    command
}

/// A program in JavaScript. Given on the command line, it finds the modules in the folder it is run in.
fn javascript(source: &str, gateway: &str) -> Command {
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", source]).env("GATEWAY", gateway);
    command.current_dir(installed()).stdin(Stdio::null());
    command
}

/// What a user of either of OpenAI's libraries is to see.
fn expected() -> Value {
    let status = |class: &str, status: u16, code: &str| json!({ "class": class, "status": status, "code": code, "has_id": true });
    let good = json!({ "content": "你好", "total_tokens": 2 });
    json!({
        "chat": good,
        "stream": { "content": ["你", "好"], "ids": 1, "finish_reason": "stop" },
        "models": ["good", "refuses", "throttled", "down", "cut", "second", "closed"],
        "model": "pointsman",
        "embedding": [0.5, -1.5],
        "responses": "你好",
        "fallback": good,
        "parameters": good,
        "choice": { "content": ["你", "好"], "ids": 1, "finish_reason": "stop" },
        "hybrid": { "content": "你好", "total_tokens": 2, "reasoning": "想想" },
        "hybrid stream": { "content": ["你", "好"], "ids": 1, "finish_reason": "stop", "reasoning": "想想" },
        "bad model string": status("BadRequestError", 400, "invalid_model_parameter"),
        "wrong key": status("AuthenticationError", 401, "invalid_api_key"),
        "unknown model": status("NotFoundError", 404, "model_not_found"),
        "bad request": status("BadRequestError", 400, "context_length_exceeded"),
        "throttled": status("RateLimitError", 429, "rate_limit_exceeded"),
        "down": status("InternalServerError", 500, "internal"),
        "closed": status("InternalServerError", 503, "no_eligible_provider"),
        "cut stream": { "class": "APIError", "code": "upstream_stream_broken" },
    })
}

#[tokio::test]
#[ignore = "needs what ./test installs"]
async fn openai_in_python() {
    let seen = seen(|gateway| python(include_str!("openai.py"), gateway)).await;
    assert_eq!(seen, expected(), "{seen:#}");
}

#[tokio::test]
#[ignore = "needs what ./test installs"]
async fn openai_in_javascript() {
    let seen = seen(|gateway| javascript(include_str!("openai.mjs"), gateway)).await;
    assert_eq!(seen, expected(), "{seen:#}");
}
