use std::{
    pin::{Pin, pin},
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll, Waker},
};

use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_layer::Layer;
use tower_service::Service as _;

use super::{
    Errors, Probe, ProbeError, Row, Subject,
    probe::{Mark, Part, Plan, Script},
};

const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
const SECOND: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}\n\n";

const fn stream(parts: &'static [Part]) -> Script {
    Script { status: 200, content_type: "text/event-stream", parts, sized: false }
}

const fn json(status: u16, parts: &'static [Part]) -> Script {
    Script { status, content_type: "application/json", parts, sized: true }
}

const WHOLE: Script = stream(&[Part::Data(FIRST), Part::Data(SECOND), Part::Data("data: [DONE]\n\n")]);

/// Only an instance that was polled ready is called, however the service is cloned, moved and called again.
pub async fn calls_the_instance_that_was_polled_ready<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (mut service, seen) = row.around(Plan::Answer(WHOLE));

    // A clone that was made in between is another instance, and was not polled.
    service.ready().await.expect("ready");
    let mut clone = service.clone();
    service.call((row.request)()).await.expect("an answer");
    clone.ready().await.expect("ready");
    clone.call((row.request)()).await.expect("an answer");

    // The next call may be made while the last one is under way, and the service moved between ready and call.
    let first = service.ready().await.expect("ready").call((row.request)());
    service.ready().await.expect("ready");
    let mut moved = service;
    let second = moved.call((row.request)());
    second.await.expect("an answer");
    first.await.expect("an answer");

    assert_eq!(seen.calls(), 4, "each call reaches the inner service once");
}

/// A service that is made ready and dropped has done nothing; a future that is dropped unpolled has set nothing to work.
pub async fn dropped_before_it_is_polled_it_did_nothing<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (mut service, seen) = row.around(Plan::Answer(WHOLE));
    service.ready().await.expect("ready");
    drop(service);
    settle().await;
    assert_eq!(seen.calls(), 0, "the inner service was called without a call");

    let (mut service, seen) = row.around(Plan::Answer(WHOLE));
    drop(service.ready().await.expect("ready").call((row.request)()));
    settle().await;
    assert_eq!(seen.future_polls.load(SeqCst), 0, "work was done for a future that was never polled");
    assert_eq!(seen.futures_alive.load(SeqCst), 0, "the inner future outlived the future");
}

/// Dropping the future while the inner one is at work drops the inner one.
pub async fn a_dropped_future_drops_the_inner_future<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (mut service, seen) = row.around(Plan::Hang);
    let mut future = Box::pin(service.ready().await.expect("ready").call((row.request)()));
    for _ in 0..100 {
        assert!(poll_once(future.as_mut()).is_pending(), "an answer while the inner service gave none");
        tokio::task::yield_now().await;
    }
    assert!(seen.future_polls.load(SeqCst) > 0, "the inner service was not asked");
    assert_eq!(seen.futures_alive.load(SeqCst), 1);
    drop(future);
    assert_eq!(seen.futures_alive.load(SeqCst), 0, "the inner future outlived the future");
}

/// Dropping the body of an answer in the middle drops the inner body.
pub async fn a_dropped_body_drops_the_inner_body<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (service, seen) = row.around(Plan::Answer(stream(&[Part::Data(FIRST), Part::Hang])));
    let response = service.oneshot((row.request)()).await.expect("an answer");
    let mut body = Box::pin(response.into_body());
    let first = body.frame().await.expect("a frame").expect("no error");
    assert_eq!(first.into_data().expect("data"), FIRST);
    assert!(poll_once(pin!(body.frame())).is_pending(), "a frame that the inner body did not give");
    assert_eq!(seen.bodies_alive.load(SeqCst), 1);
    drop(body);
    assert_eq!(seen.bodies_alive.load(SeqCst), 0, "the inner body outlived the body");
}

/// A service can be shared between threads, and its future and body sent to another.
pub async fn it_can_be_shared_and_sent_between_threads<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (service, seen) = row.around(Plan::Answer(WHOLE));
    let (service, request) = (&service, row.request);
    let elsewhere = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let answer = tokio::spawn(service.clone().oneshot(request())).await.expect("no panic");
            tokio::spawn(answer.expect("an answer").into_body().collect()).await.expect("no panic").expect("a body");
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(elsewhere);
        scope.spawn(elsewhere);
    });
    assert_eq!(seen.calls(), 2);
}

