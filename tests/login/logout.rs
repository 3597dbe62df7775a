use std::fs;

use serde_json::json;

use crate::machine::{ACCESS, Machine, REFRESH, granted, server};

#[tokio::test]
async fn a_logout_removes_the_tokens() {
    let server = server([granted()]);
    let machine = Machine::new(&server);
    let path = machine.path();
    let logout = async || machine.says(&["logout", "vendor"]).await;
    let nothing = format!("there is nothing to do: no tokens in {}", path.display());
    assert_eq!(logout().await, nothing);

    machine.says(&["login", "vendor"]).await;
    let deleted = format!("logged out: {} is deleted, for nothing but the tokens was in it", path.display());
    assert_eq!(logout().await, deleted);
    assert!(!path.exists());
    assert_eq!(logout().await, nothing);

    machine.write(&json!({"access_token": ACCESS, "refresh_token": REFRESH, "expiry_date": 0, "mine": 1}));
    let kept = format!("logged out: the tokens are removed from {}; what else it holds is kept", path.display());
    assert_eq!(logout().await, kept);
    assert_eq!(machine.read(), json!({"mine": 1}));
    assert_eq!(logout().await, nothing);

    fs::write(&path, ACCESS).unwrap();
    let error = machine.fails(&["logout", "vendor"]).await;
    assert!(error.ends_with("it holds no JSON object"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_preset_is_told() {
    let machine = Machine::with("");
    let variable = "POINTSMAN_ENABLE_QWEN_OAUTH_BACKEND_DEBUGGING_OVERRIDE";
    let run = machine.binary(&["logout", "qwen-oauth"]).env(variable, "maybe").run().await;
    let error = format!("error: the environment variable `{variable}` is neither true nor false");
    assert_eq!(run.stderr.trim_end(), error);
}
