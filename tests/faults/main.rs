//! Providers fail in every way there is, and each failure ends as the table of the routing rules says.

#[path = "../support/mod.rs"]
mod support;

mod a_client_that_leaves;
mod after_the_first_event;
mod before_anything_came;
mod framing;
mod odd_answers;
mod retry_storms;
mod the_route_decides;
mod unreachable;
mod when_all_fail;

use serde_json::json;
use support::{Answer, Deployed, Ended, Reply, Upstream, backend, backends, post_json};

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
