//! How an attempt is made: readiness, cancellation, and what is held meanwhile.

use http::StatusCode;
use tokio_test::{assert_pending, assert_ready, task};
use tower::service_fn;
use tower_test::mock;

use super::*;
use crate::ext::{AssumeBroken, FailureKind};

/// Panics when it is called without having been polled ready; clones start over. It is ready at the second poll.
#[derive(Debug, Default)]
struct Strict {
    polls: usize,
    fails: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { polls: 0, fails: self.fails }
    }
}

impl Service<Request<ReplayBody>> for Strict {
    type Response = Response<TestBody>;
    type Error = Failed;
    type Future = std::future::Ready<Result<Response<TestBody>, Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.polls += 1;
        match self.polls {
            1 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ if self.fails => Poll::Ready(Err(Failed(Failure::BROKEN))),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<ReplayBody>) -> Self::Future {
        assert_eq!(self.polls, 2, "called without being ready");
        self.polls = 0;
        std::future::ready(Ok(Response::builder().status(503).body(TestBody::default()).unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_calls_the_instance_that_was_ready() {
    let Ok(response) = layered(route(3), Strict::default()).oneshot(request()).await;
    assert_eq!(response.extensions().get::<Trail>().unwrap().sent(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_get_ready_was_sent_nothing() {
    let careful = route(2).fallback_on_ambiguous(false);
    let Ok(response) = layered(careful, Strict { polls: 0, fails: true }).oneshot(request()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let trail = response.extensions().get::<Trail>().unwrap();
    assert_eq!(trail.attempts().len(), 2, "the other one was tried");
    assert!(!trail.attempts().iter().any(|attempt| attempt.outcome.is_ambiguous()));
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_while_a_service_gets_ready() {
    let (router, mut handle) = mock::spawn_layer::<Request<ReplayBody>, Response<TestBody>, _>(
        RouteLayer::new(Routes::from_iter([route(2)])).classify(AssumeBroken),
    );
    handle.allow(0);
    let Ok(response) = router.into_inner().oneshot(request()).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let trail = response.extensions().get::<Trail>().unwrap();
    assert_eq!(trail.attempts().len(), 1);
    assert_eq!(trail.attempts()[0].elapsed.as_secs(), 90);
    assert!(!trail.attempts()[0].outcome.is_ambiguous(), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn candidates_are_called_one_after_the_other() {
    let (mut router, mut handle) =
        mock::spawn_layer::<Request<ReplayBody>, Response<TestBody>, _>(RouteLayer::new(Routes::from_iter([route(2)])));
    handle.allow(1);
    // The router is always ready: which service has to be is known later.
    assert_ready!(router.poll_ready()).unwrap();
    let mut future = task::spawn(router.call(request()));
    assert_pending!(future.poll());
    let (first, respond) = handle.next_request().await.unwrap();
    assert_eq!(&*first.extensions().get::<Candidate>().unwrap().provider, "0");
    assert_pending!(future.poll());
    respond.send_error("reset");
    assert!(future.is_woken());
    assert_pending!(future.poll(), "the second one's service is not ready");
    handle.allow(1);
    assert!(future.is_woken());
    assert_pending!(future.poll());
    let (second, respond) = handle.next_request().await.unwrap();
    assert_eq!(&*second.extensions().get::<Candidate>().unwrap().provider, "1");
    respond.send_response(Response::new(TestBody::default()));
    assert_eq!(assert_ready!(future.poll()).unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_drops_the_attempt_and_starts_no_other() {
    let (under_way, calls) = (Arc::new(()), Arc::new(Mutex::new(Vec::new())));
    let (alive, log) = (Arc::clone(&under_way), Arc::clone(&calls));
    let providers = service_fn(move |request: Request<ReplayBody>| {
        let provider = Arc::clone(&request.extensions().get::<Candidate>().unwrap().provider);
        log.lock().unwrap().push(provider.to_string());
        let (act, alive) = (if &*provider == "0" { Act::Answer(500) } else { Act::Hang }, Arc::clone(&alive));
        async move {
            let answer = act.run().await;
            drop(alive);
            answer
        }
    });
    let mut router = layered(route(3), providers);
    let mut future = task::spawn(router.call(request()));
    drop(router);
    assert_pending!(future.poll());
    // The test's, the service's, and that of the attempt.
    assert_eq!(Arc::strong_count(&under_way), 3);
    drop(future);
    assert_eq!(Arc::strong_count(&under_way), 1);
    assert_eq!(*calls.lock().unwrap(), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_refused_answer_is_held() {
    let alive: [_; 3] = std::array::from_fn(|_| Arc::new(()));
    let theirs = alive.clone();
    let providers = service_fn(move |request: Request<ReplayBody>| {
        let index: usize = request.extensions().get::<Candidate>().unwrap().provider.parse().unwrap();
        let body = theirs.get(index).map(|alive| TestBody { alive: Some(Arc::clone(alive)), ..TestBody::default() });
        async move {
            match body {
                Some(body) => Ok(Response::builder().status(503).body(body).unwrap()),
                None => std::future::pending().await,
            }
        }
    });
    let held = || alive.each_ref().map(|alive| Arc::strong_count(alive) - 2);
    let mut future = task::spawn(layered(route(4), providers).oneshot(request()));
    // One count each is the test's own, one the service's.
    assert_pending!(future.poll());
    assert_eq!(held(), [0, 0, 1]);
    tokio::time::advance(Duration::from_secs(91)).await;
    let Ok(response) = assert_ready!(future.poll());
    drop(future);
    assert_eq!(&*response.extensions().get::<Trail>().unwrap().answered().unwrap().provider, "2");
    drop(response);
    assert!(alive.iter().all(|alive| Arc::strong_count(alive) == 1));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not polled after it is ready")]
async fn polling_on_sends_nothing_again() {
    let calls = Arc::new(Mutex::new(0));
    let log = Arc::clone(&calls);
    let providers = service_fn(move |_: Request<ReplayBody>| {
        *log.lock().unwrap() += 1;
        Act::Fail(Failure { kind: FailureKind::Broken, ambiguous: true }).run()
    });
    let mut router = layered(route(2).max_attempts(1), providers);
    let mut future = task::spawn(router.call(request()));
    assert!(future.poll().is_ready());
    assert_eq!(*calls.lock().unwrap(), 1);
    let _ = future.poll();
}

#[test]
fn the_service_and_its_future_can_go_anywhere() {
    fn service<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn future<T: Send>(_: T) {}
    let mut router = layered(route(1), Strict::default());
    service(&router);
    service(&RouteLayer::new(Arc::new(Routes::default())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _guard = runtime.enter();
    future(router.call(request()));
}
