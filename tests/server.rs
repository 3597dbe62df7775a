//! The binary: how it starts, whom it lets in, and how it stops.

mod support;

use bytes::Bytes;
use serde_json::json;
use support::{
    Answer, Binary, Client, Ended, Finished, Gate, Refusing, Reply, Running, Signal, Upstream, backend, backends, get,
    post_json,
};

const CHAT: &str = "/v1/chat/completions";

/// A configuration of the route `m`, and of a server that listens on any free port.
fn config(upstream: &Upstream, server: &str) -> String {
    format!(
        "server: {{ port: 0, {server} }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "models: [small, large]")])
    )
}

/// The binary with this configuration in `./config.yaml`.
fn serving(config: &str, args: &[&str]) -> Running {
    Binary::new(args).file("config.yaml", config).start()
}

/// A stream is under way: its first event is with the client, and the gate holds the second.
async fn streaming(running: &Running) -> Client {
    let mut client = Client::connect(running.listening().await).await;
    client.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
    assert_eq!(client.head().await.status(), 200);
    client.until("data: 1\n\n").await;
    client
}

fn two_events(gate: &Gate) -> Upstream {
    Upstream::always(Reply::sse().event("1").gate(gate).event("2").done())
}

mod starts {
    use super::*;

    #[tokio::test]
    async fn and_says_where_it_listens() {
        let upstream = Upstream::always(Reply::chat("hello"));
        for args in [vec![], vec!["serve"], vec!["--port", "0"], vec!["serve", "--port", "0", "--host", "127.0.0.1"]] {
            let running = serving(&config(&upstream, ""), &args);
            let addr = running.listening().await;
            assert!(addr.ip().is_loopback() && addr.port() != 0);
            let answer = post_json(addr, CHAT, &json!({ "model": "m" }), &[]).await;
            assert_eq!(answer.status, 200, "{args:?}");
            running.signal(Signal::Int).await;
            assert_eq!(running.finished().await.status.code(), Some(0), "{args:?}");
        }
    }