/// An answer passes through as it is: head, extensions, each frame, trailers, and at each point what the body says of
/// its length and its end.
pub async fn an_answer_passes_through_unchanged<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let answers = [
        WHOLE,
        stream(&[Part::Data(FIRST), Part::Data("data: [DONE]\n\n"), Part::Trailer("end")]),
        // Frames and events have nothing to do with each other.
        stream(&[Part::Data("da"), Part::Data("ta: {\"choices\":[]}\n\ndata: {}"), Part::Data("\n\n")]),
        json(200, &[Part::Data("{\"ok\":true}")]),
        json(200, &[Part::Data("{\"ok\""), Part::Data(":true}"), Part::Trailer("end")]),
        json(400, &[Part::Data("{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\"}}")]),
    ];
    for answer in answers {
        let (service, _) = row.around(Plan::Answer(answer.clone()));
        let (head, body) = service.oneshot((row.request)()).await.expect("an answer").into_parts();
        let (expected_head, expected_body) = answer.response(None).into_parts();
        assert_eq!(head.status, expected_head.status);
        for name in expected_head.headers.keys() {
            let values = |headers: &http::HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(values(&head.headers), values(&expected_head.headers), "{name}");
        }
        assert_eq!(head.extensions.get(), Some(&Mark(2)), "the response lost an extension");

        let (mut body, mut expected) = (pin!(body), pin!(expected_body));
        let mut left: u64 = answer.parts.iter().map(|part| part.length()).sum();
        loop {
            let (hint, expected_hint) = (body.size_hint(), expected.size_hint());
            // A layer that has read ahead knows of more.
            let lower_is_right = (expected_hint.lower()..=left).contains(&hint.lower());
            assert!(
                lower_is_right
                    && (hint.upper(), body.is_end_stream()) == (expected_hint.upper(), expected.is_end_stream()),
                "size_hint and is_end_stream differ in {answer:?}: {hint:?}"
            );
            let frame = body.frame().await;
            left -=
                frame.iter().flatten().filter_map(|frame| frame.data_ref()).map(|data| data.len() as u64).sum::<u64>();
            let frame = frame.map(|frame| frame.map(show));
            assert_eq!(frame, expected.frame().await.map(|frame| frame.map(show)), "a frame differs in {answer:?}");
            if frame.is_none() {
                break;
            }
        }
    }
}

/// An error of the inner service, or of the inner body once it has begun, comes out as it is, or as the row says.
pub async fn an_inner_error_passes_through_unchanged<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (service, seen) = row.around(Plan::Fail(ProbeError(17)));
    let result = service.oneshot((row.request)()).await;
    match row.errors {
        Errors::PassThrough => assert_eq!(result.err(), Some(ProbeError(17)), "the inner error is not what came out"),
        Errors::Answer => {
            let status = result.expect("a response in place of the error").status();
            assert!(status.is_server_error(), "{status} in place of an error");
        }
    }
    assert_eq!(seen.calls(), 1);

    let (service, _) = row.around(Plan::Answer(stream(&[Part::Data(FIRST), Part::Error(ProbeError(18))])));
    let mut body = pin!(service.oneshot((row.request)()).await.expect("an answer").into_body());
    assert_eq!(show(body.frame().await.expect("a frame").expect("no error")), FIRST);
    let second = body.frame().await.expect("a second frame");
    match (row.errors, second) {
        // A stream that is broken may say so itself.
        (Errors::Answer, Ok(frame)) => {
            let event = show(frame);
            assert!(event.contains(r#"data: {"error":"#), "the stream broke, and went on with {event:?}");
            assert!(body.frame().await.is_none(), "something came after the error");
        }
        (_, second) => assert_eq!(second.err(), Some(ProbeError(18)), "the inner body's error is not what came out"),
    }
}

/// The inner service gets the request as it came: method, target, version, header fields, extensions, body.
pub async fn a_request_keeps_its_headers_and_extensions<L: Layer<Probe, Service: Subject>>(row: Row<L>) {
    let (service, seen) = row.around(Plan::Answer(WHOLE));
    let mut sent = (row.request)();
    sent.headers_mut().append("x-probe", "one".parse().expect("a value"));
    sent.headers_mut().append("x-probe", "two".parse().expect("a value"));
    sent.extensions_mut().insert(Mark(1));
    service.oneshot(sent.clone()).await.expect("an answer");

    let requests = seen.requests.lock().expect("nothing panics under the lock");
    let [arrived] = requests.as_slice() else { panic!("one request was sent, and these arrived: {requests:?}") };
    assert_eq!((arrived.method(), arrived.uri(), arrived.version()), (sent.method(), sent.uri(), sent.version()));
    assert_eq!(arrived.headers(), sent.headers());
    assert_eq!(arrived.extensions().get(), Some(&Mark(1)), "the request lost an extension");
    assert_eq!(arrived.body().to_bytes(), sent.body().to_bytes());
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn show(frame: http_body::Frame<bytes::Bytes>) -> String {
    match frame.into_data() {
        Ok(data) => String::from_utf8_lossy(&data).into_owned(),
        Err(frame) => format!("{:?}", frame.into_trailers()),
    }
}

/// Gives whatever was spawned its turn.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
