//! Providers fail in every way there is, and each failure ends as the table of the routing rules says.

mod support;

use serde_json::json;
use support::{Answer, Client, Deployed, Ended, Gate, Refusing, Reply, Step, Upstream, backend, backends, post_json};

/// Timeouts that only a provider that never says anything can run into.
const SHORT: &str = "timeouts: { headers: 150ms, idle: 150ms }";

/// Two backends, `a` and `b`, behind the route `m`.
struct Pair {
    gateway: Deployed,
    a: Upstream,
    b: Upstream,
}

impl Pair {
    /// `a` answers so, `b` works. `options` are further keys of the route, `more` are of the backend `a`.
    fn new(reply: Reply, options: &str, more: &str) -> Self {
        Self::of(Upstream::always(reply), options, more)
    }

    fn of(a: Upstream, options: &str, more: &str) -> Self {
        let b = Upstream::start(|request| match request.json()["stream"].as_bool() {
            Some(true) => Reply::chat_stream(["from ", "b"]),
            _ => Reply::chat("from b"),
        });
        let gateway = Deployed::start(&format!(
            "models: [{{ name: m, providers: [{{ provider: a }}, {{ provider: b }}], {options} }}]\n{}",
            backends([backend("a", &a.url(""), more), backend("b", &b.url(""), "")])
        ));
        Self { gateway, a, b }
    }

    /// The request went on to `b`: its answer is all that came, and `a` has one error.
    async fn goes_on(&self, what: &str) {
        self.goes_on_with(what, false).await;
        self.goes_on_with(what, true).await;
        assert_eq!(self.errors(), (2, 0), "{what}");
    }

    async fn goes_on_with(&self, what: &str, stream: bool) {
        let asked = self.b.requests().len();
        let (answer, alone) = if stream {
            (self.gateway.stream("m").await, direct(&self.b, true).await)
        } else {
            (self.gateway.chat("m").await, direct(&self.b, false).await)
        };
        assert_eq!((answer.status, answer.end), (200, Ended::Clean), "{what}: {}", answer.text());
        assert_eq!(answer.text(), alone.text(), "{what}");
        assert_eq!(answer.header("x-pointsman-provider"), Some("b"), "{what}");
        assert_eq!(answer.header("x-pointsman-attempts"), Some("2"), "{what}");
        assert_eq!(self.b.requests().len(), asked + 2, "{what}: `b` is asked once, and once directly");
    }

    /// The answer of `a` is final: `b` was not asked, and so many errors are counted.
    async fn ends(&self, what: &str, errors: u64) -> Answer {
        let answer = self.gateway.stream("m").await;
        assert!(self.b.requests().is_empty(), "{what}: `b` was asked");
        assert_eq!(self.errors(), (errors, 0), "{what}");
        answer
    }

    fn errors(&self) -> (u64, u64) {
        (self.gateway.errors("a"), self.gateway.errors("b"))
    }
}

async fn direct(upstream: &Upstream, stream: bool) -> Answer {
    post_json(upstream.addr(), "/v1/chat/completions", &json!({ "model": "m", "stream": stream }), &[]).await
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().expect("a code").to_owned()
}

fn limited(length: usize) -> Reply {
    Reply::new(200).header("content-type", "application/json").header("content-length", &length.to_string())
}

/// The answer of a stream that broke: what came before, then one error event, and no `[DONE]`.
fn is_broken(answer: &Answer, before: &[&str]) {
    assert_eq!((answer.status, answer.end), (200, Ended::Clean), "{}", answer.text());
    let events = answer.events();
    let (last, rest) = events.split_last().expect("there are events");
    assert_eq!(rest, before);
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(last["error"]["code"], "upstream_stream_broken");
    assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
}

mod before_anything_came {
    use super::*;

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
}

mod after_the_first_event {
    use super::*;

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
}

mod when_all_fail {
    use super::*;

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
}

mod the_route_decides {
    use super::*;

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
}

mod a_client_that_leaves {
    use super::*;

    async fn ask(pair: &Pair) -> Client {
        let mut client = pair.gateway.client().await;
        client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
        pair.a.wait_for(1).await;
        client
    }

    #[tokio::test]
    async fn is_no_error_of_the_provider() {
        for (what, reply) in [
            ("before the head", Reply::nothing().stall()),
            ("before the first event", Reply::sse().stall()),
            ("in the middle", Reply::sse().event("1").stall()),
        ] {
            for reset in [false, true] {
                let pair = Pair::new(reply.clone(), "", "");
                let mut client = ask(&pair).await;
                if what == "in the middle" {
                    client.head().await;
                    client.until("data: 1\n\n").await;
                }
                if reset {
                    client.reset()
                } else {
                    drop(client)
                }
                pair.a.closed(0).await;
                assert_eq!(pair.errors(), (0, 0), "{what}");
                assert!(pair.b.requests().is_empty(), "{what}: `b` was asked");
            }
        }
    }
}