    #[tokio::test]
    async fn on_the_host_and_port_that_the_environment_says() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let running = Binary::new([""; 0])
            .file("config.yaml", config(&upstream, "").replace("port: 0", "port: 1"))
            .env("POINTSMAN_SERVER_PORT", "0")
            .env("POINTSMAN_SERVER_HOST", "localhost")
            .start();
        assert_eq!(get(running.listening().await, "/health", &[]).await.status, 200);
    }

    /// A configuration whose models say which one it is.
    fn named(name: &str) -> String {
        format!("server: {{ port: 0 }}\nmodels: [{{ name: {name}, providers: [{{ provider: ollama }}] }}]\n")
    }

    async fn loaded(running: &Running) -> String {
        let models = get(running.listening().await, "/v1/models", &[]).await.json();
        models["data"][0]["id"].as_str().expect("a name").to_owned()
    }

    #[tokio::test]
    async fn with_the_first_configuration_that_is_there() {
        let places = [
            "config.yaml",
            "xdg/pointsman/config.yaml",
            ".config/g4f/cookies/config.yaml",
            "har_and_cookies/config.yaml",
        ];
        for first in 0..places.len() {
            let binary = Binary::new([""; 0]);
            let xdg = binary.home().join("xdg");
            let mut binary = binary.env("XDG_CONFIG_HOME", xdg);
            for (index, place) in places.iter().enumerate().skip(first) {
                binary = binary.file(place, named(&format!("place-{index}")));
            }
            let running = binary.start();
            assert_eq!(loaded(&running).await, format!("place-{first}"));
            let said = running.line("configuration loaded").await;
            assert!(
                said.contains(places[first].rsplit_once('/').map_or("config.yaml", |(folder, _)| folder)),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn with_the_home_directory_s_where_xdg_says_nothing() {
        let running = Binary::new([""; 0]).file(".config/pointsman/config.yaml", named("home")).start();
        assert_eq!(loaded(&running).await, "home");
    }

    #[tokio::test]
    async fn with_the_one_that_is_named() {
        for (args, variable) in [
            (vec!["--config", "mine.yaml"], None),
            (vec!["serve", "-c", "mine.yaml"], None),
            (vec![], Some("mine.yaml")),
        ] {
            let mut binary = Binary::new(&args).file("mine.yaml", named("mine")).file("config.yaml", named("other"));
            if let Some(path) = variable {
                binary = binary.env("POINTSMAN_CONFIG", path);
            }
            assert_eq!(loaded(&binary.start()).await, "mine", "{args:?}");
        }
    }

    async fn fails(binary: Binary, says: &[&str]) {
        let finished = binary.run().await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        for words in says {
            assert!(finished.stderr.contains(words), "{words} in {}", finished.stderr);
        }
        assert!(!finished.stderr.contains("listening") && !finished.stderr.contains("panicked"), "{}", finished.stderr);
    }

    #[tokio::test]
    async fn not_without_a_configuration() {
        let places =
            ["./config.yaml", "pointsman/config.yaml", "g4f/cookies/config.yaml", "har_and_cookies/config.yaml"];
        fails(Binary::new(["serve"]), &places).await;
        fails(Binary::new(["--config", "gone.yaml"]), &["gone.yaml"]).await;
    }

    #[tokio::test]
    async fn not_with_a_broken_configuration() {
        let broken = "models:\n  - name: m\n    providers:\n      - { provider: a, conditon: balance > 0 }\n";
        let says = ["config.yaml:4:", "unknown key `conditon`", "did you mean `condition`", "unknown provider `a`"];
        fails(Binary::new([""; 0]).file("config.yaml", broken), &says).await;
        fails(Binary::new([""; 0]).file("config.yaml", "models: ["), &["not valid YAML"]).await;
    }

    #[tokio::test]
    async fn not_on_a_port_that_is_taken() {
        let taken = Refusing::new();
        let upstream = Upstream::always(Reply::chat("hello"));
        let port = taken.addr().port().to_string();
        fails(Binary::new(["--port", &port]).file("config.yaml", config(&upstream, "")), &["cannot listen on", &port])
            .await;
    }

    #[tokio::test]
    async fn not_for_other_machines_without_keys() {
        let upstream = Upstream::always(Reply::chat("hello"));
        for (host, shown) in [("0.0.0.0", "0.0.0.0"), ("::", "::"), ("[::]", "::")] {
            let binary = Binary::new(["--host", host]).file("config.yaml", config(&upstream, ""));
            fails(binary, &[shown, "server.api_keys", "POINTSMAN_API_KEYS", "127.0.0.1"]).await;
        }
        let file = config(&upstream, "host: 0.0.0.0");
        fails(Binary::new([""; 0]).file("config.yaml", &file), &["0.0.0.0"]).await;
        // An empty list of keys is none.
        fails(Binary::new([""; 0]).file("config.yaml", &file).env("POINTSMAN_API_KEYS", " , "), &["0.0.0.0"]).await;
        let running = Binary::new([""; 0]).file("config.yaml", &file).env("POINTSMAN_API_KEYS", "k").start();
        assert_eq!(running.listening().await.ip().to_string(), "0.0.0.0");
    }
}

mod lets_in {
    use super::*;

    async fn with(running: &Running, header: (&str, &str)) -> Answer {
        post_json(running.listening().await, CHAT, &json!({ "model": "m" }), &[header]).await
    }

    async fn only_with(running: &Running, keys: &[&str], others: &[&str]) {
        for key in keys {
            let bearer = format!("Bearer {key}");
            for header in [("authorization", &*bearer), ("x-api-key", key), ("api-key", key)] {
                assert_eq!(with(running, header).await.status, 200, "{header:?}");
            }
        }
        for key in others {
            let bearer = format!("Bearer {key}");
            for header in [("authorization", &*bearer), ("x-api-key", key), ("x-other", key)] {
                let answer = with(running, header).await;
                assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{header:?}");
                let error = &answer.json()["error"];
                assert_eq!(
                    (&error["code"], &error["type"]),
                    (&json!("invalid_api_key"), &json!("authentication_error"))
                );
                let message = error["message"].as_str().expect("a text");
                assert!(message.starts_with("Incorrect API key provided"), "{message}");
            }
        }
    }

    #[tokio::test]
    async fn whoever_has_a_key_of_the_configuration() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let text = config(&upstream, "api_keys: [one, \"${KEY}\"]");
        let running = Binary::new([""; 0]).file("config.yaml", text).env("KEY", "two").start();
        only_with(&running, &["one", "two"], &["three", "", "on", "key-of-a"]).await;
    }

    #[tokio::test]
    async fn whoever_has_a_key_of_the_environment() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let text = config(&upstream, "api_keys: [file]");
        let running = Binary::new([""; 0]).file("config.yaml", text).env("POINTSMAN_API_KEYS", "one, two,,").start();
        only_with(&running, &["one", "two"], &["file", "", "one, two"]).await;
    }
}

