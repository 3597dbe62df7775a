//! One model thinks, another one answers: two providers behind one request, over sockets.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, time::SystemTime};

use serde_json::{Value, json};
use support::{Answer, Binary, Client, Deployed, Ended, Gate, Reply, Upstream, backend, backends, post_json};

/// An event of a model that shows how it thinks.
fn thought(text: &str) -> String {
    json!({ "id": "first", "choices": [{ "index": 0, "delta": { "reasoning_content": text } }] }).to_string()
}

/// The stream of a model that thinks this, and then answers, and whose end nobody waits for.
fn thinks(text: &str) -> Reply {
    Reply::sse().event(&thought(text)).chat_event("The first one's answer.").stall()
}

/// A gateway with the backend `a`, and `b`, of which `more` is said, and further keys below `backends`.
fn between(a: &Upstream, b: &Upstream, more: &str, keys: &str) -> Deployed {
    let entries = [backend("a", &a.url(""), ""), backend("b", &b.url(""), more), keys.to_owned()];
    Deployed::start(&backends(entries))
}

const BOTH: &str = "hybrid:[a:thinker,b:writer]";

async fn ask(gateway: &Deployed, body: &Value) -> Answer {
    post_json(gateway.addr(), "/v1/chat/completions", body, &[]).await
}

