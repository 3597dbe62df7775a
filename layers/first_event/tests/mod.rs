mod script;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, task};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use self::script::{Broken, Script, Step, data, trailers};
use super::*;
use crate::{
    body::{AnswerBody, ErrorAnswer},
    ext::{EarlyFailure, Failure, RateLimited},
};

const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

fn response(content_type: &str, body: Script) -> Response<Script> {
    Response::builder().header(header::CONTENT_TYPE, content_type).body(body).expect("a response")
}

fn stream<const N: usize>(steps: [Step; N]) -> Response<Script> {
    response("text/event-stream", steps.into())
}

fn plain<const N: usize>(steps: [Step; N]) -> Response<Script> {
    response("application/json", steps.into())
}

/// What the layer makes of a response, with a hold limit of 4 KiB.
async fn pass_to(method: Method, response: Response<Script>) -> Response<AnswerBody<FirstEventBody<Script>>> {
    let mut response = Some(response);
    let inner = service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(response.take().expect("called once")))
    });
    let request = Request::builder().method(method).body(()).expect("a request");
    let layer = FirstEventLayer::new().hold_limit(4096).classify(|error: &Broken| match error {
        Broken::Reset => Failure::BROKEN,
        Broken::Stalled => Failure::TIMEOUT,
    });
    layer.layer(inner).oneshot(request).await.expect("infallible")
}

async fn pass(response: Response<Script>) -> Response<AnswerBody<FirstEventBody<Script>>> {
    pass_to(Method::POST, response).await
}

async fn text(response: Response<AnswerBody<FirstEventBody<Script>>>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

/// The status, code and mark of an answer that was made here.
async fn early(from: Response<Script>) -> (u16, &'static str, Option<Failure>) {
    let alive = Arc::downgrade(&from.body().alive);
    let response = pass(from).await;
    assert!(alive.upgrade().is_none(), "the body below is dropped");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let status = response.status().as_u16();
    let failure = response.extensions().get().map(|EarlyFailure(failure)| *failure);
    let answer = response.extensions().get::<ErrorAnswer>().expect("an answer of the layer's own").clone();
    assert_eq!(text(response).await, answer.to_json());
    (status, answer.code(), failure)
}

#[tokio::test]
async fn an_answer_goes_up_as_it_came() {
    let comments = ": heartbeat\n\n\n: another\n\n";
    let cases = [
        stream([data(EVENT)]),
        stream([data(comments), data(EVENT), data("data: [DONE]\n\n")]),
        stream([data(""), data(&EVENT[..9]), data(&EVENT[9..]), data("data: cut")]),
        stream([data(["\u{FEFF}", EVENT, "data: {\"error\":{}}\n\n"].concat())]),
        stream([data("data: not JSON\r\n\r\n")]),
        plain([data("{"), data("}")]),
        plain([data(""), data("data: {\"error\":\"a stream's error in plain content\"}\n\n")]),
    ];
    for case in cases {
        let expected = case.body().bytes();
        let response = pass(case).await;
        assert_eq!(response.status(), 200);
        assert!(response.extensions().get::<EarlyFailure>().is_none());
        assert_eq!(response.body().size_hint().exact(), Some(expected.len() as u64));
        assert!(!response.body().is_end_stream());
        assert_eq!(text(response).await.as_bytes(), expected);
    }
}

#[tokio::test]
async fn what_has_no_content_to_wait_for_passes() {
    for status in [204, 205, 304, 302, 400, 429, 503] {
        let mut below = stream([]);
        *below.status_mut() = StatusCode::from_u16(status).expect("a status");
        let response = pass(below).await;
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<EarlyFailure>().is_none());
    }
    assert_eq!(pass_to(Method::HEAD, stream([])).await.status(), 200);
    assert_eq!(pass_to(Method::HEAD, plain([])).await.status(), 200);
}

#[tokio::test]
async fn an_error_status_is_not_looked_into() {
    let mut below = stream([data("data: {\"error\":\"quota\"}\n\n")]);
    *below.status_mut() = StatusCode::IM_A_TEAPOT;
    let response = pass(below).await;
    assert_eq!(response.status(), 418);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(text(response).await, "data: {\"error\":\"quota\"}\n\n");
}

