//! What panics is one request, and not its neighbours.

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use pointsman::{
    Config, Gateway,
    server::{Limits, Server},
};
use support::{Client, Ended, Reply, Upstream, backend, backends, get, guard};
use tower::{ServiceExt as _, service_fn};

/// A body that panics where a part of it should be.
struct Panicking;

impl Body for Panicking {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("canary in the middle of a request");
    }
}

#[tokio::test]
async fn a_request_that_panics_is_a_500_and_leaves_its_place() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let yaml = format!(
        "server: {{ max_in_flight: 1 }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    );
    let nothing = |_: &str| None;
    let gateway = Gateway::from_config(Config::from_yaml_with(&yaml, &nothing).expect("a good one").config);
    for _ in 0..3 {
        let request = Request::post("/v1/chat/completions").body(Panicking).expect("a request");
        let answer = gateway.clone().oneshot(request).await.expect("infallible");
        assert_eq!(answer.status(), 500);
        assert!(answer.headers().contains_key("x-request-id"));
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("internal_error") && !body.contains("canary"), "{body}");
        let request = Request::post("/v1/chat/completions").body(r#"{"model":"m"}"#.to_owned()).expect("a request");
        assert_eq!(gateway.clone().oneshot(request).await.expect("infallible").status(), 200);
    }
}

#[tokio::test]
async fn an_answer_that_panics_ends_its_connection_alone() {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), Limits { connections: 1, ..Limits::default() });
    let server = server.await.expect("a free port");
    let addr = server.local_addr().expect("an address");
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        if request.uri().path() == "/panic" {
            panic!("canary instead of an answer");
        }
        Ok::<_, Infallible>(match request.uri().path() {
            "/body" => Response::new(Panicking.boxed()),
            _ => Response::new(String::from("hello").boxed()),
        })
    });
    let served = tokio::spawn(server.serve(service, std::future::pending()));
    for path in ["/panic", "/body"] {
        let mut client = Client::connect(addr).await;
        client.request("GET", path, &[], b"").await;
        let (bytes, end) = client.everything().await;
        assert!(
            !String::from_utf8_lossy(&bytes).contains("canary") && !bytes.ends_with(b"0\r\n\r\n"),
            "{bytes:?} {end:?}"
        );
        // The one place that there is for a connection is free again.
        guard("a free place", async { while get(addr, "/", &[]).await.status != 200 {} }).await;
        let answer = get(addr, "/", &[]).await;
        assert!(answer.end == Ended::Clean && (answer.status == 503 || answer.text() == "hello"));
    }
    assert!(!served.is_finished());
    served.abort();
}

/// As in `pointsman providers | head`.
#[test]
fn a_reader_that_has_left_is_no_reason_to_panic() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, "models: [{ name: m, providers: [{ provider: openai }] }]\n").unwrap();
    let config = config.to_str().unwrap();
    for arguments in [
        &["providers"][..],
        &["eval", "1 < 2"],
        &["check", "--config", config],
        &["explain", "m", "--config", config],
        &["credentials", "--config", config],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let pointsman = Command::new(env!("CARGO_BIN_EXE_pointsman")).args(arguments).stdout(writer).output().unwrap();
        let complaints = String::from_utf8_lossy(&pointsman.stderr);
        assert!(pointsman.status.success() && !complaints.contains("panicked"), "{arguments:?}: {complaints}");
    }
}