fn hello(more: &Value) -> Value {
    let mut body = json!({ "model": BOTH, "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

async fn streaming(gateway: &Deployed) -> Client {
    let mut client = gateway.client().await;
    client.post("/v1/chat/completions", &hello(&json!({ "stream": true })), &[]).await;
    client
}

/// The pieces of a text in the chunks of a stream, put together.
fn said(answer: &Answer, key: &str) -> String {
    let chunks = answer.events().into_iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
    chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"][key].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn the_document_s_example_as_it_stands() {
    let minimax = Upstream::always(Reply::chat_stream(["<think>\nFirst a plan.", "\n</think>\n\nSome answer"]));
    let qwen = Upstream::always(Reply::chat("Done."));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("oauth_creds.json");
    let expires = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64 + 3_600_000;
    let login = json!({ "access_token": "of-qwen", "refresh_token": "r", "expiry_date": expires });
    fs::write(&path, login.to_string()).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("rights");
    let gateway = Deployed::start(&format!(
        "backends:\n  minimax: {{ base_url: \"{}/v1\", api_key: of-minimax }}\n  qwen-oauth:\n    base_url: \"{}/v1\"\n    \
         credentials_path: \"{}\"\n    extra: {{ enable_qwen_oauth_backend_debugging_override: true }}\n",
        minimax.url(""),
        qwen.url(""),
        path.display()
    ));
    let body = r#"{
    "model": "hybrid:[minimax:MiniMax-M2,qwen-oauth:qwen3-coder-plus]",
    "messages": [{"role": "user", "content": "Complex coding task"}]
  }"#;
    let mut client = gateway.client().await;
    let headers = [("content-type", "application/json")];
    client.request("POST", "/v1/chat/completions", &headers, body.as_bytes()).await;
    let answer = client.answer().await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let message = &answer.json()["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("Done."), &json!("First a plan.")));
    assert_eq!(answer.header("x-pointsman-provider"), Some("qwen-oauth"));
    assert_eq!(answer.header("x-pointsman-model"), Some("qwen3-coder-plus"));
    assert_eq!(answer.header("x-pointsman-hybrid"), Some("reasoned"));

    let first = minimax.request();
    assert_eq!(first.header("authorization"), Some("Bearer of-minimax"));
    let conversation = json!([{ "role": "user", "content": "Complex coding task" }]);
    let asked = json!({
        "model": "MiniMax-M2", "messages": conversation, "stream": true, "stream_options": { "include_usage": true },
    });
    assert_eq!(first.json(), asked);
    let second = qwen.request();
    assert_eq!(second.header("authorization"), Some("Bearer of-qwen"));
    assert_eq!((&second.json()["model"], second.json().get("stream")), (&json!("qwen3-coder-plus"), None));
    assert_eq!(second.json()["messages"][0]["role"], "system");
    assert!(second.json()["messages"][0]["content"].as_str().expect("a text").contains("First a plan."));
    assert_eq!(second.json()["messages"][1], conversation[0]);
}

#[tokio::test]
async fn the_reasoning_is_seen_live_and_stopped_when_it_ends() {
    let (more, answer) = (Gate::new(), Gate::new());
    let first = Reply::sse().event(&thought("One. ")).gate(&more).event(&thought("Two.")).gate(&more);
    let a = Upstream::always(first.chat_event("The first one's answer.").stall());
    let b = Upstream::always(Reply::chat_stream(["It is", " 4."]).held_by(&answer));
    let gateway = between(&a, &b, "", "");
    let mut client = streaming(&gateway).await;
    let head = client.head().await;
    assert_eq!(head.headers.get("content-type"), Some("text/event-stream"));
    assert_eq!(head.headers.get("x-pointsman-provider"), Some("b"));
    assert_eq!(head.headers.get("x-pointsman-model"), Some("writer"));
    assert_eq!(head.headers.get("x-pointsman-hybrid"), Some("reasoned"));
    assert!(head.headers.get("server-timing").expect("the first one's").contains("a/thinker: 200"));
    client.until("One. ").await;
    assert!(b.requests().is_empty());
    more.release();
    client.until("Two.").await;
    more.release();
    // The first one is cut off while the second one still holds its answer back.
    a.closed(0).await;
    b.wait_for(1).await;
    answer.open();
    let (rest, end) = client.rest().await;
    let rest = String::from_utf8(rest.to_vec()).expect("text");
    assert!(rest.contains("It is") && rest.ends_with("data: [DONE]\n\n") && !rest.contains("first one's"), "{rest}");
    assert_eq!(end, Ended::Clean);
    // Being cut off is no error of the first one's.
    assert_eq!((gateway.errors("a"), gateway.errors("b")), (0, 0));
}

#[tokio::test]
async fn a_stream_has_one_id_and_is_the_second_one_s_otherwise() {
    let event =
        "{ \"id\" : \"second\", \"x\": 1e400, \"choices\":[{\"delta\":{\"content\":\"\\u00e9\"},\"index\":0}] }";
    let a = Upstream::always(thinks("Hm."));
    let b = Upstream::always(Reply::sse().data(": hello\r\n\r\n").event(event).data("data: [DONE]\r\n\r\n").end());
    let answer = ask(&between(&a, &b, "", ""), &hello(&json!({ "stream": true }))).await;
    let (first, rest) = answer.text().split_once("\n\n").expect("events");
    let first: Value = serde_json::from_str(first.strip_prefix("data: ").expect("data")).expect("JSON");
    let ours = first["id"].as_str().expect("an id");
    assert_eq!(first["choices"][0]["delta"], json!({ "reasoning_content": "Hm." }));
    let edited = event.replace("\"second\"", &format!("\"{ours}\""));
    assert_eq!(rest, format!(": hello\r\n\r\ndata: {edited}\n\ndata: [DONE]\r\n\r\n"));
}

#[tokio::test]
async fn usage_is_the_sum_of_both() {
    let used = |n: u32| json!({ "prompt_tokens": n, "completion_tokens": 1, "total_tokens": n + 1 });
    let last = move |n| json!({ "id": "x", "choices": [], "usage": used(n) }).to_string();
    let finish = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }).to_string();
    let a = Upstream::always(Reply::sse().event(&thought("Hm.")).event(&finish).event(&last(20)).done());
    let b = Upstream::start(move |request| match request.json()["stream"] == true {
        true => Reply::sse().chat_event("4").event(&finish).event(&last(300)).done(),
        false => Reply::chat("4"),
    });
    let gateway = between(&a, &b, "", "");
    let both = |n: u32| json!({ "prompt_tokens": n, "completion_tokens": 2, "total_tokens": n + 2 });
    let answer = ask(&gateway, &hello(&json!({}))).await;
    assert_eq!(answer.json()["usage"], json!({ "prompt_tokens": 21, "completion_tokens": 2, "total_tokens": 23 }));
    let asked_for = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let answer = ask(&gateway, &hello(&asked_for)).await;
    let [.., usage, "[DONE]"] = answer.events()[..] else { panic!("{}", answer.text()) };
    assert_eq!(serde_json::from_str::<Value>(usage).expect("JSON")["usage"], both(320));
    // Read to its end, the first one's connection served twice.
    assert_eq!(a.connections(), 1);
}

#[tokio::test]
async fn each_side_has_its_own_parameters_and_candidates() {
    let a = Upstream::start(|request| match request.json()["model"] == "broken" {
        true => Reply::error(503, "down", "down"),
        false => thinks("Hm."),
    });
    let b = Upstream::start(|request| match request.json()["model"] == "broken" {
        true => Reply::error(429, "limited", "slow down"),
        false => Reply::chat("4"),
    });
    let gateway = between(&a, &b, "", "");
    let model = "hybrid:[a:thinker?temperature=0.9&max_tokens=500,b:writer?temperature=0.1]";
    let body = json!({ "model": model, "messages": [], "temperature": 0.5, "tools": [{ "type": "function" }] });
    assert_eq!(ask(&gateway, &body).await.status, 200);
    let (first, second) = (a.request().json(), b.request().json());
    assert_eq!((&first["temperature"], &first["max_tokens"]), (&json!(0.9), &json!(500)));
    assert_eq!((&second["temperature"], second.get("max_tokens")), (&json!(0.1), None));
    assert_eq!((first.get("tools"), &second["tools"][0]["type"]), (None, &json!("function")));

    // A side may be a route, with candidates of its own.
    let models = "models:\n  - { name: think, providers: [{ provider: a, model: broken }, { provider: a, model: t }] }\n  \
                  - { name: write, providers: [{ provider: b, model: broken }, { provider: b, model: w }] }\n";
    let entries = [backend("a", &a.url(""), ""), backend("b", &b.url(""), "")];
    let gateway = Deployed::start(&format!("{models}{}", backends(entries)));
    let answer = ask(&gateway, &json!({ "model": "hybrid:[think,write]", "messages": [] })).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "4");
    assert_eq!(answer.header("x-pointsman-attempts"), Some("4"));
    assert_eq!(answer.header("x-pointsman-model"), Some("w"));
    let timings: Vec<_> = answer.headers.all("server-timing").collect();
    assert!(timings[0].contains("a/broken: 503") && timings[3].contains("b/w: 200"), "{timings:?}");
    assert_eq!((gateway.errors("a"), gateway.errors("b")), (1, 1));
}

