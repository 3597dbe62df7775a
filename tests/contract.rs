//! Every layer keeps the same contract: a table of layer x law, and a test for each cell.

mod support;

use std::convert::Infallible;

use http::{HeaderValue, Request, header};
use pointsman_layers::{
    body::{CollectLayer, ReplayBody},
    condition::{Condition, ConditionLayer},
    error_count::{ErrorCountLayer, ErrorCounts},
    ext::{Candidate, Commit},
    first_event::FirstEventLayer,
    oauth::{OAuthLayer, StaticToken},
    quota::{QuotaCache, QuotaError, QuotaHandle, QuotaLayer},
    rate_limit_retry::{Backoff, Policy, RateLimitRetryLayer},
    retry_budget::{CountRequestsLayer, LimitRetriesLayer, RetryBudget},
    route::{Route, RouteLayer, Routes, Target},
};
use serde_json::json;
use support::contract::{Errors, Row, chat};
use tower::util::MapErrLayer;

/// One row a layer. The laws are in `support/contract/laws.rs`.
macro_rules! contract {
    ($($layer:ident: $row:expr;)+) => {
        $(contract! { @row $layer, $row =>
            calls_the_instance_that_was_polled_ready
            dropped_before_it_is_polled_it_did_nothing
            a_dropped_future_drops_the_inner_future
            a_dropped_body_drops_the_inner_body
            it_can_be_shared_and_sent_between_threads
            an_answer_passes_through_unchanged
            an_inner_error_passes_through_unchanged
            a_request_keeps_its_headers_and_extensions
        })+
    };
    (@row $layer:ident, $row:expr => $($law:ident)+) => {
        mod $layer {
            use super::*;

            $(#[tokio::test]
            async fn $law() {
                support::contract::$law($row).await;
            })+
        }
    };
}

contract! {
    collect: Row::new(CollectLayer::new(1024));
    error_count: Row::new(ErrorCountLayer::new(ErrorCounts::default().window("a")));
    quota: Row::new(QuotaLayer::new(quota()));
    condition: Row::new(ConditionLayer::new(condition("error_count < 3")));
    condition_that_waits_for_a_quota: Row::new(ConditionLayer::new(condition("balance > 0"))).request(with_quota);
    rate_limit_retry: Row::new(RateLimitRetryLayer::new(Policy::default(), Backoff::new()));
    // What it adds is there already, so that whatever else differs is seen.
    oauth: Row::new(OAuthLayer::new(StaticToken::new("token"))).request(with_the_token);
    oauth_without_a_login: Row::new(OAuthLayer::<StaticToken>::optional(None));
    retry_budget: Row::new((
        CountRequestsLayer::new(RetryBudget::new().burst(0).ratio(0.0).floor(0)),
        LimitRetriesLayer::new(),
    ));
    first_event: Row::new(FirstEventLayer::new());
    first_event_that_commits_at_the_head: Row::new(FirstEventLayer::new()).request(that_commits_at_the_head);
    // The route always answers, so it has no error of its own.
    route: Row::new((MapErrLayer::new(|error: Infallible| match error {}), RouteLayer::new(route()))).errors(Errors::Answer);
}

fn quota() -> QuotaHandle {
    QuotaCache::default().insert("a", async || Ok::<_, QuotaError>(json!({ "balance": 1 })))
}

fn condition(text: &str) -> Condition {
    text.parse().expect("a condition")
}

/// A request with a quota that nobody has fetched yet.
fn with_quota() -> Request<ReplayBody> {
    let mut request = chat();
    request.extensions_mut().insert(quota());
    request
}

fn with_the_token() -> Request<ReplayBody> {
    let mut request = chat();
    request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"));
    request
}

fn that_commits_at_the_head() -> Request<ReplayBody> {
    let mut candidate = Candidate::new("a", "some-model");
    candidate.commit = Commit::Headers;
    let mut request = chat();
    request.extensions_mut().insert(candidate);
    request
}

fn route() -> Routes {
    [Route::new("some-model").candidate(Target::new("a", "some-model"))].into_iter().collect()
}

/// A law that nothing can break says nothing: each is broken here by a layer that is written for it.
mod broken {
    use http::Response;
    use http_body_util::BodyExt as _;
    use support::contract::{self as laws, Probe, ProbeBody, ProbeError};
    use tower::{
        ServiceExt as _,
        layer::layer_fn,
        service_fn,
        util::{MapRequestLayer, MapResponseLayer},
    };
    use tower_service::Service as _;

    use super::*;

    #[tokio::test]
    #[should_panic(expected = "called an instance that was not polled ready")]
    async fn a_layer_that_calls_a_clone() {
        let layer = layer_fn(|probe: Probe| service_fn(move |request| probe.clone().call(request)));
        laws::calls_the_instance_that_was_polled_ready(Row::new(layer)).await;
    }

    /// Spawns the inner call, and leaves it to itself.
    fn spawning() -> impl tower_layer::Layer<Probe, Service: laws::Subject> {
        layer_fn(|probe: Probe| {
            service_fn(move |request: Request<ReplayBody>| {
                let task = tokio::spawn(probe.clone().oneshot(request));
                async { task.await.expect("the probe does not panic") }
            })
        })
    }

    #[tokio::test]
    #[should_panic(expected = "work was done for a future that was never polled")]
    async fn a_layer_that_works_before_it_is_polled() {
        laws::dropped_before_it_is_polled_it_did_nothing(Row::new(spawning())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the inner future outlived the future")]
    async fn a_layer_that_does_not_cancel() {
        laws::a_dropped_future_drops_the_inner_future(Row::new(spawning())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the inner body outlived the body")]
    async fn a_layer_that_keeps_the_body() {
        let leak = |response: Response<ProbeBody>| response.map(|body| Box::leak(Box::new(body)));
        laws::a_dropped_body_drops_the_inner_body(Row::new(MapResponseLayer::new(leak))).await;
    }

    #[tokio::test]
    #[should_panic(expected = "size_hint and is_end_stream differ")]
    async fn a_layer_that_forgets_the_length_of_a_body() {
        let wrap = |response: Response<ProbeBody>| response.map(|body| body.map_frame(|frame| frame));
        laws::an_answer_passes_through_unchanged(Row::new(MapResponseLayer::new(wrap))).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the inner error is not what came out")]
    async fn a_layer_with_errors_of_its_own() {
        let layer = MapErrLayer::new(|_: ProbeError| ProbeError(0));
        laws::an_inner_error_passes_through_unchanged(Row::new(layer)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the request lost an extension")]
    async fn a_layer_that_rebuilds_the_request() {
        let rebuild = |request: Request<ReplayBody>| {
            let (parts, body) = request.into_parts();
            let mut rebuilt = Request::new(body);
            *rebuilt.method_mut() = parts.method;
            *rebuilt.uri_mut() = parts.uri;
            *rebuilt.headers_mut() = parts.headers;
            rebuilt
        };
        laws::a_request_keeps_its_headers_and_extensions(Row::new(MapRequestLayer::new(rebuild))).await;
    }
}