mod tells {
    use super::*;

    #[tokio::test]
    async fn how_it_is() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let running = serving(&config(&upstream, "api_keys: [k]"), &[]);
        let addr = running.listening().await;
        for path in ["/health", "/healthz"] {
            let answer = get(addr, path, &[]).await;
            assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok" })), "{path}");
        }
        assert_eq!(get(addr, "/readyz", &[]).await.json(), json!({ "status": "ready" }));
        assert!(upstream.requests().is_empty(), "nobody is asked for that");

        let text = "server: { port: 0 }\nmodels:\n  - { name: m, providers: [{ provider: Groq }] }\n  \
                    - { name: n, providers: [{ provider: Groq }, { provider: ollama }] }\n";
        let running = serving(text, &[]);
        let answer = get(running.listening().await, "/readyz", &[]).await;
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.json()["unusable_routes"],
            json!([{ "route": "m", "reasons": ["groq: no credential (GROQ_API_KEY)"] }])
        );
        assert_eq!(get(running.listening().await, "/healthz", &[]).await.status, 200);
    }

    #[tokio::test]
    async fn which_models_there_are() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let running = serving(&config(&upstream, ""), &[]);
        let addr = running.listening().await;
        let model = |id: &str, owner: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": owner });
        let models = [model("m", "pointsman"), model("small", "a"), model("large", "a")];
        assert_eq!(get(addr, "/v1/models", &[]).await.json(), json!({ "object": "list", "data": models }));
        for model in models {
            let id = model["id"].as_str().expect("a name");
            assert_eq!(get(addr, &format!("/v1/models/{id}"), &[]).await.json(), model);
            let answer = post_json(addr, CHAT, &json!({ "model": id }), &[]).await;
            assert_eq!(answer.status, 200);
        }
        assert_eq!(get(addr, "/v1/models/none", &[]).await.json()["error"]["code"], "model_not_found");
    }
}

mod stops {
    use super::*;

    #[tokio::test]
    async fn when_the_streams_are_done() {
        for signal in [Signal::Term, Signal::Int] {
            let gate = Gate::new();
            let upstream = two_events(&gate);
            let running = serving(&config(&upstream, ""), &[]);
            let mut client = streaming(&running).await;
            let addr = running.listening().await;
            running.signal(signal).await;
            running.line("stopping").await;
            // The listener is closed once no connection gets in.
            while tokio::net::TcpStream::connect(addr).await.is_ok() {
                tokio::task::yield_now().await;
            }
            gate.open();
            client.until("data: [DONE]\n\n").await;
            assert_eq!(client.rest().await.1, Ended::Clean);
            let finished = running.finished().await;
            assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
            assert!(finished.stderr.contains("stopped"), "{}", finished.stderr);
        }
    }

