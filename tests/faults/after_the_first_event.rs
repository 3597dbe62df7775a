//! What goes wrong after: the client sees that the answer is not whole.

use serde_json::json;

use crate::{
    Pair, is_broken, limited,
    support::{Answer, Ended, Gate, Reply, Step, Upstream, post_json},
};

#[tokio::test]
async fn a_broken_stream_ends_with_one_error_event() {
    type End = fn(Reply) -> Reply;
    let ends: [(&str, End); 3] = [
        ("a close", Reply::close),
        ("a reset", Reply::reset),
        ("a bad chunk", |reply| reply.step(Step::Raw("zz\r\n".into()))),
    ];
    for (what, end) in ends {
        // The end waits until the event is with the client: a reset may overtake what was sent before it.
        let gate = Gate::new();
        let reply = end(Reply::sse().event("{\"n\":1}").gate(&gate));
        let pair = Pair::new(reply, "", "");
        let mut client = pair.gateway.client().await;
        client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
        let head = client.head().await;
        assert_eq!(head.status(), 200);
        assert_eq!(client.until("\n\n").await, "data: {\"n\":1}\n\n", "{what}");
        gate.open();
        let (rest, end) = client.rest().await;
        let rest = String::from_utf8(rest.to_vec()).expect("UTF-8");
        let answer = Answer { status: 200, headers: head.headers, body: rest.into(), end };
        is_broken(&answer, &[]);
        assert!(pair.b.requests().is_empty(), "{what}: `b` was asked");
        assert_eq!(pair.errors(), (1, 0), "{what}");
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_so_too() {
    let pair = Pair::new(Reply::sse().event("{\"n\":1}").stall(), "", "timeouts: { idle: 1s }");
    is_broken(&pair.ends("silence", 1).await, &["{\"n\":1}"]);
    pair.a.all_closed().await;
}

#[tokio::test]
async fn half_an_event_does_not_swallow_the_error() {
    let reply = Reply::sse().event("{\"n\":1}").data("data: {\"n\":2").close();
    let pair = Pair::new(reply, "", "");
    let answer = pair.ends("half an event", 1).await;
    is_broken(&answer, &["{\"n\":1}", "{\"n\":2"]);
}

#[tokio::test]
async fn the_error_event_speaks_the_dialect_of_the_path() {
    for (path, kind) in [("/v1/responses", "error"), ("/v1/messages", "error")] {
        let pair = Pair::new(Reply::sse().event("{\"n\":1}").close(), "", "");
        let answer = post_json(pair.gateway.addr(), path, &json!({ "model": "m" }), &[]).await;
        assert!(answer.text().contains("\nevent: error\n"), "{}", answer.text());
        let last: serde_json::Value = serde_json::from_str(answer.events()[1]).expect("JSON");
        assert_eq!(last["type"], kind, "{path}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_done_ends_so() {
    let pair = Pair::new(Reply::sse().event("{\"n\":1}").end(), "", "");
    let answer = pair.ends("no [DONE]", 0).await;
    assert_eq!((answer.text(), answer.end), ("data: {\"n\":1}\n\n", Ended::Clean));
}

#[tokio::test]
async fn a_later_error_event_is_passed_on() {
    let reply = Reply::sse().event("{\"n\":1}").event("{\"error\":{\"message\":\"late\"}}").done();
    let pair = Pair::new(reply, "", "");
    let answer = pair.ends("a late error", 0).await;
    assert_eq!(answer.events(), ["{\"n\":1}", "{\"error\":{\"message\":\"late\"}}", "[DONE]"]);
}

#[tokio::test]
async fn a_broken_body_is_a_cut_connection() {
    for (what, reply) in [
        ("a length that is too long", limited(100).data("{\"half\":").close()),
        ("a chunk that never comes", {
            let head = Reply::new(200).header("content-type", "application/json");
            head.header("transfer-encoding", "chunked").data("{\"half\":").close()
        }),
        ("an encoded stream", {
            let head = Reply::sse().header("content-encoding", "gzip");
            head.data(&b"\x1f\x8b\x08\x00"[..]).close()
        }),
        ("a stream with a length", {
            let head = Reply::new(200).header("content-type", "text/event-stream").header("content-length", "100");
            head.event("{\"n\":1}").close()
        }),
    ] {
        let pair = Pair::new(reply, "", "");
        let answer = pair.ends(what, 1).await;
        assert_eq!((answer.status, answer.end), (200, Ended::Cut), "{what}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("upstream_stream_broken"), "{what}");
    }
}

#[tokio::test]
async fn a_length_that_is_too_short_lets_nothing_into_the_next_answer() {
    let lies = Reply::new(200).header("content-type", "application/json").header("content-length", "9");
    let lies = lies.data("{\"one\":1}HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsmuggle");
    let a = Upstream::script([lies, Reply::chat("honest"), Reply::chat("honest")]);
    let pair = Pair::of(a, "", "");
    let mut client = pair.gateway.client().await;
    for expected in [Some("{\"one\":1}"), None, None] {
        client.post("/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
        let answer = client.answer().await;
        assert!(!answer.text().contains("smuggle"), "{}", answer.text());
        match expected {
            Some(text) => assert_eq!(answer.text(), text),
            None => assert!(answer.text().contains("honest"), "{}", answer.text()),
        }
    }
    let connections: Vec<_> = pair.a.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 1], "the connection that lied is not used again");
}
