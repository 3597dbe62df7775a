//! Two processes that share one credential file.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use serde_json::json;

use crate::{
    Login, OPEN, question,
    support::{Binary, Gate, Received, Reply, Upstream, post_json},
};

const ROUNDS: u64 = 50;

fn access(round: u64) -> String {
    format!("access-{round}-of-many")
}

fn refresh(round: u64) -> String {
    format!("refresh-{round}-of-many")
}

/// A token server that takes each refresh token once, and answers when the gate lets it.
fn one_time_tokens(gate: &Gate) -> Upstream {
    let (issued, gate) = (AtomicU64::new(0), gate.clone());
    Upstream::start(move |request: Received| {
        let last = issued.load(SeqCst);
        let form = form_urlencoded::parse(&request.body).into_owned();
        let given = form.into_iter().find_map(|(name, value)| (name == "refresh_token").then_some(value));
        let takes = given == Some(refresh(last)) && issued.compare_exchange(last, last + 1, SeqCst, SeqCst).is_ok();
        if takes {
            let (access, refresh) = (access(last + 1), refresh(last + 1));
            let granted = json!({ "access_token": access, "refresh_token": refresh, "expires_in": 3600 });
            Reply::json(200, &granted).held_by(&gate)
        } else {
            Reply::json(400, &json!({ "error": "invalid_grant" }))
        }
    })
}

/// An upstream that takes the access token of this round alone.
fn takes_that_of(round: &Arc<AtomicU64>) -> Upstream {
    let round = round.clone();
    Upstream::start(move |request: Received| {
        let token = format!("Bearer {}", access(round.load(SeqCst)));
        if request.header("authorization") == Some(&token) {
            Reply::chat("你好")
        } else {
            Reply::error(401, "invalid_token", "the token has expired")
        }
    })
}

#[tokio::test]
async fn renew_a_one_time_token_once_at_each_of_its_ends() {
    let (gate, round) = (Gate::new(), Arc::new(AtomicU64::new(0)));
    let login = Login::with_tokens(takes_that_of(&round), one_time_tokens(&gate));
    let first = json!({ "access_token": access(0), "refresh_token": refresh(0), "mine": { "kept": true } });
    fs::write(login.path(), first.to_string()).expect("a file");
    let serve = || Binary::new(["--port", "0", "-c", "c.yaml", OPEN]).file("c.yaml", login.config("")).start();
    let running = [serve(), serve()];
    let [one, other] = [running[0].listening().await, running[1].listening().await];
    let model = question("qwen-plus");
    let ask = |addr| post_json(addr, "/v1/chat/completions", &model, &[]);
    for addr in [one, other] {
        assert_eq!(ask(addr).await.status, 200);
    }

    for n in 1..=ROUNDS {
        round.store(n, SeqCst);
        let sent = login.upstream.requests().len();
        let (one, other, ()) = tokio::join!(ask(one), ask(other), async {
            // Both have been refused before either can have a new token.
            login.upstream.wait_for(sent + 2).await;
            gate.release();
        });
        for answer in [one, other] {
            assert_eq!(answer.status, 200, "round {n}: {}", answer.text());
        }
        assert_eq!(login.tokens.requests().len() as u64, n, "round {n}: one renewal for both");
        assert_eq!(login.upstream.requests().len(), sent + 4, "round {n}: each was sent once more");
        let file = login.file();
        let tokens = (&file["access_token"], &file["refresh_token"]);
        assert_eq!(tokens, (&json!(access(n)), &json!(refresh(n))), "round {n}");
        assert_eq!(file["mine"], json!({ "kept": true }));
    }
}

#[tokio::test]
async fn that_start_with_an_expired_token_renew_it_once() {
    let (gate, round) = (Gate::new(), Arc::new(AtomicU64::new(1)));
    gate.open();
    let login = Login::with_tokens(takes_that_of(&round), one_time_tokens(&gate));
    let expired = json!({ "access_token": access(0), "refresh_token": refresh(0), "expiry_date": 0 });
    fs::write(login.path(), expired.to_string()).expect("a file");
    let serve = || Binary::new(["--port", "0", "-c", "c.yaml", OPEN]).file("c.yaml", login.config("")).start();
    let running = [serve(), serve()];
    let [one, other] = [running[0].listening().await, running[1].listening().await];
    let model = question("qwen-plus");
    let ask = |addr| post_json(addr, "/v1/chat/completions", &model, &[]);
    let (one, other) = tokio::join!(ask(one), ask(other));
    assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
    assert_eq!((login.tokens.requests().len(), login.upstream.requests().len()), (1, 2));
}
