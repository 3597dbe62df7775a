//! The tools of the black-box tests do what the tests take for granted.

mod support;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;
use support::{
    Answer, Binary, Client, Ended, Gate, Received, Refusing, Reply, Served, Signal, Upstream, get, post_json,
};

async fn ask(reply: Reply) -> Answer {
    let upstream = Upstream::always(reply);
    post_json(upstream.addr(), "/v1/chat/completions", &json!({}), &[]).await
}

mod upstream {
    use super::*;

    #[tokio::test]
    async fn records_requests_as_they_were_sent() {
        let upstream = Upstream::start(|request| Reply::echo(&request));
        let mut client = Client::connect(upstream.addr()).await;
        client.send("PUT /a?key=secret HTTP/1.1\r\nHost: h\r\nX-B: 1\r\nx-a: 2\r\nx-b: 3\r\n").await;
        client.send("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(answer.json(), json!({ "method": "PUT", "path": "/a", "length": 5 }));

        let request = upstream.request();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("PUT", "/a?key=secret"));
        assert_eq!(request.body, "abcde");
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "X-B", "x-a", "x-b", "Transfer-Encoding"]);
        assert_eq!(request.headers.all("x-b").collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(request.header("X-A"), Some("2"));
    }

    #[tokio::test]
    async fn tells_connections_apart() {
        let upstream = Upstream::always(Reply::chat("hello"));
        let mut first = Client::connect(upstream.addr()).await;
        for _ in 0..2 {
            first.post("/v1/chat/completions", &json!({}), &[]).await;
            let answer = first.answer().await;
            assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello");
        }
        let second = get(upstream.addr(), "/v1/models", &[]).await;
        assert_eq!(second.status, 200);
        let connections: Vec<_> = upstream.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 0, 1]);
        upstream.closed(1).await;
        assert_eq!((upstream.connections(), upstream.open_connections()), (2, 1));
        drop(first);
        upstream.all_closed().await;
    }

    #[tokio::test]
    async fn streams_at_the_pace_of_a_gate() {
        let gate = Gate::new();
        let upstream = Upstream::always(Reply::chat_stream(["one", "two"]).gated(&gate));
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/v1/chat/completions", &json!({}), &[]).await;
        assert_eq!(client.head().await.headers.get("content-type"), Some("text/event-stream"));
        for (text, other) in [("one", "two"), ("two", "stop")] {
            gate.release();
            let read = client.until("\n\n").await;
            assert!(read.contains(text) && !read.contains(other), "{read}");
        }
        gate.open();
        let (rest, end) = client.rest().await;
        assert!(rest.ends_with(b"data: [DONE]\n\n"), "{rest:?}");
        assert_eq!(end, Ended::Clean);
    }

    #[tokio::test]
    async fn notices_a_client_that_leaves_whatever_it_is_doing() {
        let (gate, stream) = (Gate::new(), Reply::chat_stream(["one"]));
        for reply in [Reply::nothing().stall(), Reply::sse().chat_event("one").stall(), stream.held_by(&gate)] {
            let upstream = Upstream::always(reply);
            let mut client = Client::connect(upstream.addr()).await;
            client.post("/", &json!({}), &[]).await;
            upstream.wait_for(1).await;
            assert_eq!(upstream.open_connections(), 1);
            client.reset();
            upstream.closed(0).await;
        }
    }

    #[tokio::test]
    async fn cuts_a_body_in_every_way() {
        for reply in [
            Reply::sse().chat_event("one").close(),
            Reply::sse().chat_event("one").reset(),
            Reply::new(200).header("content-length", "100").data("data: short\n\n").close(),
            Reply::new(200).header("content-length", "100").data("data: short\n\n").reset(),
        ] {
            let answer = ask(reply).await;
            assert_eq!((answer.status, answer.end, answer.events().len()), (200, Ended::Cut, 1), "{answer:?}");
        }
        assert_eq!(ask(Reply::new(200).data("to the end").close()).await.end, Ended::Clean);
    }

    #[tokio::test]
    async fn leaves_without_an_answer() {
        for (reply, end) in [(Reply::nothing().reset(), Ended::Cut), (Reply::nothing().close(), Ended::Clean)] {
            let upstream = Upstream::always(reply);
            let mut client = Client::connect(upstream.addr()).await;
            client.post("/", &json!({}), &[]).await;
            assert_eq!(client.closed().await, end);
            assert!(client.try_head().await.is_none());
            assert_eq!(upstream.requests().len(), 1);
        }
    }

    #[tokio::test]
    async fn says_what_is_not_http() {
        let upstream = Upstream::always(Reply::garbage());
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/", &json!({}), &[]).await;
        assert!(client.try_head().await.is_none());

        let upstream = Upstream::always(Reply::raw(&b"HTTP/1.1 200 OK\r\nbad\xff\r\n"[..]).close());
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/", &json!({}), &[]).await;
        let (bytes, end) = client.everything().await;
        assert_eq!((&bytes[..], end), (&b"HTTP/1.1 200 OK\r\nbad\xff\r\n"[..], Ended::Clean));
    }

    #[tokio::test]
    async fn sends_what_is_rare() {
        let answer = ask(Reply::redirect(307, "http://elsewhere/")).await;
        assert_eq!((answer.status, answer.header("location")), (307, Some("http://elsewhere/")));

        let answer = ask(Reply::chat("hello").huge_headers(64 << 10)).await;
        assert!(answer.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > 64_000);

        let answer = ask(Reply::error(429, "rate_limited", "slow down").header("retry-after", "3")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("3")));
        assert_eq!(answer.json()["error"]["code"], "rate_limited");

        let answer = ask(Reply::quota(&json!({ "balance": 3 }))).await;
        assert_eq!(answer.json(), json!({ "balance": 3 }));

        let answer = ask(Reply::chat_stream(["one"]).trickled(Duration::ZERO)).await;
        assert_eq!((answer.end, answer.events().len()), (Ended::Clean, 3));

        let answer = ask(Reply::chat_stream(["one"]).paced(Duration::from_millis(1))).await;
        assert_eq!((answer.end, answer.events().len()), (Ended::Clean, 3));
    }

    #[tokio::test]
    async fn sends_informational_answers_and_trailers() {
        let upstream = Upstream::always(Reply::sse().event("one").end_with("x-cost", "3").informational(103));
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/", &json!({}), &[]).await;
        assert_eq!(client.head().await.status(), 103);
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (200, Ended::Clean));
        assert_eq!(client.trailers().get("x-cost"), Some("3"));
    }

    #[tokio::test]
    async fn is_held_up_by_a_client_that_does_not_read() {
        const PIECE: usize = 1 << 20;
        let whole = (64 * PIECE) as u64;
        let upstream = Upstream::always(Reply::new(200).flood(vec![b'x'; PIECE], 64).close());
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/", &json!({}), &[]).await;
        upstream.wait_for(1).await;
        // Any time would do: what the kernel does not buffer is never sent.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(upstream.sent() < whole, "{} bytes are sent", upstream.sent());
        client.head().await;
        let (body, end) = client.rest().await;
        assert_eq!((body.len() as u64, end), (whole, Ended::Clean));
        assert!(upstream.sent() >= whole);
    }

    #[tokio::test]
    async fn follows_a_script() {
        let upstream = Upstream::script([Reply::error(500, "oops", "no"), Reply::chat("yes")]);
        assert_eq!(get(upstream.addr(), "/", &[]).await.status, 500);
        assert_eq!(get(upstream.addr(), "/", &[]).await.status, 200);
    }

    #[tokio::test]
    #[should_panic(expected = "the script of an upstream panicked")]
    async fn fails_the_test_when_the_script_ran_out() {
        let upstream = Upstream::script([]);
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/", &json!({}), &[]).await;
        client.closed().await;
    }

    #[tokio::test]
    async fn stops_when_it_is_dropped() {
        let upstream = Upstream::always(Reply::nothing().stall());
        let mut client = Client::connect(upstream.addr()).await;
        client.post("/", &json!({}), &[]).await;
        upstream.wait_for(1).await;
        let addr = upstream.addr();
        drop(upstream);
        client.closed().await;
        let refused = tokio::net::TcpStream::connect(addr).await;
        assert!(refused.is_err(), "{refused:?}");
    }

    #[tokio::test]
    async fn refuses_where_nobody_listens() {
        let refusing = Refusing::new();
        let error = tokio::net::TcpStream::connect(refusing.addr()).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn answers_by_what_is_asked() {
        let upstream = Upstream::start(|request: Received| match request.path() {
            "/quota" => Reply::quota(&json!({ "balance": 1 })),
            _ => Reply::chat(&request.json()["model"].to_string()),
        });
        let answer = post_json(upstream.addr(), "/v1/chat/completions", &json!({ "model": "a" }), &[]).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "\"a\"");
        assert_eq!(get(upstream.addr(), "/quota?of=me", &[]).await.json()["balance"], 1);
        assert_eq!(upstream.url("/v1"), format!("http://{}/v1", upstream.addr()));
    }
}

