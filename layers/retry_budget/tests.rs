use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;
use crate::{
    body::ReplayBody,
    ext::{GateClosed, Retries},
};

/// What becomes of each of so many calls for one request.
async fn calls(budget: &RetryBudget, times: usize) -> Vec<u16> {
    let provider = service_fn(async |_: Request<ReplayBody>| Ok::<_, Infallible>(Response::new(ReplayBody::default())));
    let limited = LimitRetriesLayer::new().layer(provider);
    let repeating = service_fn(move |request: Request<ReplayBody>| {
        let limited = limited.clone();
        async move {
            let mut statuses = Vec::new();
            for _ in 0..times {
                let response = limited.clone().oneshot(request.clone()).await?;
                let is_closed = response.extensions().get::<GateClosed>().is_some();
                assert_eq!(is_closed, response.status() == StatusCode::SERVICE_UNAVAILABLE);
                statuses.push(response.status().as_u16());
            }
            Ok::<_, Infallible>(statuses)
        }
    });
    CountRequestsLayer::new(budget.clone()).layer(repeating).oneshot(Request::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_call_is_free_and_others_are_paid() {
    let budget = RetryBudget::new().burst(2).ratio(0.0).floor(0);
    assert_eq!(calls(&budget, 4).await, [200, 200, 200, 503]);
    assert_eq!(calls(&budget, 2).await, [200, 503]);
    assert_eq!(calls(&budget, 1).await, [200]);
}

#[tokio::test(start_paused = true)]
async fn requests_pay_a_part_in() {
    let budget = RetryBudget::new().burst(1).ratio(0.25).floor(0);
    assert_eq!(calls(&budget, 2).await, [200, 200]);
    let mut paid = 0;
    for _ in 0..40 {
        paid += calls(&budget, 2).await.iter().filter(|status| **status == 200).count() - 1;
    }
    assert_eq!(paid, 10);
    // No more is saved up than the burst.
    for _ in 0..40 {
        calls(&budget, 1).await;
    }
    assert_eq!(calls(&budget, 3).await, [200, 200, 503]);
}

#[tokio::test(start_paused = true)]
async fn time_pays_the_floor_in() {
    let budget = RetryBudget::new().burst(5).ratio(0.0).floor(2);
    assert_eq!(calls(&budget, 7).await.last(), Some(&503));
    tokio::time::advance(Duration::from_millis(499)).await;
    assert_eq!(calls(&budget, 2).await, [200, 503]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(calls(&budget, 3).await, [200, 200, 503]);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(calls(&budget, 7).await, [200, 200, 200, 200, 200, 200, 503]);
}

#[tokio::test(start_paused = true)]
async fn odd_settings_are_bounded() {
    for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert_eq!(calls(&RetryBudget::new().burst(0).ratio(odd).floor(0), 2).await, [200, 503]);
    }
    assert_eq!(calls(&RetryBudget::new().ratio(f64::INFINITY).floor(u32::MAX).burst(u32::MAX), 3).await, [200; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_paid_beforehand_is_paid_once() {
    let budget = RetryBudget::new().burst(2).ratio(0.0).floor(0);
    let retries = service_fn(async |request: Request<ReplayBody>| {
        Ok::<_, Infallible>(request.extensions().get::<Retries>().cloned())
    });
    let retries = CountRequestsLayer::new(budget).layer(retries).oneshot(Request::default()).await.unwrap().unwrap();
    assert!(retries.send());
    assert!(retries.reserve() && retries.send());
    assert!(retries.reserve());
    assert!(!retries.reserve(), "both are gone");
    assert!(retries.send(), "the one that was set aside");
    assert!(!retries.send());
}

#[tokio::test]
async fn a_request_that_nobody_counted_passes() {
    let provider = service_fn(async |_: Request<ReplayBody>| Ok::<_, Infallible>(Response::new(ReplayBody::default())));
    let limited = LimitRetriesLayer::new().layer(provider);
    for _ in 0..3 {
        assert_eq!(limited.clone().oneshot(Request::default()).await.unwrap().status(), 200);
    }
}
