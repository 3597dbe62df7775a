use serde_json::json;

use crate::{
    Login, OLD, OPEN, question,
    support::{Binary, Deployed, Reply, Upstream, post_json},
    takes,
};

#[tokio::test]
async fn a_closed_one_is_a_403_that_names_the_flag() {
    let login = Login::new(takes(OLD));
    login.write(3600);
    let gateway = Deployed::start(&login.config(""));
    let answer = gateway.chat("qwen3-coder-plus").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("backend_disabled")));
    assert!(answer.text().contains("--enable-qwen-oauth-backend-debugging-override"), "{}", answer.text());
    assert!(login.upstream.requests().is_empty() && login.tokens.requests().is_empty());
}

#[tokio::test]
async fn a_candidate_behind_a_closed_one_is_skipped() {
    let login = Login::new(takes(OLD));
    let other = Upstream::always(Reply::chat("other"));
    let config = login.config("").replace("default_backend: qwen-oauth\n", "")
        + &format!("  other: {{ type: openai, base_url: \"{}\" }}\n", other.url("/v1"))
        + "models: [{ name: m, providers: [{ provider: QwenCode }, { provider: other }] }]\n";
    let answer = Deployed::start(&config).chat("m").await;
    assert_eq!((answer.status, answer.header("x-pointsman-provider")), (200, Some("other")));
    assert!(login.upstream.requests().is_empty());
}

#[tokio::test]
async fn the_flag_opens_it_and_says_the_notice_once() {
    let login = Login::new(takes(OLD));
    login.write(3600);
    let flags = ["--port", "0", "--config", "c.yaml", OPEN];
    let running = Binary::new(flags).env("POINTSMAN_LOG", "trace").file("c.yaml", login.config("")).start();
    let answer = post_json(running.listening().await, "/v1/chat/completions", &question("qwen-plus"), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let log = format!("{}{}", running.stdout(), running.stderr());
    assert_eq!(log.matches("not affiliated").count(), 1, "{log}");
    assert!(!log.contains("canary"), "a token is in the log");
}

#[tokio::test]
async fn an_open_one_is_for_this_machine_alone() {
    let login = Login::new(takes(OLD));
    let flags = ["--port", "0", "-c", "c.yaml", "--host", "0.0.0.0", OPEN];
    let refused = Binary::new(flags).env("POINTSMAN_API_KEYS", "k").file("c.yaml", login.config("")).run().await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("for this machine alone"), "{}", refused.stderr);
}

#[tokio::test]
async fn the_default_backend_needs_no_file() {
    let running = Binary::new(["--port", "0", "--default-backend", "qwen-oauth"]).start();
    let answer = post_json(running.listening().await, "/v1/chat/completions", &question("qwen-plus"), &[]).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("backend_disabled")));
}