#[tokio::test]
async fn a_first_event_that_is_an_error_becomes_its_status() {
    let json = r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#;
    let event = format!(": hello\n\ndata: {json}\n\ndata: [DONE]\n\n");
    for content_type in ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream ;charset=utf-8"] {
        for size in [1, 2, 7, event.len()] {
            let body: Script = event.as_bytes().chunks(size).map(|piece| data(piece.to_vec())).collect();
            let alive = Arc::downgrade(&body.alive);
            let mut below = response(content_type, body);
            for (name, value) in [("content-length", "999"), ("x-request-id", "r1"), ("content-encoding", "identity")] {
                below.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            below.extensions_mut().insert(RateLimited { retry_after: None });
            let response = pass(below).await;
            assert!(alive.upgrade().is_none());
            assert_eq!(response.status(), 429);
            assert_eq!(response.extensions().get(), Some(&EarlyFailure(Failure::ERROR_EVENT)));
            assert!(response.extensions().get::<RateLimited>().is_some());
            assert_eq!(response.body().size_hint().exact(), Some(json.len() as u64));
            assert_eq!(response.headers().len(), 2);
            assert_eq!(response.headers()["x-request-id"], "r1");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert_eq!(text(response).await, json);
        }
    }
}

#[tokio::test]
async fn dashscope_says_the_status_in_a_comment() {
    let json = r#"{"code":"Unknown","message":"Busy","request_id":"1"}"#;
    let response = pass(stream([data(format!("id:1\nevent:error\n:HTTP_STATUS/429\ndata:{json}\n\n"))])).await;
    assert_eq!(response.status(), 429);
    assert_eq!(text(response).await, json);
}

#[tokio::test]
async fn an_error_at_the_end_needs_no_blank_line() {
    let response = pass(stream([data("data: {\"error\":\"overloaded\"}")])).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.extensions().get(), Some(&EarlyFailure(Failure::ERROR_EVENT)));
    assert_eq!(text(response).await, "{\"error\":\"overloaded\"}");
}

#[tokio::test]
async fn an_encoded_stream_is_not_looked_into() {
    for coding in ["gzip", "GZIP", "identity, br"] {
        let content = "data: {\"error\":\"not really compressed\"}\n\n";
        let mut below = stream([data(&content[..1]), data(&content[1..])]);
        below.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        let response = pass(below).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], coding);
        assert_eq!(text(response).await, content);
    }
}

#[tokio::test]
async fn an_answer_that_ends_before_it_begins_is_a_bad_gateway() {
    for below in [plain([]), plain([data(""), data("")]), plain([Step::Trailers(trailers())])] {
        assert_eq!(early(below).await, (502, "upstream_empty_answer", Some(Failure::EMPTY)));
    }
    let comment = ": nothing but comments\n\n";
    for below in [stream([]), stream([data(comment), Step::Trailers(trailers())]), stream([data("data: cut")])] {
        assert_eq!(early(below).await, (502, "upstream_empty_stream", Some(Failure::EMPTY)));
    }
    let mut compressed = stream([]);
    compressed.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(early(compressed).await, (502, "upstream_empty_answer", Some(Failure::EMPTY)));
}

#[tokio::test]
async fn an_answer_that_breaks_before_it_begins_is_a_bad_gateway_or_a_timeout() {
    let reset = (502, "upstream_stream_broken", Some(Failure::BROKEN));
    let stalled = (504, "upstream_timeout", Some(Failure::TIMEOUT));
    assert_eq!(early(plain([Step::Break(Broken::Reset)])).await, reset);
    assert_eq!(early(plain([data(""), Step::Break(Broken::Stalled)])).await, stalled);
    assert_eq!(early(stream([data("data: {\"error\":\"cut off\"}"), Step::Break(Broken::Reset)])).await, reset);
    assert_eq!(early(stream([data(": wait\n\n"), Step::Break(Broken::Stalled)])).await, stalled);
}

#[tokio::test]
async fn an_answer_that_breaks_later_breaks_for_the_client() {
    let response = pass(stream([data(EVENT), Step::Break(Broken::Reset)])).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let frame = body.frame().await.expect("the event").expect("no error yet");
    assert_eq!(frame.into_data().expect("data"), EVENT);
    assert_eq!(body.frame().await.expect("the error").expect_err("broken"), Broken::Reset);
}

#[tokio::test]
async fn by_default_every_error_is_a_broken_connection() {
    let inner =
        service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(plain([Step::Break(Broken::Stalled)]))));
    let response = FirstEventLayer::default().layer(inner).oneshot(Request::new(())).await.expect("infallible");
    assert_eq!(response.extensions().get(), Some(&EarlyFailure(Failure::BROKEN)));
}