    #[tokio::test]
    async fn without_waiting_for_idle_connections() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let running = serving(&config(&upstream, "shutdown_timeout: 10m"), &[]);
        let mut client = Client::connect(running.listening().await).await;
        client.post(CHAT, &json!({ "model": "m" }), &[]).await;
        assert_eq!(client.answer().await.status, 200);
        running.signal(Signal::Term).await;
        assert_eq!(running.finished().await.status.code(), Some(0));
        assert_eq!(client.closed().await, Ended::Clean);
    }

    #[tokio::test]
    async fn not_ready_any_more() {
        let gate = Gate::new();
        let upstream = two_events(&gate);
        let running = serving(&config(&upstream, ""), &[]);
        let mut other = Client::connect(running.listening().await).await;
        other.send("GET /readyz HTTP/1.1\r\nhost: h\r\n").await;
        let mut client = streaming(&running).await;
        running.signal(Signal::Term).await;
        running.line("stopping").await;
        // A request that had begun is answered.
        if other.try_send("\r\n").await.is_ok()
            && let Some(head) = other.try_head().await
        {
            assert_eq!(head.status(), 503);
        }
        gate.open();
        client.until("data: [DONE]\n\n").await;
        assert_eq!(running.finished().await.status.code(), Some(0));
    }

    /// What comes of the program, and of the rest of a stream that never ends.
    async fn stops(running: Running, mut client: Client) -> (Finished, (Bytes, Ended)) {
        running.signal(Signal::Term).await;
        (running.finished().await, client.rest().await)
    }

    #[tokio::test]
    async fn at_the_latest_after_the_shutdown_timeout() {
        let upstream = two_events(&Gate::new());
        for (args, server) in [(vec!["--shutdown-timeout", "100ms"], ""), (vec![], "shutdown_timeout: 100ms")] {
            let running = serving(&config(&upstream, server), &args);
            let client = streaming(&running).await;
            let (finished, (rest, end)) = stops(running, client).await;
            let rest = String::from_utf8_lossy(&rest);
            assert!(rest.contains("upstream_stream_broken") && !rest.contains("[DONE]"), "{rest}");
            assert_eq!(end, Ended::Clean, "what ends with an error needs no other sign");
            assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
            assert!(finished.stderr.contains("cut=1"), "{}", finished.stderr);
        }
        upstream.all_closed().await;
    }

    /// The old refresh token is spent when the new one is issued: an end in between would lose the login.
    #[tokio::test]
    async fn not_before_a_login_that_is_being_renewed() {
        let (gate, upstream) = (Gate::new(), Upstream::always(Reply::chat("hello")));
        let granted = json!({ "access_token": "new", "refresh_token": "next", "expires_in": 3600 });
        let body = granted.to_string();
        let reply = Reply::new(200)
            .header("content-type", "application/json")
            .header("content-length", &body.len().to_string())
            .gate(&gate)
            .data(body);
        let tokens = Upstream::script([reply]);
        let text = format!(
            "server: {{ port: 0, shutdown_timeout: 100ms }}\ndefault_backend: a\nbackends:\n  a:\n    type: openai\n    \
             base_url: \"{}/v1\"\n    oauth: {{ path: login.json, fields: {{ access: /access_token, refresh: /refresh_token }}, \
             expiry: {{ field: /expiry_date, unit: ms }}, refresh: {{ url: \"{}\", client_id: x }} }}\n",
            upstream.url(""),
            tokens.url("/token"),
        );
        let login = json!({ "access_token": "old", "refresh_token": "spent", "expiry_date": 1 }).to_string();
        let running = Binary::new([""; 0]).file("config.yaml", text).file("login.json", login).start();
        let mut client = Client::connect(running.listening().await).await;
        client.post(CHAT, &json!({ "model": "m" }), &[]).await;
        tokens.wait_for(1).await;
        running.signal(Signal::Term).await;
        // The request is given up at the limit, and the renewal is not.
        assert_eq!(client.answer().await.status, 503);
        gate.open();
        let file = running.home().join("login.json");
        let file = tokio::task::spawn_blocking(move || {
            loop {
                let text = std::fs::read_to_string(&file).expect("a file");
                if text.contains("next") {
                    return text;
                }
                std::thread::yield_now();
            }
        });
        let file = support::guard("the new login", file).await.expect("no panic");
        assert!(file.contains("new"), "{file}");
        assert_eq!(running.finished().await.status.code(), Some(0));
        assert!(upstream.requests().is_empty());
    }

    #[tokio::test]
    async fn at_once_at_the_second_signal() {
        let upstream = two_events(&Gate::new());
        let running = serving(&config(&upstream, "shutdown_timeout: 10m"), &[]);
        let client = streaming(&running).await;
        running.signal(Signal::Int).await;
        running.line("stopping").await;
        let (finished, (_, end)) = stops(running, client).await;
        assert_eq!((finished.status.code(), end), (Some(130), Ended::Cut), "{}", finished.stderr);
        upstream.all_closed().await;
    }
}

