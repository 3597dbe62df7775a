//! What a route can say of it.

use serde_json::json;

use crate::{
    Pair, SHORT, code, is_broken,
    support::{Deployed, Ended, Gate, Reply, Upstream, backend, backends},
};

#[tokio::test]
async fn which_statuses_go_on() {
    let pair = Pair::new(Reply::error(429, "slow", "slow"), "fallback_on: [500, 503]", "");
    assert_eq!(pair.ends("429", 1).await.status, 429);
    let pair = Pair::new(Reply::error(503, "busy", "busy"), "fallback_on: [500, 503]", "");
    pair.goes_on("503").await;
    let pair = Pair::new(Reply::error(400, "bad", "bad"), "fallback_on: [4xx]", "");
    pair.goes_on_with("400", false).await;
    let pair = Pair::new(Reply::nothing().reset(), "fallback_on: [500]", "");
    pair.goes_on("a reset is no status").await;
}

#[tokio::test]
async fn whether_what_may_have_been_done_goes_on() {
    let careful = "fallback_on_ambiguous: false";
    for (what, reply, more, status) in [
        ("a reset", Reply::nothing().reset(), "", 502),
        ("garbage", Reply::garbage(), "", 502),
        ("silence", Reply::nothing().stall(), SHORT, 504),
        ("an empty answer", Reply::body(200, "application/json", ""), "", 502),
        ("a broken stream", Reply::sse().close(), "", 502),
        ("a silent stream", Reply::sse().stall(), SHORT, 504),
    ] {
        let pair = Pair::new(reply, careful, more);
        assert_eq!(pair.ends(what, 1).await.status, status, "{what}");
    }
    for (what, reply) in [
        ("500", Reply::error(500, "oops", "oops")),
        ("429", Reply::error(429, "slow", "slow")),
        ("an error event", Reply::sse().event("{\"error\":{\"message\":\"busy\"}}").done()),
    ] {
        Pair::new(reply, careful, "").goes_on(what).await;
    }
}

#[tokio::test]
async fn how_long_it_may_take_in_all() {
    for (what, reply) in [("no head", Reply::nothing().stall()), ("no event", Reply::sse().stall())] {
        let pair = Pair::new(reply, "total_timeout: 150ms", "");
        let answer = pair.ends(what, 1).await;
        assert_eq!((answer.status, code(&answer).as_str()), (504, "upstream_timeout"), "{what}");
        assert_eq!(answer.header("x-pointsman-attempts"), Some("1"), "{what}");
        pair.a.all_closed().await;
    }
}

#[tokio::test]
async fn that_the_head_is_final() {
    let gate = Gate::new();
    let reply = Reply::sse().gate(&gate).event("{\"error\":{\"message\":\"busy\"}}").done();
    let pair = Pair::new(reply, "commit: headers", "");
    let mut client = pair.gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
    // The head is here before there is any event.
    assert_eq!(client.head().await.status(), 200);
    gate.open();
    let (rest, end) = client.rest().await;
    assert_eq!(end, Ended::Clean);
    assert_eq!(rest, "data: {\"error\":{\"message\":\"busy\"}}\n\ndata: [DONE]\n\n");
    assert!(pair.b.requests().is_empty());

    let pair = Pair::new(Reply::sse().close(), "commit: headers", "");
    let answer = pair.ends("a break before the first event", 1).await;
    is_broken(&answer, &[]);
    Pair::new(Reply::error(500, "oops", "oops"), "commit: headers", "").goes_on("a status").await;
}

/// A provider that was not asked has done nothing wrong, and nothing can have been carried out twice.
#[tokio::test]
async fn whose_time_is_over_while_a_quota_is_fetched_blames_no_provider() {
    let quota = Upstream::always(Reply::nothing().stall());
    let a = Upstream::always(Reply::chat("from a"));
    let quota = format!("quota: {{ url: \"{}\", timeout: 60s, headers: {{}} }}", quota.url("/quota"));
    for providers in [
        "{ provider: a, condition: balance > 0 }",
        "{ provider: a, condition: balance > 0 }, { provider: b }",
        "{ provider: a, condition: balance > 0, on_unknown: skip }",
        "{ provider: a, condition: balance > 0, on_unknown: allow }",
    ] {
        let gateway = Deployed::start(&format!(
            "models: [{{ name: m, providers: [{providers}], total_timeout: 150ms, fallback_on_ambiguous: false }}]\n{}",
            backends([backend("a", &a.url(""), &quota), backend("b", &a.url(""), "")])
        ));
        let answer = gateway.chat("m").await;
        assert_eq!((answer.status, code(&answer).as_str()), (504, "upstream_timeout"), "{providers}");
        assert!(answer.text().contains("a: quota unknown: it did not come within"), "{}", answer.text());
        assert_eq!((gateway.errors("a"), gateway.errors("b")), (0, 0), "{providers}");
        assert_eq!(answer.header("x-pointsman-attempts"), Some("0"), "{providers}");
    }
    assert!(a.requests().is_empty());
}
