//! The command lines that users copy, run by curl itself. `./test` installs it.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use support::{Deployed, Received, Reply, Upstream, guard};

/// The backend as it is documented for users, and below it what makes it reach this test's servers.
const QWEN: &str = "\
backends:
  qwen-oauth:
    type: qwen-oauth
    extra:
      enable_qwen_oauth_backend_debugging_override: true
      enable_qwen_oauth_initial_rate_limit_retry: true
      qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 10.0
      qwen_oauth_initial_rate_limit_retry_random_min_seconds: 3.0
      qwen_oauth_initial_rate_limit_retry_random_max_seconds: 10.0
    base_url: UPSTREAM/v1
    credentials_path: FOLDER/oauth_creds.json
  minimax:
    base_url: UPSTREAM/v1
    api_key: the-token

default_backend: qwen-oauth
";

const HELLO: &str = r#"curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_PROXY_KEY" \
  -d '{
    "model": "qwen3-coder-plus",
    "messages": [
      {"role": "user", "content": "Hello!"}
    ]
  }'"#;

const CODE: &str = r#"curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_PROXY_KEY" \
  -d '{
    "model": "qwen3-coder-plus",
    "messages": [
      {"role": "user", "content": "Write a Python function to implement binary search"}
    ]
  }'"#;

const STREAM: &str = r#"curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_PROXY_KEY" \
  -d '{
    "model": "qwen3-coder-plus",
    "messages": [
      {"role": "user", "content": "Explain recursion with examples"}
    ],
    "stream": true
  }'"#;

const CHINESE: &str = r#"curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_PROXY_KEY" \
  -d '{
    "model": "qwen-plus",
    "messages": [
      {"role": "user", "content": "请解释一下Python的装饰器"}
    ]
  }'"#;

const TEMPERATURE: &str = r#"curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
    "model": "qwen-oauth:qwen3-coder-plus?temperature=0.7",
    "messages": [{"role": "user", "content": "Hello"}]
  }'"#;

const HYBRID: &str = r#"curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{
    "model": "hybrid:[minimax:MiniMax-M2,qwen-oauth:qwen3-coder-plus]",
    "messages": [{"role": "user", "content": "Complex coding task"}]
  }'"#;

const ANSWER: &str = "装饰器是一个函数";

/// A gateway with the backend and a provider that answers in Chinese, each byte by itself.
struct Qwen {
    upstream: Upstream,
    gateway: Deployed,
    _folder: tempfile::TempDir,
}

impl Qwen {
    fn start(more: &str) -> Self {
        let upstream = Upstream::start(|request: Received| {
            assert_eq!(request.header("authorization"), Some("Bearer the-token"));
            match request.json()["stream"] == true {
                true => chinese_stream(),
                false => Reply::chat(ANSWER),
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("oauth_creds.json");
        fs::write(&file, r#"{"access_token": "the-token", "token_type": "Bearer"}"#).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("rights");
        let path = folder.path().to_str().expect("a path in UTF-8");
        let yaml = QWEN.replace("UPSTREAM", &upstream.url("")).replace("FOLDER", path);
        let gateway = Deployed::start(&format!("{more}{yaml}"));
        Self { upstream, gateway, _folder: folder }
    }

    /// Runs a command line as a shell does, with this gateway in the place of the one on port 8000.
    async fn run(&self, line: &str) -> String {
        let line = line.replace("http://localhost:8000", &format!("http://{}", self.gateway.addr()));
        let run = tokio::process::Command::new("sh")
            .args(["-c", &line.replacen("curl", "curl --silent --show-error --fail-with-body", 1)])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let Output { status, stdout, stderr } = guard("curl", run).await.expect("a shell");
        let (stdout, stderr) = (String::from_utf8(stdout).expect("UTF-8"), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "is curl installed? ./test does that; {status}: {stderr}{stdout}");
        stdout
    }

    /// The only request that the provider got.
    fn asked(&self) -> Value {
        self.upstream.request().json()
    }
}

/// The answer as a stream whose chunks end in the middle of characters.
fn chinese_stream() -> Reply {
    let event = json!({ "choices": [{ "index": 0, "delta": { "content": ANSWER } }] });
    let bytes = format!("data: {event}\n\n").into_bytes();
    bytes.chunks(1).fold(Reply::sse(), |reply, byte| reply.data(byte.to_vec())).done()
}

const KEY: &str = "server: { api_keys: [YOUR_PROXY_KEY] }\n";

fn content(answer: &str) -> Value {
    let json: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error} in {answer}"));
    json["choices"][0]["message"]["content"].clone()
}

#[tokio::test]
async fn answers_come_whole() {
    for (line, model, question) in [
        (HELLO, "qwen3-coder-plus", "Hello!"),
        (CODE, "qwen3-coder-plus", "Write a Python function to implement binary search"),
        (CHINESE, "qwen-plus", "请解释一下Python的装饰器"),
    ] {
        let qwen = Qwen::start(KEY);
        assert_eq!(content(&qwen.run(line).await), ANSWER);
        let messages = json!([{ "role": "user", "content": question }]);
        assert_eq!(qwen.asked(), json!({ "model": model, "messages": messages }));
    }
}

#[tokio::test]
async fn a_stream_arrives_though_its_characters_are_split() {
    let qwen = Qwen::start(KEY);
    let events = qwen.run(STREAM).await;
    assert!(events.starts_with("data: {") && events.ends_with("data: [DONE]\n\n"), "{events}");
    assert!(events.contains(ANSWER), "{events}");
    assert_eq!(qwen.asked()["stream"], true);
}

#[tokio::test]
async fn a_parameter_in_the_model_string_is_sent() {
    let qwen = Qwen::start("");
    assert_eq!(content(&qwen.run(TEMPERATURE).await), ANSWER);
    let asked = qwen.asked();
    assert_eq!((&asked["model"], &asked["temperature"]), (&json!("qwen3-coder-plus"), &json!(0.7)));
}

#[tokio::test]
async fn one_model_thinks_and_another_one_answers() {
    let qwen = Qwen::start("");
    let answer = qwen.run(HYBRID).await;
    assert_eq!(content(&answer), ANSWER);
    let asked: Vec<_> = qwen.upstream.requests().iter().map(Received::json).collect();
    assert_eq!(asked.iter().map(|body| &body["model"]).collect::<Vec<_>>(), ["MiniMax-M2", "qwen3-coder-plus"]);
    // The first one shows no reasoning apart, so what it says is the reasoning.
    assert!(asked[1]["messages"][0]["content"].as_str().is_some_and(|text| text.contains(ANSWER)), "{asked:?}");
}
