//! What counts, and what does not: the layer around a scripted backend.

use std::{
    collections::VecDeque,
    future::{pending, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use super::*;
use crate::ext::{Candidate, EarlyFailure, Failure, FailureStatuses, GateClosed};

type Answer = Result<Response<Frames>, &'static str>;

/// A body of these frames; the end is seen only by polling.
#[derive(Debug)]
struct Frames(VecDeque<Result<&'static str, &'static str>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front().map(|frame| frame.map(|data| Frame::data(data.into()))))
    }
}

fn answer(status: u16) -> Response<Frames> {
    broken_after(status, &[Ok("hello")])
}

fn broken_after(status: u16, frames: &[Result<&'static str, &'static str>]) -> Response<Frames> {
    Response::builder().status(status).body(Frames(frames.iter().copied().collect())).unwrap()
}

fn with<T: Clone + Send + Sync + 'static>(mut response: Response<Frames>, extension: T) -> Response<Frames> {
    response.extensions_mut().insert(extension);
    response
}

/// What is counted when the backend answers like this and the body is read to its end.
async fn counted(layer: impl FnOnce(ErrorCountLayer) -> ErrorCountLayer, answer: Answer) -> u64 {
    let window = Arc::new(ErrorWindow::default());
    let mut answer = Some(answer);
    let mut service = layer(ErrorCountLayer::new(Arc::clone(&window)))
        .layer(service_fn(move |_: Request<()>| ready(answer.take().expect("called once"))));
    if let Ok(response) = service.ready().await.unwrap().call(Request::new(())).await {
        let _ = response.into_body().collect().await;
    }
    window.count()
}

#[tokio::test(start_paused = true)]
async fn every_row_of_the_table() {
    let early = EarlyFailure(Failure::BROKEN);
    let counting = [401, 402, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504, 529, 599];
    let others = [200, 201, 204, 302, 304, 400, 405, 410, 413, 415, 418, 422, 451];
    let mut rows: Vec<(String, Answer, u64)> = vec![
        ("an error".into(), Err("connection refused"), 1),
        ("a gate that is closed".into(), Ok(with(answer(503), GateClosed::new("balance > 0"))), 0),
        ("an early failure".into(), Ok(with(answer(502), early)), 1),
        ("an early failure with a status of its own".into(), Ok(with(answer(400), early)), 1),
        ("a body that breaks".into(), Ok(broken_after(200, &[Ok("hel"), Err("reset")])), 1),
        ("a body that breaks at once".into(), Ok(broken_after(200, &[Err("reset")])), 1),
        ("a body that breaks after an error status".into(), Ok(broken_after(500, &[Err("reset")])), 1),
        ("a body that breaks after the request's own fault".into(), Ok(broken_after(400, &[Err("reset")])), 0),
    ];
    rows.extend(counting.map(|status| (status.to_string(), Ok(answer(status)), 1)));
    rows.extend(others.map(|status| (status.to_string(), Ok(answer(status)), 0)));
    for (what, answer, errors) in rows {
        assert_eq!(counted(|layer| layer, answer).await, errors, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_statuses_can_be_replaced() {
    let only_418 = |layer: ErrorCountLayer| layer.statuses(FailureStatuses::from_iter([StatusCode::IM_A_TEAPOT]));
    assert_eq!(counted(only_418, Ok(answer(418))).await, 1);
    assert_eq!(counted(only_418, Ok(answer(500))).await, 0);
    assert_eq!(counted(only_418, Err("connection refused")).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_counts_when_it_breaks_and_not_when_it_is_dropped() {
    let window = Arc::new(ErrorWindow::default());
    let service = ErrorCountLayer::new(Arc::clone(&window))
        .layer(service_fn(|_: Request<()>| ready(Answer::Ok(broken_after(200, &[Ok("hel"), Err("reset")])))));

    let left = service.clone().oneshot(Request::new(())).await.unwrap();
    let mut left = left.into_body();
    assert!(left.frame().await.unwrap().is_ok());
    drop(left);
    assert_eq!(window.count(), 0);

    let mut read = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert!(read.frame().await.unwrap().is_ok());
    assert_eq!(window.count(), 0);
    assert!(read.frame().await.unwrap().is_err());
    assert_eq!(window.count(), 1);
    drop(read);
    assert_eq!(window.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_counts_only_past_the_deadline() {
    let window = Arc::new(ErrorWindow::default());
    let mut service = ErrorCountLayer::new(Arc::clone(&window)).layer(service_fn(|_: Request<()>| pending::<Answer>()));
    let mut start = |deadline: Option<Duration>| {
        let mut candidate = Candidate::new("groq", "llama");
        candidate.deadline = deadline.map(|after| (Instant::now() + after).into_std());
        let mut request = Request::new(());
        request.extensions_mut().insert(candidate);
        let mut call = task::spawn(service.call(request));
        assert_pending!(call.poll());
        call
    };

    let unlimited = start(None);
    let early = start(Some(Duration::from_secs(10)));
    let late = start(Some(Duration::from_secs(10)));
    advance(Duration::from_millis(9_999)).await;
    drop(early);
    advance(Duration::from_millis(1)).await;
    drop(unlimited);
    assert_eq!(window.count(), 0, "a client that leaves is nobody's error");
    drop(late);
    assert_eq!(window.count(), 1, "a backend the route gave up on failed");
}

#[tokio::test(start_paused = true)]
async fn an_answer_past_the_deadline_is_judged_by_itself() {
    let window = Arc::new(ErrorWindow::default());
    let mut service =
        ErrorCountLayer::new(Arc::clone(&window)).layer(service_fn(|_: Request<()>| ready(Answer::Ok(answer(200)))));
    let mut request = Request::new(());
    let mut candidate = Candidate::new("groq", "llama");
    candidate.deadline = Some(Instant::now().into_std());
    request.extensions_mut().insert(candidate);

    let mut call = task::spawn(service.call(request));
    let response = assert_ready!(call.poll());
    drop(call);
    drop(response);
    assert_eq!(window.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_request_carries_the_count_as_it_is_when_read() {
    let errors = ErrorCounts::default();
    errors.record("groq");
    let service = ErrorCountLayer::new(errors.window("groq")).layer(service_fn(async |request: Request<()>| {
        let handle = request.extensions().get::<ErrorCountHandle>().unwrap();
        assert_eq!(handle.count(), 1);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(handle.count(), 0);
        Answer::Ok(answer(200))
    }));
    assert!(service.oneshot(Request::new(())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_counts() {
    let (service, handle) = tower_test::mock::pair::<Request<()>, Response<Frames>>();
    let window = Arc::new(ErrorWindow::default());
    let mut service = ErrorCountLayer::new(Arc::clone(&window)).layer(service);
    drop(handle);
    assert!(service.ready().await.is_err());
    assert_eq!(window.count(), 1);
}
