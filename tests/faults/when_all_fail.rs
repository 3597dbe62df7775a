//! What the client gets when no candidate works.

use crate::{
    SHORT, code, direct,
    support::{Deployed, Reply, Upstream, backend, backends},
};

/// The route `m` to three backends, with these further keys of the last.
fn trio(replies: [Reply; 3], options: &str, last: &str) -> (Deployed, [Upstream; 3]) {
    let upstreams = replies.map(Upstream::always);
    let [a, b, c] = &upstreams;
    let gateway = Deployed::start(&format!(
        "models: [{{ name: m, providers: [{{ provider: a }}, {{ provider: b }}, {{ provider: c }}], {options} }}]\n{}",
        backends([backend("a", &a.url(""), ""), backend("b", &b.url(""), ""), backend("c", &c.url(""), last),])
    ));
    (gateway, upstreams)
}

#[tokio::test]
async fn the_last_answer_goes_up_as_it_came() {
    let last = || Reply::error(429, "slow_down", "not so fast").header("retry-after", "7").header("x-from", "c");
    let (gateway, [.., c]) = trio([Reply::nothing().reset(), Reply::error(500, "b", "b"), last()], "", "");
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, answer.header("retry-after"), answer.header("x-from")), (429, Some("7"), Some("c")));
    assert_eq!(answer.text(), direct(&c, false).await.text());
    assert_eq!(answer.header("x-pointsman-provider"), Some("c"));
    assert_eq!(answer.header("x-pointsman-attempts"), Some("3"));
    assert_eq!(["a", "b", "c"].map(|name| gateway.errors(name)), [1, 1, 1]);
}

#[tokio::test]
async fn an_answer_is_better_than_none() {
    let replies = [Reply::error(503, "busy", "busy"), Reply::nothing().reset(), Reply::nothing().stall()];
    let (gateway, _upstreams) = trio(replies, "", SHORT);
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, code(&answer).as_str()), (503, "busy"));
    assert_eq!(answer.header("x-pointsman-provider"), Some("a"));
}

#[tokio::test]
async fn without_any_answer_the_route_says_why() {
    let broken = || Reply::nothing().reset();
    let (gateway, _upstreams) = trio([broken(), broken(), broken()], "", "");
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, code(&answer).as_str()), (502, "upstream_unreachable"));
    assert_eq!(answer.header("x-pointsman-attempts"), Some("3"));
    assert_eq!(answer.header("x-pointsman-provider"), None);

    let (gateway, _upstreams) = trio([broken(), broken(), Reply::nothing().stall()], "", SHORT);
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, code(&answer).as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn an_early_error_has_the_status_it_means() {
    let event =
        r#"{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
    let (gateway, _upstreams) = trio(std::array::from_fn(|_| Reply::sse().event(event).done()), "", "");
    let answer = gateway.stream("m").await;
    assert_eq!((answer.status, answer.text()), (429, event));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn no_more_than_max_attempts_are_asked() {
    let fails = || std::array::from_fn(|_| Reply::error(500, "oops", "oops"));
    for most in [1, 2, 3, 9] {
        let (gateway, upstreams) = trio(fails(), &format!("max_attempts: {most}"), "");
        assert_eq!(gateway.chat("m").await.status, 500);
        let asked: usize = upstreams.iter().map(|upstream| upstream.requests().len()).sum();
        assert_eq!(asked, most.min(3));
    }
}

#[tokio::test]
async fn skipped_candidates_are_no_attempts() {
    let upstream = Upstream::always(Reply::chat("c"));
    let gateway = Deployed::start(&format!(
        "models: [{{ name: m, max_attempts: 1, providers: [{{ provider: a, condition: false }}, {{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    ));
    assert_eq!(gateway.chat("m").await.status, 200);
}
