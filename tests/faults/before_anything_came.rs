//! What goes wrong before the first event or byte is there: the next candidate has its turn.

use crate::{
    Pair, SHORT, direct, limited,
    support::{Deployed, Refusing, Reply, Step, Upstream, backend, backends},
};

#[tokio::test]
async fn a_broken_connection_goes_on() {
    for (what, reply) in [
        ("a reset", Reply::nothing().reset()),
        ("a close", Reply::nothing().close()),
        ("garbage", Reply::garbage()),
        ("half a head", Reply::raw("HTTP/1.1 200 OK\r\ncontent-").close()),
        ("a length that is none", Reply::new(200).header("content-length", "ten").data("{}")),
        ("two lengths", Reply::new(200).header("content-length", "2").header("content-length", "3").data("{}")),
        ("a huge head", Reply::chat("no").huge_headers(2 << 20)),
    ] {
        Pair::new(reply, "", "").goes_on(what).await;
    }
}

#[tokio::test]
async fn a_refused_connection_goes_on() {
    let refusing = Refusing::new();
    let b = Upstream::always(Reply::chat("from b"));
    let gateway = Deployed::start(&format!(
        "models: [{{ name: m, providers: [{{ provider: a }}, {{ provider: b }}], fallback_on_ambiguous: false }}]\n{}",
        backends([backend("a", &refusing.url(""), ""), backend("b", &b.url(""), "")])
    ));
    assert_eq!(gateway.chat("m").await.header("x-pointsman-provider"), Some("b"));
    assert_eq!(gateway.errors("a"), 1);
}

#[tokio::test]
async fn silence_goes_on() {
    Pair::new(Reply::nothing().stall(), "", SHORT).goes_on("no head").await;
    Pair::new(Reply::sse().stall(), "", SHORT).goes_on("no event").await;
    Pair::new(limited(2).stall(), "", SHORT).goes_on("no body").await;
    Pair::new(Reply::sse().data(": wait\n\n").stall(), "", SHORT).goes_on("a comment alone").await;
}

#[tokio::test]
async fn a_status_that_blames_the_provider_goes_on() {
    for status in [401, 402, 403, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 529, 599] {
        Pair::new(Reply::error(status, "no", "from a"), "", "").goes_on(&status.to_string()).await;
    }
}

#[tokio::test]
async fn a_status_that_blames_the_request_does_not() {
    for status in [400, 405, 406, 410, 411, 413, 414, 415, 418, 422, 424, 431, 451] {
        let pair = Pair::new(Reply::error(status, "no", "from a").header("x-from", "a"), "", "");
        let answer = pair.ends(&status.to_string(), 0).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.text(), direct(&pair.a, true).await.text());
        assert_eq!(answer.header("x-from"), Some("a"));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let pair = Pair::new(Reply::redirect(307, "http://127.0.0.1:1/v1/chat/completions"), "", "");
    assert_eq!(pair.ends("307", 0).await.status, 307);
}

#[tokio::test]
async fn an_empty_success_goes_on() {
    for (what, reply) in [
        ("no bytes", Reply::body(200, "application/json", "")),
        ("no chunks", Reply::new(200).header("transfer-encoding", "chunked").end()),
        ("no events", Reply::sse().end()),
        ("a comment alone", Reply::sse().data(": hello\n\n").end()),
        (
            "no stream up to the end of the connection",
            Reply::new(200).header("content-type", "text/event-stream").close(),
        ),
    ] {
        Pair::new(reply, "", "").goes_on(what).await;
    }
}

#[tokio::test]
async fn an_error_as_the_first_event_goes_on() {
    for event in [
        r#"{"error":{"message":"Overloaded","type":"server_error","param":null,"code":null}}"#,
        r#"{"error":"out of tokens"}"#,
        r#"{"code":"Throttling","message":"slow down"}"#,
    ] {
        Pair::new(Reply::sse().event(event).done(), "", "").goes_on(event).await;
    }
    let named = Reply::sse().data("event: error\ndata: {\"type\":\"error\"}\n\n").end();
    Pair::new(named, "", "").goes_on("an event of the type `error`").await;
}

#[tokio::test]
async fn a_body_that_breaks_goes_on() {
    for (what, reply) in [
        ("a cut body", limited(10).close()),
        ("a reset body", limited(10).reset()),
        ("a cut stream", Reply::sse().close()),
        ("a reset stream", Reply::sse().data(": hello\n\n").reset()),
        ("half an event", Reply::sse().data("data: {\"choices\"").close()),
        ("a chunk size that is none", Reply::sse().step(Step::Raw("zz\r\n".into()))),
    ] {
        Pair::new(reply, "", "").goes_on(what).await;
    }
}
