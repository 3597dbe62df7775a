use std::{convert::Infallible, future::ready};

use bytes::Bytes;
use criterion::Criterion;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use pointsman_layers::{
    body::{CollectLayer, ReplayBody},
    condition::{Condition, ConditionLayer},
    error_count::{ErrorCountLayer, ErrorCounts},
    first_event::FirstEventLayer,
    oauth::{OAuthLayer, StaticToken},
    quota::{QuotaCache, QuotaError, QuotaHandle, QuotaLayer},
    rate_limit_retry::{Backoff, Policy, RateLimitRetryLayer},
    route::{Route, RouteLayer, Routes, Target},
};
use serde_json::json;
use tower::{Layer as _, ServiceBuilder, service_fn};
use tower_service::Service;

use crate::{
    body::{chat, event},
    harness::{Frames, bench_service},
};

/// Needs both of its terms, and so the quota.
const CONDITION: &str = "balance > 0 and error_count < 3";

pub(crate) fn benches(criterion: &mut Criterion) {
    let body = chat(1024);
    let prepare = || {
        let mut request =
            Request::post("/v1/chat/completions").body(ReplayBody::from(body.clone())).expect("a request");
        for name in [header::ACCEPT, header::AUTHORIZATION, header::CONTENT_TYPE, header::HOST, header::USER_AGENT] {
            request.headers_mut().insert(name, HeaderValue::from_static("something"));
        }
        request.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        request
    };
    let errors = ErrorCounts::default();
    let quota = warm_quota();
    let condition: Condition = CONDITION.parse().expect("a condition");
    let route = Route::new("my-gpt4")
        .candidate(Target::new("provider", "gpt-4o").condition(condition.clone()))
        .candidate(Target::new("spare", "gpt-4o"));
    let route = RouteLayer::new(Routes::from_iter([route]));
    let hold = RateLimitRetryLayer::new(Policy::default(), Backoff::new());

    bench_service(criterion, "layer/none", provider(), prepare);
    bench_service(criterion, "layer/collect", CollectLayer::new(1 << 20).layer(provider()), prepare);
    bench_service(criterion, "layer/route", route.layer(provider()), prepare);
    bench_service(criterion, "layer/error count", ErrorCountLayer::new(errors.window("a")).layer(provider()), prepare);
    bench_service(criterion, "layer/quota", QuotaLayer::new(quota.clone()).layer(provider()), prepare);
    let gate = ConditionLayer::new("error_count < 3".parse().expect("a condition"));
    bench_service(criterion, "layer/condition", gate.layer(provider()), prepare);
    bench_service(criterion, "layer/rate limit retry", hold.layer(provider()), prepare);
    bench_service(criterion, "layer/oauth", OAuthLayer::new(StaticToken::new("token")).layer(provider()), prepare);
    bench_service(criterion, "layer/first event", FirstEventLayer::new().layer(provider()), prepare);
    bench_service(criterion, "layer/first event of a stream", FirstEventLayer::new().layer(streaming()), prepare);

    macro_rules! all_layers {
        ($provider:expr) => {
            ServiceBuilder::new()
                .layer(CollectLayer::new(1 << 20))
                .layer(route.clone())
                .layer(ErrorCountLayer::new(errors.window("a")))
                .layer(QuotaLayer::new(quota.clone()))
                .layer(ConditionLayer::from_candidate())
                .layer(hold.clone())
                .layer(OAuthLayer::new(StaticToken::new("token")))
                .layer(FirstEventLayer::new())
                .service($provider)
        };
    }
    bench_service(criterion, "all layers", all_layers!(provider()), prepare);
    bench_service(criterion, "all layers/a stream, without them", streaming(), prepare);
    bench_service(criterion, "all layers/a stream of 64 events", all_layers!(streaming()), prepare);
}

/// A quota that is known, as it is for five minutes after somebody asked.
fn warm_quota() -> QuotaHandle {
    let quota = QuotaCache::default().insert("provider", async || Ok::<_, QuotaError>(json!({"balance": 12.5})));
    let fetched = tokio::runtime::Builder::new_current_thread().enable_time().build().map(|runtime| {
        // Not the runtime that this runs in.
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(quota.read())).join().is_ok())
    });
    assert!(fetched.is_ok_and(|fetched| fetched) && quota.cached().is_some());
    quota
}

fn answer<B>(kind: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

type Answering<B> = Result<Response<B>, Infallible>;

/// Answers at once with 1 KiB.
fn provider()
-> impl Service<Request<ReplayBody>, Response = Response<ReplayBody>, Error = Infallible, Future: Send> + Clone {
    let body = chat(1024);
    service_fn(move |_| ready(Answering::Ok(answer("application/json", ReplayBody::from(body.clone())))))
}

/// Answers at once with a stream of 64 events.
fn streaming()
-> impl Service<Request<ReplayBody>, Response = Response<impl Body<Data = Bytes, Error = Infallible>>, Error = Infallible>
+ Clone {
    let events: Vec<Bytes> = (0..64).map(|number| event(number).into()).collect();
    service_fn(move |_| ready(Answering::Ok(answer("text/event-stream", Frames(events.clone().into_iter())))))
}
