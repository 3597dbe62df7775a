use tokio::task::JoinSet;

use super::*;
use crate::body::ErrorAnswer;

fn with(policy: Policy, backoff: &Backoff) -> RateLimitRetryLayer {
    RateLimitRetryLayer::new(policy, backoff.clone())
}

/// Sends requests numbered in their path, one after the other, to be waited for together.
fn send_all(layer: &RateLimitRetryLayer, upstream: &Upstream, count: usize) -> JoinSet<Answered> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let service = layer.layer(upstream.clone());
        let request = Request::get(format!("/{number}")).body(ReplayBody::default()).unwrap();
        tasks.spawn(async move { service.oneshot(request).await.unwrap() });
    }
    tasks
}

/// The numbers of the requests in the order they came.
fn numbers(upstream: &Upstream) -> Vec<usize> {
    upstream.sent().iter().map(|request| request.uri().path()[1..].parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_second_request_waits_for_the_backoff_and_is_sent_once() {
    let backoff = Backoff::new();
    backoff.record(seconds(3));
    let (start, upstream) = (Instant::now(), Upstream::default());
    let response = send(&with(Policy::default(), &backoff), &upstream, request()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(upstream.sent_at(start), [3_000]);
    assert_eq!(backoff.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_held_request_does_not_wait_for_what_it_recorded() {
    let backoff = Backoff::new();
    let (start, upstream) = (Instant::now(), Upstream::new([limited("30")]));
    let tasks = send_all(&with(Policy::default(), &backoff), &upstream, 1);
    assert_eq!(tasks.join_all().await[0].status(), 200);
    assert_eq!(upstream.sent_at(start), [0, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_are_spread_in_order_and_none_is_lost() {
    let backoff = Backoff::new();
    backoff.record(seconds(10));
    let (start, upstream) = (Instant::now(), Upstream::default());
    let tasks = send_all(&with(Policy::default(), &backoff), &upstream, 1000);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(backoff.waiters(), 1000);
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(numbers(&upstream), (0..1000).collect::<Vec<_>>());
    let times = upstream.sent_at(start);
    assert!(times.is_sorted_by(|a, b| a < b), "no two at once: {times:?}");
    assert!(times[0] >= 10_000 && times[999] < 13_500, "{} to {}", times[0], times[999]);
    assert_eq!(backoff.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_that_meet_the_limit_together_are_spread_too() {
    let backoff = Backoff::new();
    let (start, upstream) = (Instant::now(), Upstream::new((0..100).map(|_| limited("5"))).latency(seconds(1)));
    let answers = send_all(&with(Policy::default(), &backoff), &upstream, 100).join_all().await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let times = upstream.sent_at(start);
    assert_eq!(times[..100], [0; 100]);
    assert_eq!(times[100], 6_000);
    assert!(times[100..].is_sorted_by(|a, b| a < b));
    assert_eq!(numbers(&upstream)[100..], (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_waiter_too_many_is_answered_at_once() {
    let backoff = Backoff::new();
    backoff.record(Duration::from_millis(3_200));
    let layer = with(Policy::default().max_waiters(2), &backoff);
    let (start, upstream) = (Instant::now(), Upstream::default());
    let tasks = send_all(&layer, &upstream, 2);
    tokio::task::yield_now().await;
    let response = send(&layer, &upstream, request()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"4".parse().unwrap()));
    assert_eq!(response.extensions().get::<ErrorAnswer>().unwrap().code(), "rate_limited");
    assert!(tasks.join_all().await.iter().all(|answer| answer.status() == 200));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_held_too_many_gets_the_providers_answer() {
    let layer = with(Policy::default().max_waiters(1), &Backoff::new());
    let upstream = Upstream::new([limited("5"), limited("7")]).latency(seconds(1));
    let answers = send_all(&layer, &upstream, 2).join_all().await;
    assert_eq!(answers[0].status(), 429);
    assert_eq!(answers[0].headers()["retry-after"], "7");
    assert_eq!(answers[1].status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_has_nothing_sent_and_frees_its_place() {
    for (answers, before) in [(vec![limited("5")], 1), (vec![], 0)] {
        let backoff = Backoff::new();
        if before == 0 {
            backoff.record(seconds(5));
        }
        let upstream = Upstream::new(answers);
        let tasks = send_all(&with(Policy::default(), &backoff), &upstream, 1);
        tokio::time::sleep(seconds(2)).await;
        assert_eq!((backoff.waiters(), upstream.calls()), (1, before));
        drop(tasks);
        tokio::time::sleep(seconds(60)).await;
        assert_eq!((backoff.waiters(), upstream.calls()), (0, before));
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_leave_take_no_one_with_them() {
    let backoff = Backoff::new();
    backoff.record(seconds(5));
    let upstream = Upstream::default();
    let layer = with(Policy::default(), &backoff);
    let leaving = send_all(&layer, &upstream, 50);
    let staying = send_all(&layer, &upstream, 50);
    tokio::time::sleep(seconds(1)).await;
    drop(leaving);
    assert_eq!(staying.join_all().await.len(), 50);
    assert_eq!(numbers(&upstream), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_goes_on_holds_the_rest_back() {
    let backoff = Backoff::new();
    backoff.record(seconds(3));
    // The first to try finds that it is not over, and finds so again after its own hold.
    let (start, upstream) = (Instant::now(), Upstream::new([limited("60"), limited("60")]));
    let answers = send_all(&with(Policy::default(), &backoff), &upstream, 20).join_all().await;
    assert!(answers.iter().all(|answer| answer.status() == 429));
    assert_eq!(upstream.sent_at(start), [3_000, 13_000], "nobody else was sent");
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_limit_went_on_waits_behind_the_others() {
    let backoff = Backoff::new();
    backoff.record(seconds(3));
    // The first to try meets another limit, to the others' cost.
    let (start, upstream) = (Instant::now(), Upstream::new([limited("5")]));
    let layer = with(Policy::default(), &backoff);
    let early = send_all(&layer, &upstream, 50);
    tokio::time::sleep(seconds(4)).await;
    let late = send_all(&layer, &upstream, 50);
    early.join_all().await;
    late.join_all().await;
    let times = upstream.sent_at(start);
    assert_eq!(times.len(), 101);
    assert!(times.is_sorted_by(|a, b| a < b), "no two at once: {times:?}");
    assert!(times[1] >= 8_000 && times[100] < 8_500, "{times:?}");
    // The one that is held has a time of its own.
    let order: Vec<_> = numbers(&upstream)[1..].iter().filter(|number| **number != 0).copied().collect();
    let expected: Vec<_> = (1..50).chain(1..50).collect();
    assert_eq!(order, expected);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_moved_a_little_leaves_the_order_as_it_was() {
    let backoff = Backoff::new();
    backoff.record(seconds(3));
    let (start, upstream) = (Instant::now(), Upstream::default());
    let tasks = send_all(&with(Policy::default(), &backoff), &upstream, 100);
    tokio::time::sleep(seconds(1)).await;
    backoff.record(Duration::from_millis(2_001));
    tasks.join_all().await;
    assert_eq!(numbers(&upstream), (0..100).collect::<Vec<_>>());
    assert_eq!(upstream.sent_at(start)[0], 3_001);
}
