//! Secrets are in no answer, and in no output of any command.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    Login, NEW, OLD, OPEN_AND_QUICK, REFRESH, Shared, question, set, shared,
    support::{Binary, Client, Received, Reply, Signal, Upstream, get, post_json},
    value,
};

/// How each secret of these tests begins.
const CANARY: &str = "canary";
const NEXT: &str = "canary-next";
const DEVICE: &str = "canary-device";
const CLIENT_KEY: &str = "canary-client-key";
const PROVIDER_KEY: &str = "canary-provider-key";

/// What came out, with what it came out of.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, what: &str, out: impl fmt::Debug) {
        self.0.push((what.to_owned(), format!("{out:?}")));
    }

    fn hold_no_secret(&self) {
        for (what, out) in &self.0 {
            let around = out.find(CANARY).map(|at| &out.as_bytes()[at.saturating_sub(200)..out.len().min(at + 40)]);
            assert!(around.is_none(), "{what}: {}", String::from_utf8_lossy(around.unwrap_or_default()));
        }
    }
}

/// An upstream that takes one token, and says it in the headers of its answers, as one has been seen to do.
fn talkative(taken: &Shared<&'static str>) -> Upstream {
    let taken = taken.clone();
    Upstream::start(move |request: Received| {
        let bearer = format!("Bearer {}", value(&taken));
        if request.header("authorization") != Some(&bearer) {
            return Reply::error(401, "invalid_token", "the token is no good");
        }
        let reply = match &request.json() {
            asked if asked["model"] == "qwen-max" => Reply::error(500, "internal", "out of order"),
            asked if asked["stream"] == true => Reply::chat_stream(["你", "好"]),
            _ => Reply::chat("你好"),
        };
        reply.header("authorization", &bearer).header("x-debug", &format!("got {bearer}"))
    })
}

/// A login server that gives a device code, and else this answer.
fn login_server(answer: &Shared<Reply>) -> Upstream {
    let answer = answer.clone();
    Upstream::start(move |request: Received| match request.path() {
        "/device" => Reply::json(
            200,
            &json!({
                "device_code": DEVICE, "user_code": "WDJB-MJHT", "verification_uri": "https://login.example/go",
                "expires_in": 600, "interval": 0,
            }),
        ),
        _ => value(&answer),
    })
}

fn granted() -> Reply {
    Reply::json(200, &json!({ "access_token": NEW, "refresh_token": NEXT, "expires_in": 3600 }))
}

/// A page of a proxy that quotes what it was sent.
fn quoting_page(status: u16) -> Reply {
    Reply::body(status, "text/html", format!("<html>{REFRESH} {DEVICE} {OLD}</html>"))
}

fn config(login: &Login, keyed: &Upstream) -> String {
    let device = format!("login: {{ url: \"{}\" }}, allow_hosts", login.tokens.url("/device"));
    let keyed = keyed.url("/v1");
    format!(
        "server: {{ api_keys: [{CLIENT_KEY}] }}\n{}  keyed: {{ type: openai, base_url: \"{keyed}\", api_key: {PROVIDER_KEY} }}\n",
        login.config(OPEN_AND_QUICK).replace("allow_hosts", &device),
    )
}

