//! Everything fails, and what is sent more than once is bounded for all layers together.

use serde_json::json;

use crate::support::{Binary, Deployed, Reply, Upstream, backend, backends, get, post_json};

fn gateway(budget: &str, a: &Upstream, b: &Upstream, more: &str) -> Deployed {
    Deployed::start(&format!(
        "server: {{ retry_budget: {budget} }}\nmodels:\n  - {{ name: m, providers: [{{ provider: a }}, {{ provider: b }}] }}\n  \
         - {{ name: held, providers: [{{ provider: a }}] }}\n{}",
        backends([backend("a", &a.url(""), more), backend("b", &b.url(""), "")])
    ))
}

#[tokio::test]
async fn fallbacks_are_paid_from_the_budget() {
    let (a, b) = (Upstream::always(Reply::error(500, "oops", "from a")), Upstream::always(Reply::chat("from b")));
    let gateway = gateway("{ burst: 2, ratio: 0.5, floor: 0 }", &a, &b, "");
    let mut from_b = 0;
    for number in 0..20 {
        let answer = gateway.chat("m").await;
        if answer.status == 200 {
            from_b += 1;
        } else {
            // What the first one said is better than nothing.
            assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (500, Some("from a")), "{number}");
            assert!(answer.header("server-timing").is_some_and(|told| !told.is_empty()));
        }
    }
    assert_eq!((a.requests().len(), b.requests().len()), (20, from_b));
    // Two that were saved up, and one for each two requests; the first of them found it full.
    assert!((11..=12).contains(&from_b), "{from_b}");
}

#[tokio::test]
async fn held_requests_are_paid_from_the_same_budget() {
    let a = Upstream::always(Reply::error(429, "slow_down", "slow").header("retry-after", "0"));
    let b = Upstream::script([]);
    let gateway = gateway("{ burst: 3, ratio: 0, floor: 0 }", &a, &b, "rate_limit_retry: true");
    for _ in 0..5 {
        // What the provider said is better than anything that the gateway could say.
        let answer = gateway.chat("held").await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("0")));
        assert_eq!(answer.json()["error"]["message"], "slow");
        assert_eq!(answer.header("x-pointsman-provider"), Some("a"));
    }
    assert_eq!(a.requests().len(), 3 * 2 + 2);
    assert_eq!(gateway.errors("a"), 5, "each is a failure of the provider");
}

/// Nobody is held for a retry that there will not be.
#[tokio::test]
async fn what_cannot_be_sent_again_is_not_held() {
    let a = Upstream::always(Reply::error(429, "slow_down", "slow").header("retry-after", "9"));
    let b = Upstream::always(Reply::chat("from b"));
    let gateway = gateway("{ burst: 0, ratio: 0, floor: 0 }", &a, &b, "rate_limit_retry: true");
    let start = tokio::time::Instant::now();
    let answer = gateway.chat("held").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("9")));
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A token that was refused is renewed all the same, for those who come after.
#[tokio::test]
async fn a_replay_with_a_new_token_is_paid_from_the_same_budget() {
    let a = Upstream::start(|request| match (request.path(), request.header("authorization")) {
        ("/token", _) => {
            Reply::json(200, &json!({ "access_token": "new", "token_type": "Bearer", "expires_in": 3600 }))
        }
        (_, Some("Bearer new")) => Reply::chat("hello"),
        _ => Reply::error(401, "expired", "the token is too old").header("www-authenticate", "Bearer realm=\"a\""),
    });
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("login.json");
    let login = json!({ "access_token": "old", "refresh_token": "r", "expiry_date": 4_000_000_000_000_u64 });
    std::fs::write(&file, login.to_string()).expect("written");
    let gateway = Deployed::start(&format!(
        "server: {{ retry_budget: {{ burst: 0, ratio: 0, floor: 0 }} }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n\
         backends:\n  a: {{ type: openai, base_url: \"{0}/v1\", oauth: {{ path: \"{1}\", refresh: {{ url: \"{0}/token\", client_id: c }} }} }}\n",
        a.url(""),
        file.display()
    ));
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"a\"")));
    assert_eq!(answer.json()["error"]["message"], "the token is too old");
    assert_eq!(gateway.chat("m").await.status, 200);
}

#[tokio::test]
async fn by_default_no_usual_failure_meets_it() {
    let (a, b) = (Upstream::always(Reply::error(500, "oops", "from a")), Upstream::always(Reply::chat("from b")));
    let gateway = gateway("{}", &a, &b, "");
    for _ in 0..50 {
        assert_eq!(gateway.chat("m").await.status, 200);
    }
    assert_eq!(b.requests().len(), 50);
}

/// A gateway that is its own provider: the circle is noticed at its first turn.
#[tokio::test]
async fn there_is_no_loop() {
    let text = "server: { port: 0 }\nmodels: [{ name: m, providers: [{ provider: self }, { provider: self }] }]\n\
                backends:\n  self: { type: openai, base_url: \"http://127.0.0.1:${PORT}/v1\" }\n";
    // The port is known only once it listens, so a free one is taken first.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("an address").port().to_string();
    drop(free);
    let running = Binary::new(["--port", &port]).file("config.yaml", text).env("PORT", &port).start();
    let addr = running.listening().await;
    let answer = post_json(addr, "/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (508, Some("loop_detected")));
    assert_eq!(answer.header("x-pointsman-attempts"), Some("2"));
    assert_eq!(get(addr, "/health", &[]).await.status, 200);
}
