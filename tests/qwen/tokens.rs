use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Login, NEW, OLD, REFRESH, question,
    support::{Reply, Upstream, guard, post_json},
    takes,
};

#[tokio::test]
async fn an_expired_one_is_renewed_once_for_all_requests() {
    let login = Login::new(takes(NEW));
    login.write(-5);
    let gateway = login.deploy();
    let addr = gateway.addr();
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        requests.spawn(async move { post_json(addr, "/v1/chat/completions", &question("qwen-plus"), &[]).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("canary") && !format!("{:?}", answer.headers).contains("canary"));
    }
    let asked = login.tokens.request();
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(form.contains("grant_type=refresh_token") && form.contains(REFRESH), "{form}");
    let file = login.file();
    assert_eq!((&file["access_token"], &file["refresh_token"]), (&json!(NEW), &json!("canary-next")));
    assert_eq!(file["mine"], json!({ "kept": true }));
    let mode = fs::metadata(login.path()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_refused_one_is_renewed_and_the_request_sent_once_more() {
    let login = Login::new(takes(NEW));
    login.write(3600);
    assert_eq!(login.deploy().chat("qwen-plus").await.status, 200);
    assert_eq!((login.upstream.requests().len(), login.tokens.requests().len()), (2, 1));
}

#[tokio::test]
async fn a_second_refusal_goes_up() {
    let login = Login::new(takes("neither"));
    login.write(3600);
    let answer = login.deploy().chat("qwen-plus").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("invalid_token")));
    assert_eq!((login.upstream.requests().len(), login.tokens.requests().len()), (2, 1));
}

#[tokio::test]
async fn a_dead_refresh_token_is_a_401_with_the_remedy_and_is_not_sent_again() {
    let html = Reply::body(400, "text/html", "<html>canary</html>");
    let login = Login::with_tokens(takes(NEW), Upstream::always(html));
    login.write(-5);
    let gateway = login.deploy();
    for _ in 0..2 {
        let answer = gateway.chat("qwen-plus").await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("oauth_credentials_invalid")));
        assert!(answer.text().contains("qwen auth") && !answer.text().contains("canary"), "{}", answer.text());
    }
    assert_eq!(login.tokens.requests().len(), 1);
    assert_eq!(login.file()["refresh_token"], REFRESH);
}

#[tokio::test]
async fn a_malformed_file_is_told_and_a_good_one_is_taken_without_a_restart() {
    let login = Login::new(takes(OLD));
    let gateway = login.deploy();
    for (content, words) in [
        (None, "oauth_creds.json"),
        (Some("[]"), "oauth_creds.json"),
        (Some(r#"{"refresh_token": "canary"}"#), "access_token"),
    ] {
        if let Some(content) = content {
            fs::write(login.path(), content).expect("a file");
        }
        let told = guard("the file to be looked at", async {
            loop {
                let answer = gateway.chat("qwen-plus").await;
                assert_eq!(answer.status, 401, "{}", answer.text());
                if answer.text().contains(words) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(told.json()["error"]["code"], "oauth_credentials_invalid");
        assert!(!told.text().contains("canary"), "{}", told.text());
    }
    login.write(3600);
    guard("the good file to be taken", async {
        while gateway.chat("qwen-plus").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
