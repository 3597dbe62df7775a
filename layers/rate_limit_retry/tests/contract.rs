use tokio_test::{assert_pending, assert_ready, task};
use tower::service_fn;

use super::*;
use crate::rate_limit_retry::{RateLimitRetry, RateLimitRetryFuture};

/// Panics if it is called without having been polled ready, as a service may.
#[derive(Default)]
struct Strict {
    ready: bool,
    upstream: Upstream,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, upstream: self.upstream.clone() }
    }
}

impl Service<Request<ReplayBody>> for Strict {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = <Upstream as Service<Request<ReplayBody>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "not polled ready");
        self.upstream.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_goes_to_an_instance_that_was_polled_ready() {
    let upstream = Upstream::new([limited("5")]);
    let backoff = Backoff::new();
    let layer = RateLimitRetryLayer::new(Policy::default(), backoff.clone());
    let mut service = layer.layer(Strict { ready: false, upstream: upstream.clone() });
    for expected in [2, 3] {
        assert_eq!(service.ready().await.unwrap().call(request()).await.unwrap().status(), 200);
        assert_eq!(upstream.calls(), expected);
    }
    backoff.record(seconds(1));
    assert_eq!(service.ready().await.unwrap().call(request()).await.unwrap().status(), 200);
    assert_eq!(upstream.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_held_answer_is_dropped_before_the_wait() {
    let held = limited("5");
    let alive = Arc::downgrade(&held.body().alive);
    let upstream = Upstream::new([held]);
    let mut future = task::spawn(layer().layer(upstream.clone()).oneshot(request()));
    assert_pending!(future.poll());
    assert_eq!((alive.strong_count(), upstream.calls()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_drops_the_call_below() {
    let alive = Arc::new(());
    let inner = {
        let alive = Arc::clone(&alive);
        service_fn(move |_: Request<ReplayBody>| {
            let alive = Arc::clone(&alive);
            async move {
                let _alive = alive;
                std::future::pending::<Result<Response<Script>, Infallible>>().await
            }
        })
    };
    let service = layer().layer(inner);
    let mut future = task::spawn(service.oneshot(request()));
    let before = Arc::strong_count(&alive);
    assert_pending!(future.poll());
    assert_eq!(Arc::strong_count(&alive), before + 1);
    drop(future);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_body_drops_the_body_below() {
    let mut streaming = ok();
    *streaming.body_mut() = vec![data("one"), Step::Stall].into();
    let alive = Arc::downgrade(&streaming.body().alive);
    let response = send(&layer(), &Upstream::new([streaming]), request()).await;
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    assert_eq!(alive.strong_count(), 1);
    drop(body);
    assert_eq!(alive.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_inner_service_pass_through() {
    // Not ready, then failing on the first try, then on the second.
    let (service, mut handle) = tower_test::mock::pair::<Request<ReplayBody>, Response<Script>>();
    let service = layer().layer(service);
    handle.allow(3);
    let mut first = task::spawn(service.clone().oneshot(request()));
    assert_pending!(first.poll());
    handle.next_request().await.unwrap().1.send_error("refused");
    assert_eq!(assert_ready!(first.poll()).unwrap_err().to_string(), "refused");

    let mut second = task::spawn(service.oneshot(request()));
    assert_pending!(second.poll());
    handle.next_request().await.unwrap().1.send_response(limited("1"));
    assert_pending!(second.poll());
    tokio::time::sleep(seconds(1)).await;
    assert_pending!(second.poll());
    handle.next_request().await.unwrap().1.send_error("reset");
    assert_eq!(assert_ready!(second.poll()).unwrap_err().to_string(), "reset");
}

#[test]
fn everything_can_be_sent_shared_and_cloned() {
    fn is<T: Send + Sync>() {}
    fn is_clone<T: Send + Sync + Clone + 'static>() {}
    is_clone::<RateLimitRetryLayer>();
    is_clone::<RateLimitRetry<Strict>>();
    is_clone::<Backoff>();
    is_clone::<Policy>();
    is::<PeekedBody<Script>>();
    fn is_send<T: Send>() {}
    is_send::<RateLimitRetryFuture<Strict, ReplayBody, Script>>();
}

#[test]
fn a_service_gives_its_inner_one_back() {
    let mut service = layer().layer(Strict::default());
    service.get_mut().ready = true;
    assert!(service.get_ref().ready);
    assert!(service.into_inner().ready);
}