#[tokio::test]
async fn a_stream_over_the_limit_goes_up_without_an_event() {
    let line = Bytes::from("x".repeat(1000));
    let steps = std::iter::once(data("data: ")).chain((0..10).map(|_| data(line.clone())));
    let error = Step::Break(Broken::Reset); // far behind the limit: not reached before the response goes up
    let mut response = pass(response("text/event-stream", steps.chain([error]).collect())).await;
    assert_eq!(response.status(), 200);
    let mut seen = 0;
    while let Some(Ok(frame)) = response.body_mut().frame().await {
        seen += frame.into_data().expect("data").len();
    }
    assert_eq!(seen, 6 + 10 * 1000);

    // One byte to a frame: what holding the frames takes is counted.
    let trickle: Script = std::iter::repeat_with(|| data("x")).take(1000).collect();
    let response = pass(self::response("text/event-stream", trickle)).await;
    assert_eq!(text(response).await, "x".repeat(1000));
}

#[tokio::test]
async fn trailers_come_through() {
    let response = pass(stream([data(EVENT), Step::Trailers(trailers())])).await;
    let collected = response.into_body().collect().await.expect("a whole body");
    assert_eq!(collected.trailers(), Some(&trailers()));
}

#[tokio::test]
async fn every_frame_of_a_long_stream_comes_through() {
    let events: Vec<_> = (0..64).map(|n| format!("data: {{\"choices\":[{{\"index\":{n}}}]}}\n\n")).collect();
    let mut body = pass(response("text/event-stream", events.iter().cloned().map(data).collect())).await.into_body();
    for event in events {
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), event);
    }
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

/// A body that is fed by hand.
struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
    }
}

type Passed<B> = Result<Response<AnswerBody<FirstEventBody<B>>>, Infallible>;

/// A call that waits for its first event, and the other end of its body.
fn waiting() -> (task::Spawn<impl Future<Output = Passed<Fed>>>, mpsc::UnboundedSender<Bytes>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut below = Some(Response::new(Fed(receiver)));
    let inner = service_fn(move |_: Request<()>| {
        let mut below = below.take().expect("called once");
        below.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        std::future::ready(Ok::<_, Infallible>(below))
    });
    (task::spawn(FirstEventLayer::new().layer(inner).oneshot(Request::new(()))), sender)
}

#[test]
fn a_response_goes_up_with_the_last_byte_of_its_first_event() {
    let (mut call, sender) = waiting();
    for byte in format!(": comment\n\n{}", &EVENT[..EVENT.len() - 1]).into_bytes() {
        assert_pending!(call.poll());
        sender.send(Bytes::from(vec![byte])).expect("a receiver");
    }
    assert_pending!(call.poll());
    sender.send("\n".into()).expect("a receiver");
    assert!(call.is_woken());
    assert_eq!(assert_ready!(call.poll()).expect("infallible").status(), 200);
}

#[test]
fn dropping_the_call_or_the_body_drops_the_body_below() {
    let (mut call, sender) = waiting();
    assert_pending!(call.poll());
    sender.send(": comment\n\n".into()).expect("a receiver");
    assert_pending!(call.poll());
    drop(call);
    assert!(sender.is_closed());

    let (mut call, sender) = waiting();
    sender.send(EVENT.into()).expect("a receiver");
    let response = assert_ready!(call.poll()).expect("infallible");
    assert!(!sender.is_closed());
    drop(response);
    assert!(sender.is_closed());
}

#[test]
fn the_call_goes_to_the_service_that_was_ready_and_its_error_comes_back() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<()>, Response<Script>>();
    let mut service = FirstEventLayer::new().layer(mock);
    handle.allow(0);
    let mut ready = task::spawn(());
    assert_pending!(ready.enter(|cx, _| service.poll_ready(cx)));
    handle.allow(1);
    assert_ready!(ready.enter(|cx, _| service.poll_ready(cx))).expect("ready");
    let mut call = task::spawn(service.call(Request::new(())));
    assert_pending!(call.poll());
    let mut request = task::spawn(handle.next_request());
    let (_, reply) = assert_ready!(request.poll()).expect("a request");
    reply.send_error("refused");
    assert_eq!(assert_ready_err!(call.poll()).to_string(), "refused");
}

#[test]
fn everything_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<FirstEventLayer>();
    check::<FirstEvent<Script>>();
    check::<FirstEventBody<Script>>();
    check::<FirstEventFuture<std::future::Ready<Result<Response<Script>, Infallible>>, Script, crate::ext::AssumeBroken>>(
    );
}
