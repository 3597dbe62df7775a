use serde_json::json;

use crate::{
    Login, NEW,
    support::{Reply, Upstream},
    takes,
};

fn limited() -> Reply {
    Reply::error(429, "rate_limit", "slow down").header("retry-after", "0")
}

#[tokio::test]
async fn a_first_429_is_held_and_the_client_sees_none() {
    let login = Login::new(Upstream::script([limited(), Reply::chat("after all")]));
    login.write(3600);
    let gateway = login.deploy();
    let answer = gateway.chat("qwen-plus").await;
    assert_eq!((answer.status, answer.header("x-pointsman-attempts")), (200, Some("1")));
    assert_eq!((login.upstream.requests().len(), gateway.errors("qwen-oauth")), (2, 0));
}

#[tokio::test]
async fn a_second_429_goes_up_as_it_came() {
    let second = Reply::error(429, "rate_limit", "still too fast").header("retry-after", "17");
    let login = Login::new(Upstream::script([limited(), second]));
    login.write(3600);
    let gateway = login.deploy();
    let answer = gateway.chat("qwen-plus").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("17")));
    assert_eq!(answer.json()["error"]["message"], "still too fast");
    assert_eq!(gateway.errors("qwen-oauth"), 1);
}

#[tokio::test]
async fn a_stream_that_begins_with_a_throttle_error_is_held() {
    let throttled = Reply::sse().event(r#"{"error":{"code":"Throttling.RateQuota","message":"too fast"}}"#).done();
    let login = Login::new(Upstream::script([throttled, Reply::chat_stream(["a", "b"])]));
    login.write(3600);
    let answer = login.deploy().stream("qwen-plus").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("Throttling") && answer.text().ends_with("[DONE]\n\n"), "{}", answer.text());
    assert_eq!(login.upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_waiting_does_not_heal_is_not_held() {
    for reply in
        [Reply::error(400, "bad", "no"), Reply::error(429, "insufficient_quota", "Free allocated quota exceeded.")]
    {
        let login = Login::new(Upstream::script([reply]));
        login.write(3600);
        assert_ne!(login.deploy().chat("qwen-plus").await.status, 200);
        assert_eq!(login.upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_login_server_that_is_out_of_order_is_no_rate_limit() {
    let tokens = Upstream::always(Reply::body(503, "text/html", "<html>later</html>").header("retry-after", "0"));
    let login = Login::with_tokens(takes(NEW), tokens);
    login.write(-5);
    let gateway = login.deploy();
    for _ in 0..2 {
        let answer = gateway.chat("qwen-plus").await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("oauth_refresh_failed")));
    }
    assert_eq!(login.tokens.requests().len(), 1);
    assert!(login.upstream.requests().is_empty());
}