mod check {
    use super::*;

    async fn check(text: &str) -> Finished {
        Binary::new(["check"]).file("config.yaml", text).run().await
    }

    #[tokio::test]
    async fn says_what_a_good_configuration_is() {
        let finished = check("models: [{ name: m, providers: [{ provider: ollama, model: llama3 }] }]\n").await;
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        assert!(finished.stdout.contains("config.yaml: 1 route, 0 warnings"), "{}", finished.stdout);
        assert!(finished.stdout.contains("m -> ollama/llama3"), "{}", finished.stdout);
        assert_eq!(finished.stderr, "");
    }

    #[tokio::test]
    async fn says_what_is_doubtful() {
        let finished = check(include_str!("data/example.yaml")).await;
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        assert!(finished.stdout.contains("3 routes"), "{}", finished.stdout);
        for words in ["warning: ", "OPENAI_API_KEY", "GROQ_API_KEY", "config.yaml:7:"] {
            assert!(finished.stderr.contains(words), "{words} in {}", finished.stderr);
        }
    }

    #[tokio::test]
    async fn says_everything_that_is_wrong_and_where() {
        let text = "\
models:
  - name: m
    providers:
      - { provider: ollama, condition: \"balence > 0\" }
      - { provider: nobody-knows }
  - providers: []
";
        let finished = check(text).await;
        assert_eq!(finished.status.code(), Some(1));
        assert_eq!(finished.stdout, "");
        for words in [
            "config.yaml:4:41",
            "`balance`",
            "config.yaml:5:21",
            "nobody-knows",
            "missing key `name`",
            "`providers` is empty",
        ] {
            assert!(finished.stderr.contains(words), "{words} in {}", finished.stderr);
        }
    }

    #[tokio::test]
    async fn needs_a_file() {
        let finished = Binary::new(["check"]).run().await;
        assert_eq!(finished.status.code(), Some(1));
        let finished = Binary::new(["check", "--config", "gone.yaml"]).run().await;
        assert_eq!(finished.status.code(), Some(1));
        assert!(finished.stderr.contains("gone.yaml"), "{}", finished.stderr);
    }
}

mod eval {
    use super::*;