#[tokio::test]
async fn nothing_but_the_messages_changes_for_the_second_one() {
    let (a, b) = (Upstream::always(thinks("Hm.")), Upstream::always(Reply::chat("4")));
    let gateway = between(&a, &b, "", "");
    let system = "{\"role\":\"system\",\"content\":\"Be \\u0062rief.\"}";
    let body = |model: &str, system: &str| {
        format!(
            " {{\"seed\": 1e400 ,\"x\":[ ], \"messages\" : [ {system} ,{{\"role\":\"user\"}}],\n\"model\":{model},\"y\":-0}} "
        )
    };
    let mut client = gateway.client().await;
    let headers = [("content-type", "application/json"), ("accept-encoding", "gzip"), ("idempotency-key", "mine")];
    let asked = body(&format!("\"{BOTH}\""), system);
    client.request("POST", "/v1/chat/completions", &headers, asked.as_bytes()).await;
    assert_eq!(client.answer().await.status, 200);
    let received = String::from_utf8(b.request().body.to_vec()).expect("text");
    let told = received.split_once("Be \\u0062rief.").expect("as it was").1.split_once("\"}").expect("an end").0;
    assert!(told.contains("Hm."), "{told}");
    assert_eq!(received, body("\"writer\"", &system.replace("rief.", &format!("rief.{told}"))));
    // Both answers are to be read, and only one of the requests is the client's own.
    assert_eq!((a.request().header("accept-encoding"), b.request().header("accept-encoding")), (None, None));
    assert_eq!((a.request().header("idempotency-key"), b.request().header("idempotency-key")), (None, Some("mine")));
}

