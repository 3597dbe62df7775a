//! `pointsman demo`: what it shows is what happens.

mod support;

use serde_json::{Value, json};
use support::{Binary, Client, Ended, Signal, get, post_json};

const CHAT: &str = "/v1/chat/completions";

fn to(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
}

#[tokio::test]
async fn the_tour_shows_each_step_and_ends_well() {
    let tour = Binary::new(["demo", "--tour"]).run().await;
    assert!(tour.status.success(), "{tour:?}");
    assert_eq!(tour.stderr, "");

    // The lines of each step, in order; what is between them may be worded as it likes.
    let mut lines = tour.stdout.lines();
    for expected in [
        "1. The first choice answers",
        "< 200 from OpenaiAccount",
        "< 200 from Groq",
        "< 200 from Yupp",
        "2. A quota is used up",
        "(3 times)",
        "< 200 from PollinationsAI",
        "1. OpenaiAccount/gpt-4o         429",
        "2. PollinationsAI/openai-large  200",
        "< 200 from PollinationsAI",
        "1. OpenaiAccount/gpt-4o         not asked",
        "closed: balance > 0 or error_count < 3 (balance = 0, error_count = 3)",
        "3. Errors over the limit",
        "(3 times)",
        "< 200 from DeepInfra",
        "503",
        "< 200 from DeepInfra",
        "not asked",
        "closed: error_count < 3 (error_count = 3)",
        "4. A stream fails before its first event",
        "< 200 from PollinationsAI",
        "503 before the first event",
        "5. A stream breaks after its first event",
        "< 200 from Yupp",
        "\"Hello,\"",
        "error upstream_stream_broken",
        "6. All conditions are false: 503 with the reasons",
        "< 503 from the gateway",
        "closed: balance > 0 (balance = 0)",
        "closed: error_count < 3 (error_count = 3)",
        "error no_eligible_provider",
        "7. A token has expired: it is renewed, and nobody notices",
        "< 200 from Coder",
        "Tokens renewed: 1. Requests: 1.",
        "8. A rate limit: the request is held, and sent once more",
        "< 200 from Coder, after 1.",
        "Tokens renewed: 1. Requests: 3.",
        "9. A second request meets the same rate limit: it waits too",
        "(2 at once)",
        "< 200 from Coder, after",
        "Tokens renewed: 1. Requests: 6.",
    ] {
        assert!(lines.any(|line| line.contains(expected)), "{expected:?} in its place in\n{}", tour.stdout);
    }
    for line in tour.stdout.lines() {
        assert!(line.chars().count() <= 80 && !line.contains('\x1b'), "{line:?}");
    }
}

#[tokio::test]
async fn the_demo_serves_until_it_is_told_to_stop() {
    let demo = Binary::new(["demo", "--port", "0"]).start();
    let gateway = demo.listening().await;

    let models = get(gateway, "/v1/models", &[]).await.json();
    let models: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(models, ["my-gpt4", "yupp-chat", "llama-fast", "coder", "all-gated"]);
    assert_eq!(get(gateway, "/readyz", &[]).await.status, 200);

    let answer = post_json(gateway, CHAT, &to("my-gpt4"), &[]).await;
    assert_eq!((answer.status, answer.header("x-pointsman-provider")), (200, Some("OpenaiAccount")));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello, this is gpt-4o at OpenaiAccount.");

    let mut client = Client::connect(gateway).await;
    let mut stream = to("yupp-chat");
    stream["stream"] = true.into();
    client.post(CHAT, &stream, &[]).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.headers.get("x-pointsman-provider")), (200, Some("Yupp")));
    let (events, end) = client.rest().await;
    let events = String::from_utf8_lossy(&events);
    assert_eq!(events.matches("data: ").count(), 8, "an event a word, and two for the end: {events}");
    assert!(events.contains("\"Yupp.\"") && events.ends_with("data: [DONE]\n\n"), "{events}");
    assert_eq!(end, Ended::Clean);
    drop(client);

    demo.signal(Signal::Term).await;
    let demo = demo.finished().await;
    assert!(demo.status.success(), "{demo:?}");
    for line in ["curl -i http://", "curl -iN http://", "x-pointsman-provider", "server-timing"] {
        assert!(demo.stdout.contains(line), "{line:?} in {}", demo.stdout);
    }
}

/// The conditions read the quotas in each provider's own shape.
#[tokio::test]
async fn every_quota_drains() {
    let demo = Binary::new(["demo", "--port", "0"]).start();
    let gateway = demo.listening().await;
    // Yupp has five credits; then it refuses until three errors close its gate.
    let mut providers = Vec::new();
    for _ in 0..9 {
        let answer = post_json(gateway, CHAT, &to("yupp-chat"), &[]).await;
        let timing = answer.header("server-timing").unwrap().to_owned();
        providers.push((answer.header("x-pointsman-provider").unwrap().to_owned(), timing));
    }
    for (index, (provider, timing)) in providers.iter().enumerate() {
        let (expected, outcome) = match index {
            0..5 => ("Yupp", "Yupp/gpt-4o: 200"),
            5..8 => ("PollinationsAI", "Yupp/gpt-4o: 402"),
            _ => ("PollinationsAI", "(quota.credits.remaining = 0, error_count = 3)"),
        };
        assert!(provider == expected && timing.contains(outcome), "{index}: {provider} {timing}");
    }
}

#[tokio::test]
async fn a_taken_default_port_is_no_obstacle() {
    // The first one takes the port, unless something else has it.
    let first = Binary::new(["demo"]).start();
    let taken = first.listening().await;
    let second = Binary::new(["demo"]).start();
    let free = second.listening().await;
    assert!(free != taken && free.port() != 8000, "{taken} {free}");
    second.line("Port 8000 is taken").await;

    let refused = Binary::new(["demo", "--port", &taken.port().to_string()]).run().await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.starts_with("error: cannot listen on 127.0.0.1:"), "{}", refused.stderr);
}
