#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use super::*;
use crate::{
    body::{AnswerBody, ErrorAnswer},
    error_count::{ErrorCountHandle, ErrorWindow},
    ext::{Candidate, GateClosed},
    quota::{QuotaCache, QuotaError, QuotaHandle, QuotaLayer},
};

type Answer = Response<AnswerBody<String>>;

/// A handle whose fetch takes a second.
fn slow_quota(fetched: Result<Value, &'static str>) -> QuotaHandle {
    QuotaCache::default().insert("test", move || {
        let fetched = fetched.clone().map_err(QuotaError::new);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            fetched
        }
    })
}

/// A handle that no test may read.
fn unread_quota() -> QuotaHandle {
    QuotaCache::default().insert("test", || async { panic!("the quota was read") })
}

fn errors(count: u64) -> ErrorCountHandle {
    let window = Arc::new(ErrorWindow::default());
    (0..count).for_each(|_| window.record());
    ErrorCountHandle::new(window)
}

fn request() -> Request<String> {
    Request::new("question".to_owned())
}

fn with<T: Clone + Send + Sync + 'static>(mut request: Request<String>, extension: T) -> Request<String> {
    request.extensions_mut().insert(extension);
    request
}

fn layer(condition: &str) -> ConditionLayer {
    ConditionLayer::new(condition.parse().unwrap())
}

async fn answer(layer: ConditionLayer, request: Request<String>) -> Answer {
    let echo = service_fn(async |request: Request<String>| Ok::<_, Infallible>(Response::new(request.into_body())));
    layer.layer(echo).oneshot(request).await.unwrap()
}

fn reason(answer: &Answer) -> Option<&str> {
    let closed = answer.extensions().get::<GateClosed>().map(|closed| &*closed.reason);
    assert_eq!(answer.status().as_u16(), if closed.is_some() { 503 } else { 200 });
    closed
}

#[tokio::test]
async fn an_open_gate_passes_request_and_response_through() {
    let answer = answer(layer("error_count < 3"), with(request(), errors(2))).await;
    assert_eq!(reason(&answer), None);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "question");
}

#[tokio::test]
async fn a_closed_gate_says_what_it_saw() {
    let never = service_fn(async |_: Request<String>| -> Result<Response<String>, Infallible> { panic!("called") });
    let gate = layer("balance > 0 or error_count < 3").layer(never);
    let request = with(with(request(), errors(5)), slow_quota(Ok(json!({"balance": 0.0}))));
    let answer = gate.oneshot(request).await.unwrap();
    assert_eq!(reason(&answer), Some("closed: balance > 0 or error_count < 3 (balance = 0, error_count = 5)"));
    assert_eq!(answer.extensions().get::<ErrorAnswer>().unwrap().code(), "gate_closed");
    let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(
        body["error"]["message"],
        "the provider was not asked; closed: balance > 0 or error_count < 3 (balance = 0, error_count = 5)"
    );
}

#[tokio::test]
async fn a_value_of_the_wrong_type_closes_the_gate() {
    let answer = answer(layer("quota.plan > 0"), with(request(), slow_quota(Ok(json!({"plan": "pro"}))))).await;
    assert_eq!(reason(&answer), Some("quota.plan is a string, not a number"));
}

#[tokio::test]
async fn without_the_layers_around_it_there_are_no_errors_and_no_quota() {
    assert_eq!(reason(&answer(layer("error_count == 0"), request()).await), None);
    assert_eq!(reason(&answer(layer("balance > 0"), request()).await), Some("closed: balance > 0 (balance = 0)"));
}

