//! The end of interest is no fault.

use std::time::Duration;

use serde_json::json;

use crate::{
    Pair,
    support::{Client, Deployed, Gate, Reply, Upstream, backend, backends, guard},
};

async fn ask(pair: &Pair) -> Client {
    let mut client = pair.gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
    pair.a.wait_for(1).await;
    client
}

#[tokio::test]
async fn is_no_error_of_the_provider() {
    for (what, reply) in [
        ("before the head", Reply::nothing().stall()),
        ("before the first event", Reply::sse().stall()),
        ("in the middle", Reply::sse().event("1").stall()),
    ] {
        for reset in [false, true] {
            let pair = Pair::new(reply.clone(), "", "");
            let mut client = ask(&pair).await;
            if what == "in the middle" {
                client.head().await;
                client.until("data: 1\n\n").await;
            }
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            pair.a.closed(0).await;
            assert_eq!(pair.errors(), (0, 0), "{what}");
            assert!(pair.b.requests().is_empty(), "{what}: `b` was asked");
        }
    }
}

/// Where a request of `m` waits when its client leaves. One request may be under way at a time, so the next one tells
/// when it is over; it goes to `n`.
async fn leaves(gateway: &Deployed, reached: impl Future<Output = ()>) {
    let mut client = gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    reached.await;
    assert_eq!(gateway.chat("n").await.status, 503, "the first one is still there");
    drop(client);
    let left = tokio::time::Instant::now();
    guard("the place of the one that left", async { while gateway.chat("n").await.status != 200 {} }).await;
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}

/// The backend `a` has `more`, `n` goes to another one.
fn deployed(a: &Upstream, n: &Upstream, candidate: &str, more: &str) -> Deployed {
    Deployed::start(&format!(
        "server: {{ max_in_flight: 1 }}\nmodels:\n  - {{ name: m, providers: [{{ provider: a, {candidate} }}] }}\n  \
         - {{ name: n, providers: [{{ provider: n }}] }}\n{}  a:\n    type: openai\n    base_url: \"{}\"\n{more}",
        backends([backend("n", &n.url(""), "")]),
        a.url("/v1")
    ))
}

#[tokio::test]
async fn while_it_is_held_is_not_sent_again() {
    let a = Upstream::script([Reply::error(429, "slow", "slow").header("retry-after", "1")]);
    let n = Upstream::always(Reply::chat("hello"));
    let gateway = deployed(&a, &n, "", "    api_key: k\n    rate_limit_retry: true\n");
    leaves(&gateway, async {
        a.wait_for(1).await;
    })
    .await;
    // The hold would be over now, and the script has no second reply.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(a.requests().len(), 1);
}

#[tokio::test]
async fn while_a_quota_is_fetched_is_not_sent_at_all() {
    let a = Upstream::start(|request| match request.path() {
        "/quota" => Reply::nothing().stall(),
        path => panic!("{path} was asked"),
    });
    let n = Upstream::always(Reply::chat("hello"));
    let quota = format!("    api_key: k\n    quota: {{ url: \"{}\" }}\n", a.url("/quota"));
    let gateway = deployed(&a, &n, "condition: balance > 0", &quota);
    leaves(&gateway, async {
        a.wait_for(1).await;
    })
    .await;
}

#[tokio::test]
async fn while_a_login_is_renewed_leaves_that_to_go_on() {
    let gate = Gate::new();
    let tokens = Upstream::always({
        let granted = json!({ "access_token": "new", "refresh_token": "next", "expires_in": 3600 }).to_string();
        let head = Reply::new(200).header("content-type", "application/json");
        head.header("content-length", &granted.len().to_string()).gate(&gate).data(granted)
    });
    let (a, n) = (Upstream::always(Reply::chat("from a")), Upstream::always(Reply::chat("hello")));
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("login.json");
    let old = json!({ "access_token": "old", "refresh_token": "spent", "expiry_date": 1 });
    std::fs::write(&path, old.to_string()).expect("a file");
    let oauth = format!(
        "    oauth: {{ path: {}, expiry: {{ field: /expiry_date, unit: ms }}, refresh: {{ url: \"{}\", client_id: x }} }}\n",
        path.display(),
        tokens.url("/token")
    );
    let gateway = deployed(&a, &n, "", &oauth);
    leaves(&gateway, async {
        tokens.wait_for(1).await;
    })
    .await;
    assert!(a.requests().is_empty());
    gate.open();
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, a.request().header("authorization")), (200, Some("Bearer new")));
    assert_eq!(tokens.requests().len(), 1, "it was renewed once");
    assert!(std::fs::read_to_string(&path).expect("a file").contains("next"));
}

#[tokio::test]
async fn before_the_body_is_whole_asks_nobody() {
    let a = Upstream::script([]);
    let n = Upstream::always(Reply::chat("hello"));
    let gateway = deployed(&a, &n, "", "    api_key: k\n");
    let mut client = gateway.client().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{\"model\":\"m\"").await;
    guard("the place to be taken", async { while gateway.chat("n").await.status != 503 {} }).await;
    drop(client);
    guard("the place to be free", async { while gateway.chat("n").await.status != 200 {} }).await;
}
