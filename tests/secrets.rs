//! Secrets are in nothing that comes out, whichever path or command it comes from.
//!
//! What a login adds to this is in `tests/qwen/secrets.rs`.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Binary, Client, Reply, Running, Signal, Upstream, get, post_json};

/// How each secret here begins.
const CANARY: &str = "canary";
const CLIENT_KEY: &str = "canary-client";

/// A provider that says in its headers what it was sent, and answers each path as well as it can.
fn talkative() -> Upstream {
    Upstream::start(|request| {
        let sent = format!("{:?}", request.headers).replace(['\r', '\n'], " ");
        let reply = match request.path() {
            "/quota" => Reply::quota(&json!({ "balance": 1 })),
            "/v1/models" => Reply::json(200, &json!({ "data": [{ "id": "canned" }] })),
            _ if request.body.is_empty() => Reply::chat("empty"),
            _ if request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/")) => {
                Reply::chat("form")
            }
            _ => match request.json() {
                asked if asked["model"] == "failing" => Reply::error(500, "oops", "oops"),
                asked if asked["model"] == "broken" => Reply::nothing().reset(),
                asked if asked["stream"] == true => Reply::chat_stream(["hello"]),
                _ => Reply::chat("hello"),
            },
        };
        reply.header("x-echo", &sent)
    })
}

fn config(upstream: &Upstream) -> String {
    format!(
        "server: {{ port: 0, api_keys: [{CLIENT_KEY}, canary-another], admin_keys: [canary-admin] }}
models:
  - {{ name: m, providers: [{{ provider: a, condition: balance > 0 }}] }}
  - {{ name: failing, providers: [{{ provider: a }}, {{ provider: b }}] }}
  - {{ name: broken, providers: [{{ provider: a }}] }}
  - {{ name: unreachable, providers: [{{ provider: gone }}] }}
  - {{ name: closed, providers: [{{ provider: a, condition: balance > 5 }}] }}
default_backend: a
backends:
  a: {{ type: openai, base_url: \"{url}/v1\", api_key: canary-a, headers: {{ x-extra: canary-extra }}, \
        quota: {{ url: \"{url}/quota?key=canary-query\", headers: {{ x-key: \"${{api_key}}\" }} }} }}
  b: {{ type: openai, base_url: \"{url}/v1\", api_key: \"${{B_KEY}}\", auth: {{ header: x-special }} }}
  gone: {{ type: openai, base_url: \"http://127.0.0.1:9/v1\", api_key: canary-gone }}
",
        url = upstream.url(""),
    )
}

fn with_config<'a>(args: impl IntoIterator<Item = &'a str>, config: &str) -> Binary {
    Binary::new(args)
        .env("RUST_LOG", "trace")
        .env("B_KEY", "canary-b")
        .env("OPENAI_API_KEY", "canary-environment")
        .file("config.yaml", config)
}

/// What came out, with what it came out of.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, what: &str, out: impl std::fmt::Debug) {
        self.0.push((what.to_owned(), format!("{out:?}")));
    }

    fn hold_no_secret(&self) {
        for (what, out) in &self.0 {
            let around = out.find(CANARY).map(|at| &out.as_bytes()[at.saturating_sub(200)..out.len().min(at + 40)]);
            assert!(around.is_none(), "{what}: {}", String::from_utf8_lossy(around.unwrap_or_default()));
        }
    }
}

async fn stopped(gateway: Running, seen: &mut Seen) {
    gateway.signal(Signal::Term).await;
    let finished = gateway.finished().await;
    assert!(finished.status.success() && finished.stderr.contains("listening on"), "{finished:?}");
    seen.add("the log", finished);
}

#[tokio::test]
async fn are_in_no_answer_to_any_path() {
    let upstream = talkative();
    let gateway = with_config([], &config(&upstream)).start();
    let addr = gateway.listening().await;
    let mut seen = Seen::default();
    let bearer = format!("Bearer {CLIENT_KEY}");
    let keys = [[("authorization", bearer.as_str())], [("x-api-key", CLIENT_KEY)], [("api-key", "canary-another")]];
    let bad = [("authorization", "Bearer canary-of-nobody")];
    for path in ["/v1/models", "/v1/pointsman/explain?model=m", "/nothing"] {
        seen.add("a bad key", get(addr, path, &bad).await);
        seen.add("a bad key", post_json(addr, path, &json!({ "model": "m" }), &bad).await);
    }
    for key in &keys {
        for path in [
            "/",
            "/health",
            "/healthz",
            "/livez",
            "/ready",
            "/readyz",
            "/metrics",
            "/v1/models",
            "/v1/models?live=true",
            "/v1/models/m",
            "/v1/models/canned",
            "/llm/v1/models",
            "/v1/pointsman/explain?model=m",
            "/v1/pointsman/explain?model=a:x?temperature=1|b:y",
            "/v1/pointsman/explain?model=nobody",
            "/v1/pointsman/explain",
            "/v1/files",
            "/v1/../health?key=canary-in-the-query",
            "/nothing?api_key=canary-in-the-query",
        ] {
            seen.add(path, get(addr, path, key).await);
        }
        for path in [
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/responses",
            "/v1/images/generations",
            "/v1/audio/speech",
            "/v1/moderations",
            "/v1/rerank",
            "/v1/models",
            "/nothing",
        ] {
            for model in ["m", "failing", "broken", "unreachable", "closed", "a:x", "nobody:x", "hybrid:[a:x,b:y]"] {
                for stream in [false, true] {
                    let question =
                        json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "?" }] });
                    seen.add(&format!("{path} {model}"), post_json(addr, path, &question, key).await);
                }
            }
        }
        let form = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--x--\r\n";
        let fields = [&key[..], &[("content-type", "multipart/form-data; boundary=x")]].concat();
        for path in ["/v1/audio/transcriptions", "/v1/images/edits"] {
            let mut client = Client::connect(addr).await;
            client.request("POST", path, &fields, form.as_bytes()).await;
            seen.add(path, client.answer().await);
        }
        for method in ["HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT"] {
            let mut client = Client::connect(addr).await;
            client.request(method, "/v1/models", key, b"").await;
            seen.add(method, client.answer().await);
        }
    }
    // What never becomes a request.
    let long = format!("x: {}\r\n", "canary".repeat(20_000));
    for head in [
        "GET /health HTTP/1.1\r\nhost: h\r\nauthorization Bearer canary\r\n\r\n",
        "GET /canary canary HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: h\r\nx-api-key: canary\0\r\n\r\n",
        "GET /health HTTP/1.1\nauthorization: Bearer canary\r\nhost: h\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: canary@h\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: canary\r\n\r\n",
        &format!("GET /health HTTP/1.1\r\nhost: h\r\n{long}\r\n"),
    ] {
        let mut client = Client::connect(addr).await;
        let _ = client.try_send(head).await;
        let answer = client.answer().await;
        assert!(answer.status >= 400, "{answer:?}");
        seen.add("a bad head", answer);
    }
    // The keys went where they should.
    let sent = format!("{:?}", upstream.requests().iter().map(|request| request.headers.clone()).collect::<Vec<_>>());
    for key in ["canary-a", "canary-b", "canary-extra"] {
        assert!(sent.contains(key), "{key}");
    }
    assert!(seen.0.iter().filter(|(_, out)| out.contains("hello")).count() > 100, "{}", seen.0.len());
    stopped(gateway, &mut seen).await;
    assert!(seen.0.iter().any(|(what, out)| what == "the log" && out.contains("TRACE")), "the log is on");
    seen.hold_no_secret();
}