#[tokio::test]
async fn a_backend_without_system_messages_is_told_by_the_user() {
    let (a, b) = (Upstream::always(thinks("Hm.")), Upstream::always(Reply::chat("4")));
    let gateway = between(&a, &b, "system_messages: false", "");
    ask(&gateway, &hello(&json!({}))).await;
    let messages = b.request().json()["messages"].clone();
    let [message] = &messages.as_array().expect("a list")[..] else { panic!("{messages}") };
    let text = message["content"].as_str().expect("a text");
    assert!(message["role"] == "user" && text.contains("Hm.") && text.ends_with("\n\nHi"), "{message}");
}

#[tokio::test]
async fn a_first_one_that_fails_is_done_without_or_is_the_answer() {
    let a = Upstream::always(Reply::error(429, "limited", "slow down").header("retry-after", "7"));
    let b = Upstream::always(Reply::chat("4"));
    let gateway = between(&a, &b, "", "");
    let answer = ask(&gateway, &hello(&json!({}))).await;
    assert_eq!((answer.status, answer.header("x-pointsman-hybrid")), (200, Some("reasoning-failed")));
    assert_eq!(answer.header("x-pointsman-attempts"), Some("2"));
    assert_eq!(b.request().json()["messages"], json!([{ "role": "user", "content": "Hi" }]));
    assert_eq!(gateway.errors("a"), 1);

    let gateway = between(&a, &b, "", "  hybrid_on_reasoning_failure: fail\n");
    let answer = ask(&gateway, &hello(&json!({ "stream": true }))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.json()["error"]["code"], "limited");
    assert_eq!(b.requests().len(), 1);
}

#[tokio::test]
async fn a_first_one_that_hangs_or_trickles_is_cut_in_time() {
    let short = "  hybrid_reasoning_model_timeout: 300ms\n";
    let trickle = (0..1000).fold(Reply::sse(), |reply, _| reply.event(&thought("tick ")));
    let trickle = trickle.paced(std::time::Duration::from_millis(10));
    for (first, outcome) in [
        (Reply::nothing().stall(), "reasoning-failed"),
        (Reply::sse().stall(), "reasoning-failed"),
        (trickle, "reasoned"),
    ] {
        let (a, b) = (Upstream::always(first), Upstream::always(Reply::chat("4")));
        let answer = ask(&between(&a, &b, "", short), &hello(&json!({}))).await;
        assert_eq!((answer.status, answer.header("x-pointsman-hybrid")), (200, Some(outcome)));
        a.closed(0).await;
    }
}