#[tokio::test]
async fn a_quota_that_does_not_matter_is_not_read() {
    let unread = |condition| answer(layer(condition), with(request(), unread_quota()));
    assert_eq!(reason(&unread("error_count < 3 or balance > 0").await), None);
    let closed = unread("error_count > 3 and balance > 0").await;
    assert_eq!(reason(&closed), Some("closed: error_count > 3 and balance > 0 (error_count = 0)"));
    assert_eq!(reason(&unread("").await), None);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_known_is_not_waited_for() {
    let quota = slow_quota(Ok(json!({"balance": 5})));
    let start = tokio::time::Instant::now();
    assert_eq!(reason(&answer(layer("balance > 0"), with(request(), quota.clone())).await), None);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    let answer = answer(layer("balance > 5"), with(request(), quota)).await;
    assert_eq!(reason(&answer), Some("closed: balance > 5 (balance = 5)"));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_an_unknown_quota_is_for_the_policy_to_say() {
    let failed = || with(request(), slow_quota(Err("no answer for 5 s")));
    for (condition, policy, expected) in [
        ("balance > 0", OnUnknown::Zero, Some("closed: balance > 0 (balance = 0)")),
        ("quota.used < 90", OnUnknown::Zero, None),
        ("quota.used < 90", OnUnknown::Skip, Some("quota unknown: no answer for 5 s")),
        ("balance > 0", OnUnknown::Allow, None),
        ("balance > 0 or error_count > 0", OnUnknown::Allow, None),
        // False whatever the quota.
        (
            "balance > 0 and error_count > 0",
            OnUnknown::Allow,
            Some("closed: balance > 0 and error_count > 0 (balance = 0)"),
        ),
        // Nothing about the quota was to be known.
        ("error_count == 0 or balance > 0", OnUnknown::Skip, None),
        ("error_count > 0", OnUnknown::Allow, Some("closed: error_count > 0 (error_count = 0)")),
    ] {
        let answer = answer(layer(condition).on_unknown(policy), failed()).await;
        assert_eq!(reason(&answer), expected, "{condition} {policy:?}");
    }
    let none = answer(layer("balance > 0").on_unknown(OnUnknown::Skip), request()).await;
    assert_eq!(reason(&none), Some("quota unknown: the provider has no quota source"));
}

/// A handle that watches two headers, one of which an answer has said; whoever fetches from it fails the test.
async fn watched_quota(left: Option<u64>) -> QuotaHandle {
    let quotas = QuotaCache::default();
    quotas.insert("test", || async { panic!("the quota was fetched") });
    let handle = quotas.watch("test", ["x-left", "x-never"].map(http::HeaderName::from_static));
    let provider = service_fn(|_: Request<()>| {
        let answer = left.into_iter().fold(Response::builder(), |answer, left| answer.header("x-left", left));
        std::future::ready(answer.body(()))
    });
    QuotaLayer::new(handle.clone()).layer(provider).oneshot(Request::new(())).await.unwrap();
    handle
}

#[tokio::test(start_paused = true)]
async fn what_headers_say_is_read_without_a_fetch() {
    let few = "closed: quota.headers.x-left > 5 (quota.headers.x-left = 3)";
    for (condition, left, policy, expected) in [
        ("quota.headers.x-left > 5", Some(9), OnUnknown::Zero, None),
        ("quota.headers.x-left > 5", Some(3), OnUnknown::Zero, Some(few)),
        ("quota.headers.x-left > 5", Some(3), OnUnknown::Allow, Some(few)),
        ("quota.headers[\"x-left\"] > 5", Some(3), OnUnknown::Skip, Some(few)),
        ("quota.headers.X-Left == 3", Some(3), OnUnknown::Skip, None),
        // What was watched and not in the answer is missing, so it is 0.
        ("quota.headers.x-never == 0", Some(9), OnUnknown::Skip, None),
        ("quota.headers.x-left > 5 or balance > 0", Some(9), OnUnknown::Zero, None),
        ("quota.headers.x-left < 5 or balance > 0", Some(3), OnUnknown::Zero, None),
        ("quota.headers > 5", Some(9), OnUnknown::Allow, Some("quota.headers is an object, not a number")),
        (
            "quota.headers.x-left.y > 5",
            Some(9),
            OnUnknown::Allow,
            Some("quota.headers.x-left is a number, not an object"),
        ),
        // No answer has said anything.
        (
            "quota.headers.x-left > 5",
            None,
            OnUnknown::Zero,
            Some("closed: quota.headers.x-left > 5 (quota.headers.x-left = 0)"),
        ),
        ("quota.headers.x-left > 5", None, OnUnknown::Skip, Some("quota unknown: no answer has said it lately")),
        ("quota.headers.x-left > 5", None, OnUnknown::Allow, None),
        ("quota.headers.x-left > 5 and balance > 0", None, OnUnknown::Allow, None),
        // False whatever the headers would say.
        (
            "quota.headers.x-left > 5 and error_count > 0",
            None,
            OnUnknown::Allow,
            Some("closed: quota.headers.x-left > 5 and error_count > 0 (quota.headers.x-left = 0)"),
        ),
    ] {
        let answer = answer(layer(condition).on_unknown(policy), with(request(), watched_quota(left).await)).await;
        assert_eq!(reason(&answer), expected, "{condition} {left:?} {policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_and_a_fetched_quota_are_one() {
    let quotas = QuotaCache::default();
    quotas.insert("test", async || Ok::<_, QuotaError>(json!({ "balance": 1, "headers": { "x-left": 99 } })));
    let ask = |condition: &str| answer(layer(condition), with(request(), quotas.handle("test").unwrap()));
    // Where none are watched, it is a field as any other.
    assert_eq!(reason(&ask("quota.headers.x-left == 99").await), None);
    quotas.watch("test", [http::HeaderName::from_static("x-left")]);
    assert_eq!(
        reason(&ask("balance > 0 and quota.headers.x-left > 0").await),
        Some("closed: balance > 0 and quota.headers.x-left > 0 (balance = 1, quota.headers.x-left = 0)")
    );
}

#[tokio::test(start_paused = true)]
async fn the_candidate_brings_its_own_condition() {
    let ask = |candidate: Candidate| {
        let request = with(with(request(), candidate), slow_quota(Err("no answer")));
        answer(ConditionLayer::from_candidate(), request)
    };
    let mut candidate = Candidate::new("groq", "llama");
    assert_eq!(reason(&ask(candidate.clone()).await), None);
    candidate.condition = Some(Arc::new("quota.used < 90".parse().unwrap()));
    assert_eq!(reason(&ask(candidate.clone()).await), None);
    candidate.on_unknown = OnUnknown::Skip;
    assert_eq!(reason(&ask(candidate).await), Some("quota unknown: no answer"));
    assert_eq!(reason(&answer(ConditionLayer::from_candidate(), request()).await), None);
}

#[tokio::test(start_paused = true)]
async fn the_instance_that_was_polled_ready_is_called_after_the_wait() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    // One permit: a clone, which has none, could not be called.
    handle.allow(1);
    let mut gate = layer("balance > 0").layer(mock);
    gate.ready().await.unwrap();
    let mut call = task::spawn(gate.call(with(request(), slow_quota(Ok(json!({"balance": 1}))))));
    assert_pending!(call.poll());
    assert!(task::spawn(handle.next_request()).poll().is_pending(), "called before the quota was known");
    // The clock is paused: this lets the fetch, a task of its own, come to its end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_pending!(call.poll());
    let (asked, reply) = handle.next_request().await.unwrap();
    assert_eq!(asked.body(), "question");
    reply.send_response(Response::new("answer".to_owned()));
    let answer = assert_ready_ok!(call.poll());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "answer");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_quota_is_fetched_calls_nothing() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    let mut gate = layer("balance > 0").layer(mock);
    gate.ready().await.unwrap();
    let mut call = task::spawn(gate.call(with(request(), slow_quota(Ok(json!({"balance": 1}))))));
    assert_pending!(call.poll());
    drop(call);
    drop(gate);
    assert!(handle.next_request().await.is_none());
}

/// The route gives up then; this is the last that it hears of the gate.
#[tokio::test(start_paused = true)]
async fn a_gate_is_closed_when_the_time_is_over_before_the_quota_is_there() {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(500);
    let candidate = Candidate { deadline: Some(deadline.into_std()), ..Candidate::new("a", "m") };
    let request = with(with(request(), slow_quota(Ok(json!({ "balance": 1 })))), candidate);
    let nothing = service_fn(async |_: Request<String>| -> Result<Response<String>, Infallible> { panic!("called") });
    let mut asked = task::spawn(layer("balance > 0").layer(nothing).oneshot(request));
    assert_pending!(asked.poll());
    tokio::time::advance(Duration::from_millis(499)).await;
    assert_pending!(asked.poll());
    tokio::time::advance(Duration::from_millis(1)).await;
    let answer = assert_ready_ok!(asked.poll());
    assert_eq!(reason(&answer), Some("quota unknown: it did not come within the time for the whole request"));
}

#[tokio::test]
async fn a_closed_gate_gives_back_the_place_in_a_limit_below() {
    let echo = service_fn(async |request: Request<String>| Ok::<_, Infallible>(Response::new(request.into_body())));
    let (limited, held) = counted(echo);
    let mut gate = layer("error_count > 0").layer(limited);
    gate.ready().await.unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    let answer = gate.call(request()).await.unwrap();
    assert!(reason(&answer).is_some());
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn the_inner_service_says_when_it_is_ready_and_what_its_errors_are() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    handle.allow(0);
    let mut gate = task::spawn(layer("0").layer(mock));
    // Closed as it is, it waits for the inner service.
    assert_pending!(gate.enter(|cx, mut gate| gate.poll_ready(cx)));
    handle.allow(1);
    assert_ready_ok!(gate.enter(|cx, mut gate| gate.poll_ready(cx)));
    handle.send_error("broken");
    let failed = gate.enter(|cx, mut gate| gate.poll_ready(cx));
    assert!(matches!(failed, std::task::Poll::Ready(Err(error)) if error.to_string() == "broken"));
}

/// A service that holds a share of the count from when it is ready until it is called; its clones hold none.
fn counted<S>(inner: S) -> (Counted<S>, Arc<()>) {
    let held = Arc::new(());
    (Counted { inner, place: None, places: Arc::downgrade(&held) }, held)
}

struct Counted<S> {
    inner: S,
    place: Option<Arc<()>>,
    places: std::sync::Weak<()>,
}

impl<S: Clone> Clone for Counted<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), place: None, places: self.places.clone() }
    }
}