    #[tokio::test]
    async fn tells_true_from_false_from_an_error() {
        for (args, code, says) in [
            (vec!["balance > 0", "--quota", r#"{"balance": 1}"#], 0, "true"),
            (vec!["balance > 0"], 1, "false"),
            (vec!["error_count < 3", "--error-count", "2"], 0, "true"),
            (vec!["error_count < 3", "--error-count", "3"], 1, "false"),
            (vec!["-1 < error_count"], 0, "true"),
            (vec![""], 0, "true"),
            (vec!["balance >"], 2, "error"),
            (vec!["balence > 0"], 2, "balance"),
            (vec!["balance > 0", "--quota", r#"{"balance": "plenty"}"#], 2, "error"),
            (vec!["balance > 0", "--quota", "{"], 2, "--quota"),
            (vec!["balance > 0", "--error-count", "many"], 2, "many"),
            (vec![], 2, "EXPR"),
        ] {
            let finished = Binary::new(["eval"].iter().chain(&args)).run().await;
            assert_eq!(finished.status.code(), Some(code), "{args:?}: {}", finished.stderr);
            let told = if code == 2 { &finished.stderr } else { &finished.stdout };
            assert!(told.contains(says), "{args:?}: {told}");
        }
    }
}

#[tokio::test]
async fn keys_are_nowhere_in_the_log_nor_in_answers() {
    const KEY: &str = "canary-7f3a";
    let upstream = Upstream::start(|request| {
        if request.path() == "/quota" {
            return Reply::quota(&json!({ "balance": 1 }));
        }
        match request.json()["model"].as_str() {
            // Says in its headers what it was sent, as some debug proxies do.
            Some("echo") => Reply::chat("hello").header("x-echo", request.header("authorization").unwrap_or_default()),
            Some("broken") => Reply::nothing().reset(),
            _ => Reply::error(500, "oops", "oops"),
        }
    });
    let refusing = Refusing::new();
    let text = format!(
        "server: {{ port: 0, api_keys: [\"{KEY}-client\"] }}
models:
  - {{ name: echo, providers: [{{ provider: a, condition: balance > 0 }}] }}
  - {{ name: broken, providers: [{{ provider: a }}] }}
  - {{ name: failing, providers: [{{ provider: b }}, {{ provider: a }}] }}
backends:
  a: {{ type: openai, base_url: \"{url}/v1\", api_key: {KEY}-one, headers: {{ x-extra: {KEY}-two }}, \
        quota: {{ url: \"{url}/quota?key={KEY}-three\", headers: {{ x-key: \"${{api_key}}\" }} }} }}
  b: {{ type: openai, base_url: \"{refused}/v1\", api_key: {KEY}-four }}
",
        url = upstream.url(""),
        refused = refusing.url(""),
    );
    let running = Binary::new([""; 0]).file("config.yaml", &text).env("POINTSMAN_LOG", "trace").start();
    let addr = running.listening().await;
    let bearer = format!("Bearer {KEY}-client");
    let mut answers = Vec::new();
    for header in
        [("authorization", &*bearer), ("authorization", "Bearer wrong"), ("x-api-key", &bearer["Bearer ".len()..])]
    {
        for model in ["echo", "broken", "failing", "none"] {
            answers.push(
                post_json(addr, &format!("{CHAT}?api_key={KEY}-five"), &json!({ "model": model }), &[header]).await,
            );
        }
        for path in ["/v1/models", "/readyz", "/v1/../x", "/nothing?key=canary-7f3a-six"] {
            answers.push(get(addr, path, &[header]).await);
        }
    }
    assert!(answers.iter().any(|answer| answer.status == 200 && answer.text().contains("hello")));
    for answer in answers {
        let told = format!("{:?} {}", answer.headers, answer.text());
        assert!(!told.contains(KEY), "{told}");
    }
    running.signal(Signal::Term).await;
    let finished = running.finished().await;
    assert!(finished.stderr.contains("TRACE") || finished.stderr.contains("DEBUG"), "the log is on");
    for line in finished.stderr.lines().chain(finished.stdout.lines()) {
        assert!(!line.contains(KEY), "{line}");
    }
}

#[tokio::test]
async fn keys_are_masked_where_a_mistake_is_shown() {
    let text = "server: { api_keys: [canary-one] }\nbackends:\n  a: { type: openai, base_url: \"http://h/v1\", api_key: canary-two, oops: 1 }\n";
    for args in [["check"], ["serve"]] {
        let finished = Binary::new(args).file("config.yaml", text).run().await;
        assert_eq!(finished.status.code(), Some(1));
        assert!(finished.stderr.contains("unknown key `oops`"), "{}", finished.stderr);
        assert!(!finished.stderr.contains("canary") && !finished.stdout.contains("canary"), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn it_says_what_it_can_do() {
    let help = Binary::new(["--help"]).run().await;
    assert_eq!(help.status.code(), Some(0));
    for words in ["serve", "check", "eval", "--config", "--port", "--host", "--shutdown-timeout"] {
        assert!(help.stdout.contains(words), "{words} in {}", help.stdout);
    }
    let version = Binary::new(["--version"]).run().await;
    assert_eq!(version.stdout.trim(), concat!("pointsman ", env!("CARGO_PKG_VERSION")));
    assert_eq!(Binary::new(["--no-such-flag"]).run().await.status.code(), Some(2));
}