mod served {
    use super::*;

    async fn double(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Response::new([&body[..], &body[..]].concat().into()))
    }

    #[tokio::test]
    async fn serves_any_service() {
        let served = Served::start(tower::service_fn(double));
        let mut client = Client::connect(served.addr()).await;
        for body in ["one", "two"] {
            client.request("POST", "/", &[], body.as_bytes()).await;
            assert_eq!(client.answer().await.text(), format!("{body}{body}"));
        }
        client.request("HEAD", "/", &[], b"one").await;
        let answer = client.answer().await;
        assert_eq!((answer.header("content-length"), answer.body.len()), (Some("6"), 0));
        drop(served);
        client.closed().await;
    }

    #[tokio::test]
    async fn speaks_http_2_to_who_begins_with_it() {
        const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
        let served = Served::start(tower::service_fn(double));
        let mut client = Client::connect(served.addr()).await;
        client.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SETTINGS].concat()).await;
        let frame = client.anything().await;
        assert_eq!(frame.get(3), Some(&4), "the first frame is its settings: {frame:?}");
    }

    #[tokio::test]
    async fn answers_pipelined_requests_in_order() {
        let served = Served::start(tower::service_fn(double));
        let mut client = Client::connect(served.addr()).await;
        let one = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\n";
        client.send(format!("{one}a{one}b")).await;
        assert_eq!(client.answer().await.text(), "aa");
        assert_eq!(client.answer().await.text(), "bb");
    }
}