impl<S: tower::Service<Request<String>>> tower::Service<Request<String>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.place = self.places.upgrade();
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<String>) -> S::Future {
        self.place.take().expect("polled ready before it is called");
        self.inner.call(request)
    }
}

#[test]
fn the_gate_travels_between_threads() {
    fn is_shareable<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn is_send<T: Send>(_: T) {}
    let (mock, _handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    let mut gate = layer("balance > 0").layer(mock);
    is_shareable(&layer("1"));
    is_shareable(&gate);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { gate.ready().await.map(|_| ()).unwrap() });
    is_send(gate.call(with(request(), unread_quota())));
}

proptest! {
    /// The gate agrees with the condition, whatever it has to wait for.
    #[test]
    fn the_gate_is_open_when_the_condition_holds(
        condition in prop::sample::select(vec![
            "balance > 0", "balance > 0 or error_count < 3", "error_count < 3 or balance > 0", "not quota.used",
            "error_count < 2 and (balance or quota.used > 5)",
        ]),
        quota in prop::sample::select(vec![json!({}), json!({"balance": 1, "used": 9}), json!({"used": "x"})]),
        error_count in 0..5_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let request = with(with(request(), errors(error_count)), slow_quota(Ok(quota.clone())));
        let answer = runtime.block_on(answer(layer(condition), request));
        let holds = condition.parse::<Condition>().unwrap().evaluate(&quota, error_count) == Ok(true);
        prop_assert_eq!(reason(&answer).is_none(), holds);
    }
}
