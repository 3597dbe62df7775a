use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    body::ErrorAnswer,
    ext::{Candidate, EarlyFailure, Failure, FailureKind, RateLimited},
    rate_limit_retry::{Exhausted, When},
};

fn mark(response: &Answered) -> Option<Option<Duration>> {
    response.extensions().get::<RateLimited>().map(|limited| limited.retry_after)
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_one_wait_and_one_retry() {
    for (retry_after, waited) in [("5", 5_000), ("999", 10_000), ("10", 10_000), ("0.25", 250), ("0", 0)] {
        let (start, upstream) = (Instant::now(), Upstream::new([limited(retry_after)]));
        let response = send(&layer(), &upstream, request()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(mark(&response), Some(Some(Duration::from_secs_f64(retry_after.parse().unwrap()))));
        assert_eq!(upstream.sent_at(start), [0, waited], "{retry_after}");
        assert_eq!(text(response).await, "fine");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_the_wait_is_drawn_once() {
    for (drawn, waited) in [(0.0, 3_000), (0.5, 6_500), (0.999_999, 9_999), (f64::NAN, 3_000), (7.0, 10_000)] {
        let draws = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&draws);
        let layer = layer().random(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            drawn
        });
        let (start, upstream) = (Instant::now(), Upstream::new([answer(429, &[("retry-after", "NaN")], "")]));
        let response = send(&layer, &upstream, request()).await;
        assert_eq!(mark(&response), Some(None));
        let sent_at = upstream.sent_at(start);
        // Timers round up to a millisecond.
        assert!(sent_at[0] == 0 && (waited..=waited + 1).contains(&sent_at[1]), "{drawn}: {sent_at:?}");
        assert_eq!(draws.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_random_wait_is_capped_too_and_a_cap_of_zero_retries_at_once() {
    for (max_wait, waited) in [(2.0, 2_000), (0.0, 0)] {
        let layer = RateLimitRetryLayer::new(Policy::from_seconds(max_wait, 3.0, 10.0).unwrap(), Backoff::new());
        let (start, upstream) = (Instant::now(), Upstream::new([answer(429, &[], "")]));
        assert_eq!(send(&layer, &upstream, request()).await.status(), 200);
        assert_eq!(upstream.sent_at(start), [0, waited]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_limit_is_surfaced_with_its_own_hint() {
    let second = answer(429, &[("retry-after", "42"), ("x-request-id", "2")], "again");
    let (start, upstream) = (Instant::now(), Upstream::new([limited("5"), second]));
    let layer = layer();
    let response = send(&layer, &upstream, request()).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "42");
    assert_eq!(response.headers()["x-request-id"], "2");
    assert!(response.extensions().get::<ErrorAnswer>().is_none(), "it is the provider's own");
    assert_eq!(mark(&response), Some(Some(seconds(42))));
    assert_eq!(text(response).await, "again");
    assert_eq!(upstream.sent_at(start), [0, 5_000]);
    // The next one need not find out for itself.
    let response = send(&layer, &upstream, request()).await;
    assert_eq!((response.status().as_u16(), upstream.calls()), (429, 2));
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_below_answers_is_no_limit_of_the_provider() {
    let mut unavailable = answer(503, &[("retry-after", "5")], "no token");
    let made_here = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "oauth_refresh_failed", "no token");
    unavailable.extensions_mut().insert(made_here);
    let (start, upstream, layer) = (Instant::now(), Upstream::new([unavailable]), layer());
    let response = send(&layer, &upstream, request()).await;
    assert_eq!((response.status().as_u16(), mark(&response)), (503, None));
    // Nor does it hold up the next request.
    assert_eq!(send(&layer, &upstream, request()).await.status(), 200);
    assert_eq!(upstream.sent_at(start), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_retry_meets_goes_up() {
    let (start, upstream) = (Instant::now(), Upstream::new([limited("5"), answer(500, &[], "oops")]));
    let response = send(&layer(), &upstream, request()).await;
    assert_eq!((response.status().as_u16(), mark(&response)), (500, Some(Some(seconds(5)))));
    assert_eq!(text(response).await, "oops");
    assert_eq!(upstream.sent_at(start), [0, 5_000]);
}

#[tokio::test(start_paused = true)]
async fn a_date_is_measured_by_the_clock_handed_in() {
    let clock = || std::time::UNIX_EPOCH + seconds(784_111_777);
    let (start, upstream) = (Instant::now(), Upstream::new([limited("Sun, 06 Nov 1994 08:49:41 GMT")]));
    assert_eq!(send(&layer().wall_clock(clock), &upstream, request()).await.status(), 200);
    assert_eq!(upstream.sent_at(start), [0, 4_000]);
}

#[tokio::test(start_paused = true)]
async fn what_no_wait_heals_is_sent_once() {
    let day = "You exceeded your current quota, please check your plan and billing details.";
    for (status, headers, body, marked) in [
        (200, &[("retry-after", "5")][..], "", false),
        (400, &[("retry-after", "5")], "bad request", false),
        (401, &[], "", false),
        (402, &[], "pay first", false),
        (402, &[], day, true),
        (403, &[("retry-after", "5")], "forbidden", false),
        (403, &[], day, true),
        (429, &[("retry-after", "5")], day, true),
        (429, &[("retry-after", "5"), ("x-should-retry", "false")], "", true),
        (500, &[("retry-after", "5")], "", false),
        (503, &[], "", false),
        (503, &[], day, false),
        (504, &[("retry-after", "5")], "", false),
    ] {
        let (start, upstream) = (Instant::now(), Upstream::new([answer(status, headers, body)]));
        let layer = layer().exhausted(Exhausted::OPENAI);
        let response = send(&layer, &upstream, request()).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(mark(&response).is_some(), marked, "{status} {headers:?} {body}");
        assert_eq!(text(response).await, body, "untouched");
        assert_eq!(upstream.sent_at(start), [0]);
        // Nor does it keep others away.
        assert_eq!(send(&layer, &upstream, request()).await.status(), 200);
        assert_eq!(upstream.sent_at(start), [0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_overload_with_a_hint_is_held_too() {
    let (start, upstream) = (Instant::now(), Upstream::new([answer(503, &[], "overloaded, try again in 2s")]));
    let response = send(&layer(), &upstream, request()).await;
    assert_eq!((response.status().as_u16(), mark(&response)), (200, None));
    assert_eq!(upstream.sent_at(start), [0, 2_000]);
}

#[tokio::test(start_paused = true)]
async fn the_same_words_are_a_limit_per_minute_elsewhere() {
    let (start, upstream) = (Instant::now(), Upstream::new([answer(429, &[], r#"{"code": "insufficient_quota"}"#)]));
    let response = send(&layer().exhausted(Exhausted::DASHSCOPE), &upstream, request()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(upstream.sent_at(start), [0, 6_500]);
}

#[tokio::test(start_paused = true)]
async fn the_retried_request_is_the_same() {
    #[derive(Clone, Debug, PartialEq)]
    struct Extension(u8);
    let request = Request::post("/v1/chat/completions")
        .header("x-trace", "7")
        .extension(Extension(7))
        .body(ReplayBody::from(r#"{"model":"m"}"#))
        .unwrap();
    let upstream = Upstream::new([limited("1")]);
    send(&layer(), &upstream, request).await;
    let sent = upstream.sent();
    assert_eq!(sent.len(), 2);
    for request in sent {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/chat/completions"));
        assert_eq!(request.headers()["x-trace"], "7");
        assert_eq!(request.extensions().get(), Some(&Extension(7)));
        assert_eq!(request.body().to_bytes(), r#"{"model":"m"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_began_with_a_throttle_is_held() {
    // As the first-event layer makes it of an error event inside a 200.
    let mut early =
        answer(429, &[("content-type", "application/json")], r#"{"error":{"code":"Throttling.RateQuota"}}"#);
    early.extensions_mut().insert(EarlyFailure(Failure { kind: FailureKind::ErrorEvent, ambiguous: false }));
    let (start, upstream) = (Instant::now(), Upstream::new([early]));
    let response = send(&layer().exhausted(Exhausted::DASHSCOPE), &upstream, request()).await;
    assert_eq!(response.status(), 200);
    assert!(response.extensions().get::<EarlyFailure>().is_none());
    assert_eq!(upstream.sent_at(start), [0, 6_500]);
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_the_backoff() {
    let upstream = Upstream::new([limited("999")]);
    let backoff = Backoff::new();
    let layer = RateLimitRetryLayer::new(Policy::default(), backoff.clone());
    let held = tokio::spawn({
        let (layer, upstream) = (layer.clone(), upstream.clone());
        async move { send(&layer, &upstream, request()).await }
    });
    tokio::time::sleep(seconds(9)).await;
    assert_eq!(backoff.remaining(), Some(seconds(990)), "the hint is not capped for the others");
    let refused = send(&layer, &upstream, request()).await;
    assert_eq!((refused.status().as_u16(), upstream.calls()), (429, 1));
    assert_eq!(refused.headers()["retry-after"], "990");
    assert_eq!(refused.extensions().get::<ErrorAnswer>().unwrap().code(), "rate_limited");
    assert_eq!(mark(&refused), Some(Some(seconds(990))));
    assert_eq!(held.await.unwrap().status(), 200);
    assert_eq!(backoff.remaining(), None);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_was_sent_before_the_limit_does_not_end_it() {
    let backoff = Backoff::new();
    let layer = RateLimitRetryLayer::new(Policy::default(), backoff.clone());
    let slow = Upstream::default().latency(seconds(2));
    let early = send(&layer, &slow, request());
    let late = async {
        tokio::time::sleep(seconds(1)).await;
        backoff.record(seconds(8));
    };
    assert_eq!(tokio::join!(early, late).0.status(), 200);
    assert_eq!(backoff.remaining(), Some(seconds(7)));
}

#[tokio::test(start_paused = true)]
async fn a_recorded_backoff_is_not_believed_past_an_hour() {
    let backoff = Backoff::new();
    let layer = RateLimitRetryLayer::new(Policy::default(), backoff.clone());
    let upstream = Upstream::new([limited("86400"), limited("86400")]);
    assert_eq!(send(&layer, &upstream, request()).await.headers()["retry-after"], "86400");
    assert_eq!(backoff.remaining(), Some(seconds(3600)));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_full_bucket_keeps_nobody_away_for_long() {
    let backoff = Backoff::new();
    let layer = RateLimitRetryLayer::new(Policy::default(), backoff.clone());
    let full = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")];
    let upstream = Upstream::new([answer(429, &full, ""), answer(429, &full, "")]);
    let response = send(&layer, &upstream, request()).await;
    assert_eq!(mark(&response), Some(Some(seconds(360))));
    assert_eq!(backoff.remaining(), None, "ten seconds were enough to ask again");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_bound_its_hold() {
    for (prefer, waited) in [
        ("wait=2", 2_000),
        ("respond-async, wait=2; foo", 2_000),
        ("Wait = \"2\"", 2_000),
        ("wait=60", 5_000),
        ("wait=0", 0),
        ("wait=soon", 5_000),
        ("waits=1", 5_000),
        ("wait", 5_000),
    ] {
        let (start, upstream) = (Instant::now(), Upstream::new([limited("5")]));
        let mut request = request();
        request.headers_mut().insert("prefer", prefer.parse().unwrap());
        assert_eq!(send(&layer(), &upstream, request).await.status(), 200);
        assert_eq!(upstream.sent_at(start), [0, waited], "{prefer}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_bound_holds_for_both_waits_together() {
    let backoff = Backoff::new();
    backoff.record(seconds(3));
    let layer = RateLimitRetryLayer::new(Policy::default(), backoff);
    let (start, upstream) = (Instant::now(), Upstream::new([limited("5")]));
    let mut request = request();
    request.headers_mut().insert("prefer", "wait=4".parse().unwrap());
    assert_eq!(send(&layer, &upstream, request).await.status(), 200);
    assert_eq!(upstream.sent_at(start), [3_000, 4_000]);
}

fn candidate(others_remain: bool, deadline: Option<Duration>) -> Request<ReplayBody> {
    let mut candidate = Candidate::new("qwen", "coder");
    candidate.others_remain = others_remain;
    candidate.deadline = deadline.map(|left| (Instant::now() + left).into_std());
    let mut request = request();
    request.extensions_mut().insert(candidate);
    request
}

#[tokio::test(start_paused = true)]
async fn with_others_left_only_a_policy_for_all_holds() {
    for (when, others_remain, status, sent) in [
        (When::LastCandidate, true, 429, &[0][..]),
        (When::LastCandidate, false, 200, &[0, 5_000]),
        (When::Always, true, 200, &[0, 5_000]),
    ] {
        let (start, upstream) = (Instant::now(), Upstream::new([limited("5")]));
        let layer = RateLimitRetryLayer::new(Policy::default().when(when), Backoff::new());
        let response = send(&layer, &upstream, candidate(others_remain, None)).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(upstream.sent_at(start), sent);
        if status == 429 {
            // While the limit lasts, whoever has another candidate is sent there at once; the last one waits.
            assert_eq!(send(&layer, &upstream, candidate(true, None)).await.headers()["retry-after"], "5");
            assert_eq!(send(&layer, &upstream, candidate(false, None)).await.status(), 200);
            assert_eq!(upstream.sent_at(start), [0, 5_000]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_would_outlast_the_request_is_not_begun() {
    for (left, status, sent) in [(5, 429, &[0][..]), (6, 200, &[0, 5_000])] {
        let (start, upstream) = (Instant::now(), Upstream::new([limited("5")]));
        let response = send(&layer(), &upstream, candidate(false, Some(seconds(left)))).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(upstream.sent_at(start), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_wait_for_the_backoff_is_answered_at_once() {
    let mut in_a_hurry = request();
    in_a_hurry.headers_mut().insert("prefer", "wait=2".parse().unwrap());
    let short_of_time = candidate(false, Some(seconds(3)));
    for request in [in_a_hurry, short_of_time] {
        let backoff = Backoff::new();
        backoff.record(seconds(3));
        let layer = RateLimitRetryLayer::new(Policy::default(), backoff).label("qwen");
        let (start, upstream) = (Instant::now(), Upstream::default());
        let response = send(&layer, &upstream, request).await;
        assert_eq!((response.status().as_u16(), mark(&response)), (429, Some(Some(seconds(3)))));
        assert_eq!(response.headers()["retry-after"], "3");
        assert!(text(response).await.contains("qwen rate limit is active; try again in 3.0s"));
        assert_eq!((start.elapsed(), upstream.calls()), (Duration::ZERO, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_off_only_marks() {
    let backoff = Backoff::new();
    backoff.record(seconds(60));
    let layer = RateLimitRetryLayer::new(Policy::default().enabled(false), backoff.clone());
    let (start, upstream) = (Instant::now(), Upstream::new([limited("500")]));
    let response = send(&layer, &upstream, request()).await;
    assert_eq!((response.status().as_u16(), mark(&response)), (429, Some(Some(seconds(500)))));
    assert_eq!(upstream.sent_at(start), [0]);
    assert_eq!(backoff.remaining(), Some(seconds(60)));
}