mod binary {
    use super::*;

    fn shell(script: &str) -> Binary {
        Binary::of("sh", ["-c", script])
    }

    #[tokio::test]
    async fn sees_nothing_of_the_machine() {
        let finished = shell("env; cat config.yaml; pwd -P >&2; cd; pwd -P >&2; exit 3")
            .env("KEY", "k")
            .file("config.yaml", "a: 1\n")
            .run()
            .await;
        assert_eq!(finished.status.code(), Some(3));
        let mut names: Vec<_> = finished.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        names.retain(|name| !["_", "SHLVL", "OLDPWD"].contains(name));
        assert_eq!(names, ["HOME", "KEY", "PATH", "PWD"]);
        assert!(finished.stdout.ends_with("a: 1"), "{}", finished.stdout);
        let folders: Vec<_> = finished.stderr.lines().collect();
        assert_eq!(folders[0], folders[1], "the working directory is the home");
    }

    #[tokio::test]
    async fn is_found_where_it_listens_and_stops_when_told() {
        let script = "trap 'echo bye; exit 0' TERM; echo 'INFO listening on http://127.0.0.1:4321/ now' >&2; while :; do sleep 0.01; done";
        let running = shell(script).start();
        assert_eq!(running.listening().await.to_string(), "127.0.0.1:4321");
        running.signal(Signal::Term).await;
        running.line("bye").await;
        let finished = running.finished().await;
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(0), "bye"));
    }

    #[tokio::test]
    #[should_panic(expected = "no line with \"listening on http://\"")]
    async fn that_ends_too_early_is_shown() {
        shell("echo failed: no config >&2").start().listening().await;
    }

    #[tokio::test]
    async fn is_killed_when_it_is_dropped() {
        let running = shell("echo $$; exec sleep 1000").start();
        let pid = running.line("").await;
        drop(running);
        let gone = format!("while kill -0 {pid} 2>/dev/null; do sleep 0.01; done");
        assert!(shell(&gone).run().await.status.success());
    }

    #[tokio::test]
    async fn is_the_one_that_was_compiled() {
        let finished = Binary::new(["--version"]).run().await;
        assert!(finished.status.success(), "{finished:?}");
    }
}