/// The subcommands, as the program itself lists them.
async fn commands() -> BTreeSet<String> {
    let help = Binary::new(["--help"]).run().await.stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn are_in_no_output_of_any_command() {
    let upstream = talkative();
    let config = config(&upstream);
    let gateway = with_config(["serve"], &config).start();
    let url = format!("http://{}", gateway.listening().await);
    let mut seen = Seen::default();
    // `login` and `logout` find nothing to do here; of those with a login, `tests/qwen/secrets.rs` tells.
    let mut tried: BTreeSet<_> = ["serve", "help"].map(str::to_owned).into();
    for (args, code) in [
        (vec!["check"], 0),
        (vec!["providers"], 0),
        (vec!["providers", "--json"], 0),
        (vec!["providers", "openai-api"], 0),
        (vec!["eval", "balance > 0", "--quota", "{\"balance\": 1}"], 0),
        (vec!["explain", "m"], 0),
        (vec!["explain", "m", "--json"], 0),
        (vec!["explain", "a:x|b:y"], 0),
        (vec!["explain", "m", "--url", &url, "--key", CLIENT_KEY], 0),
        (vec!["explain", "m", "--url", &url, "--key", "canary-of-nobody"], 1),
        (vec!["explain", "m", "--url", "http://127.0.0.1:9", "--key", CLIENT_KEY], 1),
        (vec!["login", "a"], 1),
        (vec!["logout", "a"], 1),
        (vec!["credentials"], 0),
        (vec!["credentials", "--json"], 0),
        (vec!["demo", "--tour"], 0),
    ] {
        let finished = with_config(args.iter().copied(), &config).run().await;
        assert_eq!(finished.status.code(), Some(code), "{args:?}: {finished:?}");
        tried.insert(args[0].to_owned());
        seen.add(&args.join(" "), finished);
    }
    for command in ["check", "serve", "explain", "credentials"] {
        // With mistakes on the very lines that hold keys.
        let broken =
            config.replace("api_key: canary-a,", "api_key: canary-a, oops: 1,").replace("balance > 5", "balance => 5");
        let args = [command].into_iter().chain((command == "explain").then_some("m"));
        let finished = with_config(args, &broken).run().await;
        assert_eq!(finished.status.code(), Some(1), "{command}: {finished:?}");
        assert!(finished.stderr.contains("unknown key `oops`"), "{}", finished.stderr);
        seen.add(command, finished);
    }
    assert_eq!(tried, commands().await, "a new command is to be tried here");
    stopped(gateway, &mut seen).await;
    seen.hold_no_secret();
}

/// What the gateway explains, it explains without what it knows by heart.
#[tokio::test]
async fn are_in_no_explanation() {
    let upstream = talkative();
    let gateway = with_config([], &config(&upstream)).start();
    let addr = gateway.listening().await;
    let answer = get(addr, "/v1/pointsman/explain?model=failing", &[("x-api-key", CLIENT_KEY)]).await;
    assert_eq!(answer.status, 200);
    let explained: Value = answer.json();
    assert!(explained.to_string().contains("\"b\""), "{explained}");
    assert!(!explained.to_string().contains(CANARY), "{explained}");
}
