//! How the token of a login reaches a provider, and what is said when there is none, over sockets.

mod support;

use std::{fs, path::PathBuf};

use serde_json::json;
use support::{Binary, Deployed, Received, Reply, Upstream, post_json};
use tempfile::TempDir;

const TOKEN: &str = "canary-access";

/// A folder with a credential file whose token expires at this time, in milliseconds since 1970.
fn login(expiry: u64) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("login.json");
    let file = json!({ "access_token": TOKEN, "refresh_token": "canary-refresh", "expiry": expiry });
    fs::write(&path, file.to_string()).expect("a file");
    (folder, path)
}

/// What a provider gets of a request with these headers, if the backend has a login with this.
async fn sent(oauth: &str, headers: &[(&str, &str)]) -> Received {
    let (_folder, path) = login(u64::MAX);
    let upstream = Upstream::always(Reply::chat("hello"));
    let gateway = Deployed::start(&format!(
        "default_backend: x\nbackends:\n  x:\n    base_url: \"{}\"\n    oauth: {{ path: \"{}\", {oauth} }}\n",
        upstream.url("/v1"),
        path.display()
    ));
    let answer = post_json(gateway.addr(), "/v1/chat/completions", &json!({ "model": "m" }), headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    upstream.request()
}

#[tokio::test]
async fn a_token_travels_in_each_header_of_the_login() {
    let client =
        [("authorization", "Bearer client"), ("cookie", "client"), ("x-api-key", "client"), ("api-key", "client")];
    let headers = r#"headers: { x-api-key: "{token}", cookie: "session={token}" }"#;
    let sent = sent(headers, &client).await;
    let (bearer, session) = (format!("Bearer {TOKEN}"), format!("session={TOKEN}"));
    assert_eq!((sent.header("authorization"), sent.header("cookie")), (Some(&*bearer), Some(&*session)));
    assert_eq!((sent.header("x-api-key"), sent.header("api-key")), (Some(TOKEN), None));
}

#[tokio::test]
async fn a_client_cannot_take_the_token_out() {
    let sent = sent("headers: { x-login: cli }", &[("connection", "authorization, x-login")]).await;
    assert_eq!(sent.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    assert_eq!(sent.header("x-login"), Some("cli"));
}

#[tokio::test]
async fn a_login_server_that_cannot_be_reached_is_told_of_with_the_cause() {
    let (_folder, path) = login(0);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let gateway = Deployed::start(&format!(
        "default_backend: x\nbackends:\n  x:\n    base_url: \"http://{nobody}/v1\"\n    rate_limit_retry: true\n    oauth: \
         {{ path: \"{}\", expiry: {{ field: /expiry, unit: ms }}, refresh: {{ url: \"http://{nobody}/token\", client_id: me }} }}\n",
        path.display()
    ));
    // The second one is not told of a rate limit.
    for _ in 0..2 {
        let answer = gateway.chat("m").await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("oauth_refresh_failed")));
        assert!(answer.text().contains("Connection refused"), "{}", answer.text());
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_empty_choice_of_a_model_is_none() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let config = format!("default_backend: x\nbackends: {{ x: {{ base_url: \"{}\" }} }}\n", upstream.url("/v1"));
    let empty = ["POINTSMAN_FORCE_MODEL", "POINTSMAN_DEFAULT_BACKEND", "POINTSMAN_SERVER_HOST"];
    let binary = Binary::new(["--port", "0", "-c", "c.yaml"]).file("c.yaml", config);
    let running = empty.iter().fold(binary, |binary, name| binary.env(name, "")).start();
    let answer = post_json(running.listening().await, "/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.request().json()["model"], "m");
}