#[tokio::test]
async fn a_second_one_that_fails_after_the_reasoning_was_shown_ends_the_stream_with_an_error() {
    let seconds: [(Reply, &str); 4] = [
        (Reply::error(500, "broken", "it broke"), "broken"),
        (Reply::nothing().reset(), "upstream_unreachable"),
        (Reply::sse().chat_event("4").reset(), "upstream_stream_broken"),
        (Reply::nothing().stall(), "upstream_timeout"),
    ];
    for (second, code) in seconds {
        let (a, b) = (Upstream::always(thinks("Hm.")), Upstream::always(second));
        let gateway = between(&a, &b, "", "  hybrid_execution_model_timeout: 300ms\n");
        let answer = ask(&gateway, &hello(&json!({ "stream": true }))).await;
        assert_eq!((answer.status, &said(&answer, "reasoning_content")[..]), (200, "Hm."), "{code}");
        let last: Value = serde_json::from_str(answer.events().last().expect("an event")).expect("JSON");
        assert_eq!(last["error"]["code"], code);
        assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_both() {
    // While the first one thinks.
    let (a, b) = (Upstream::always(Reply::sse().event(&thought("Hm.")).stall()), Upstream::always(Reply::chat("4")));
    let gateway = between(&a, &b, "", "");
    let mut client = streaming(&gateway).await;
    client.head().await;
    client.until("Hm.").await;
    drop(client);
    a.closed(0).await;
    assert!(b.requests().is_empty());
    // While the second one is silent, and while it talks.
    for second in [Reply::nothing().stall(), Reply::sse().chat_event("4").stall()] {
        let (a, b) = (Upstream::always(thinks("Hm.")), Upstream::always(second));
        let gateway = between(&a, &b, "", "");
        let client = streaming(&gateway).await;
        b.wait_for(1).await;
        drop(client);
        b.closed(0).await;
        a.closed(0).await;
    }
    // Before anything is there, without a stream.
    let (a, b) = (Upstream::always(Reply::nothing().stall()), Upstream::always(Reply::chat("4")));
    let gateway = between(&a, &b, "", "");
    let mut client = gateway.client().await;
    client.post("/v1/chat/completions", &hello(&json!({})), &[]).await;
    a.wait_for(1).await;
    client.reset();
    a.closed(0).await;
    assert!(b.requests().is_empty());
}

#[tokio::test]
async fn other_paths_and_unknown_models_are_refused_before_anyone_is_asked() {
    let (a, b) = (Upstream::always(thinks("Hm.")), Upstream::always(Reply::chat("4")));
    let gateway = between(&a, &b, "", "");
    for path in ["/v1/responses", "/v1/completions", "/v1/embeddings"] {
        let answer = post_json(gateway.addr(), path, &hello(&json!({ "input": "x" })), &[]).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("hybrid_unsupported")), "{path}");
    }
    let answer = post_json(gateway.addr(), "/v1/messages", &hello(&json!({})), &[]).await;
    assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("error")));
    for (model, status, code) in [
        ("hybrid:[a:x,nobody]", 404, "model_not_found"),
        ("hybrid:[nobody,b:x]", 404, "model_not_found"),
        ("hybrid:[a:x]", 400, "invalid_model_selector"),
        ("hybrid:[a:x?temperature=9,b:y]", 400, "invalid_model_parameter"),
    ] {
        let answer = ask(&gateway, &json!({ "model": model, "messages": [] })).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{model}");
    }
    assert!(a.requests().is_empty() && b.requests().is_empty());
}

#[tokio::test]
async fn the_environment_and_the_command_line_have_their_say() {
    let (a, b) = (Upstream::always(thinks("Hm.")), Upstream::always(Reply::chat("4")));
    let config = backends([
        backend("a", &a.url(""), ""),
        backend("b", &b.url(""), ""),
        "  disable_hybrid_backend: true\n  reasoning_injection_probability: 0\n".to_owned(),
    ]);
    let start = |args: &[&str]| {
        let args = [&["serve", "--port", "0", "--config", "config.yaml"], args].concat();
        Binary::new(args).file("config.yaml", &config)
    };
    let outcome = async |binary: Binary| {
        let running = binary.start();
        let answer = post_json(running.listening().await, "/v1/chat/completions", &hello(&json!({})), &[]).await;
        match answer.status {
            200 => answer.header("x-pointsman-hybrid").expect("a header").to_owned(),
            _ => answer.json()["error"]["code"].as_str().expect("a code").to_owned(),
        }
    };
    assert_eq!(outcome(start(&[])).await, "hybrid_disabled");
    let enabled = |args: &[&str]| start(args).env("POINTSMAN_DISABLE_HYBRID_BACKEND", "0");
    assert_eq!(outcome(enabled(&[])).await, "reasoning-skipped");
    assert_eq!(outcome(enabled(&["--reasoning-injection-probability", "1"])).await, "reasoned");
    // The flag goes before the variable.
    assert_eq!(outcome(enabled(&["--disable-hybrid-backend"])).await, "hybrid_disabled");

    for (flag, value) in [
        ("--reasoning-injection-probability", "1.5"),
        ("--hybrid-reasoning-model-timeout", "0"),
        ("--hybrid-execution-model-timeout", "soon"),
        ("--hybrid-on-reasoning-failure", "panic"),
        ("--hybrid-reasoning-force-initial-turns", "-1"),
    ] {
        let finished = start(&[&format!("{flag}={value}")]).run().await;
        assert!(!finished.status.success() && finished.stderr.contains(flag), "{flag}: {}", finished.stderr);
    }
}