#[tokio::test]
async fn are_in_no_answer_and_no_log_of_a_gateway() {
    let (taken, answer) = (shared(OLD), shared(granted()));
    let login = Login::with_tokens(talkative(&taken), login_server(&answer));
    login.write(3600);
    let keyed = talkative(&shared(PROVIDER_KEY));
    let gateway = Binary::new(["--port", "0", "-c", "c.yaml"])
        .env("RUST_LOG", "trace")
        .file("c.yaml", config(&login, &keyed))
        .start();
    let addr = gateway.listening().await;
    let mut seen = Seen::default();
    let key = format!("Bearer {CLIENT_KEY}");
    let key = [("authorization", key.as_str())];
    let mut ask = async |what: &str, json: &Value, status: u16| {
        let answer = post_json(addr, "/v1/chat/completions", json, &key).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        seen.add(what, answer);
    };
    let streamed = |model| {
        let mut asked = question(model);
        asked["stream"] = true.into();
        asked
    };

    ask("a success", &question("qwen-plus"), 200).await;
    ask("a stream", &streamed("qwen-plus"), 200).await;
    ask("an error of the provider", &question("qwen-max"), 500).await;
    ask("a backend with a key", &question("keyed:qwen-plus"), 200).await;
    ask("an error of a backend with a key", &question("keyed:qwen-max"), 500).await;

    // The file is written anew each time, for it to be tried again.
    set(&taken, NEW);
    set(&answer, quoting_page(500));
    ask("a login server that is out of order", &question("qwen-plus"), 503).await;
    login.write(3601);
    set(&answer, quoting_page(400));
    ask("a login server that refuses", &question("qwen-plus"), 401).await;
    login.write(3602);
    set(&answer, Reply::json(200, &json!({ "refresh_token": NEXT, "access_token": [OLD, NEW] })));
    ask("a login server that answers nonsense", &question("qwen-plus"), 503).await;
    login.write(3603);
    set(&answer, granted());
    ask("a token that is renewed", &question("qwen-plus"), 200).await;
    ask("a stream with the new token", &streamed("qwen-plus"), 200).await;

    for path in ["/health", "/readyz", "/v1/models", "/v1/pointsman/explain?model=qwen-plus", "/no/such/path"] {
        seen.add(path, get(addr, path, &key).await);
    }
    let bad = [("authorization", "Bearer canary-of-nobody")];
    let refused = post_json(addr, "/v1/chat/completions", &question("qwen-plus"), &bad).await;
    assert_eq!(refused.status, 401);
    seen.add("a bad key", refused);
    let mut garbage = Client::connect(addr).await;
    garbage.request("POST", "/v1/chat/completions", &key, format!("{{\"model\": {CLIENT_KEY}").as_bytes()).await;
    seen.add("a body that is no JSON", garbage.answer().await);

    // The secrets went where they should.
    assert_eq!((&login.file()["access_token"], &login.file()["refresh_token"]), (&json!(NEW), &json!(NEXT)));
    assert!(login.tokens.requests().iter().all(|request| String::from_utf8_lossy(&request.body).contains(REFRESH)));
    assert_eq!((login.tokens.requests().len(), keyed.requests().len()), (4, 2));

    gateway.signal(Signal::Term).await;
    let finished = gateway.finished().await;
    assert!(finished.status.success() && finished.stderr.contains("TRACE"), "{finished:?}");
    seen.add("the gateway's output", finished);
    seen.hold_no_secret();
}

#[tokio::test]
async fn are_in_no_output_of_the_commands_about_a_login() {
    let answer = shared(granted());
    let login = Login::with_tokens(talkative(&shared(NEW)), login_server(&answer));
    let config = config(&login, &Upstream::always(Reply::chat("")));
    let mut seen = Seen::default();
    let mut run = async |args: &[&str], code: i32| {
        let args = [args, &["--config", "c.yaml"]].concat();
        let run = Binary::new(&args).env("RUST_LOG", "trace").file("c.yaml", &config).run().await;
        assert_eq!(run.status.code(), Some(code), "{args:?}: {run:?}");
        seen.add(&args.join(" "), run);
    };

    run(&["credentials"], 0).await;
    run(&["login", "qwen-oauth"], 0).await;
    assert_eq!((&login.file()["access_token"], &login.file()["refresh_token"]), (&json!(NEW), &json!(NEXT)));
    run(&["credentials"], 0).await;
    run(&["credentials", "--json"], 0).await;
    run(&["logout", "qwen-oauth"], 0).await;
    assert!(!login.path().exists());
    set(&answer, quoting_page(400));
    run(&["login", "qwen-oauth"], 1).await;

    let requests = login.tokens.requests();
    assert!(requests.iter().any(|request| String::from_utf8_lossy(&request.body).contains(DEVICE)));
    seen.hold_no_secret();
}
