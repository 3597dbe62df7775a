//! One budget for all that is sent more than once, whichever layer sends it.
//!
//! A retry, a replay with a new credential and a fallback to another provider each make sense for one request. When
//! everything fails, all of them together multiply the load just where there is too much of it. A [`RetryBudget`] bounds
//! the multiple: each request pays a [`ratio`](RetryBudget::ratio) in, time a [`floor`](RetryBudget::floor), and each
//! call after a request's first takes one out. A call that finds nothing left is answered with 503 and the code
//! `retry_budget_exhausted`, marked with [`GateClosed`](crate::ext::GateClosed).
//!
//! Two layers work together: [`CountRequestsLayer`] around everything that may repeat a request, [`LimitRetriesLayer`]
//! inside of it. What stands in between need not know of either. What does, and has an answer that it could hand up
//! instead, pays beforehand with [`Retries`](crate::ext::Retries); the rate-limit retry and OAuth layers do.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//!
//! use http::{Request, Response};
//! use pointsman_layers::{
//!     body::ReplayBody,
//!     rate_limit_retry::{Backoff, Policy, RateLimitRetryLayer},
//!     retry_budget::{CountRequestsLayer, LimitRetriesLayer, RetryBudget},
//! };
//! use tower::{ServiceBuilder, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let overloaded = service_fn(async |_: Request<ReplayBody>| {
//!     let answer = Response::builder().status(429).header("retry-after", "1");
//!     Ok::<_, Infallible>(answer.body(ReplayBody::default()).unwrap())
//! });
//! // One retry at once, and from then on one for each ten requests.
//! let budget = RetryBudget::new().burst(1).ratio(0.1).floor(0);
//! let service = ServiceBuilder::new()
//!     .layer(CountRequestsLayer::new(budget))
//!     .layer(RateLimitRetryLayer::new(Policy::default(), Backoff::new()))
//!     .layer(LimitRetriesLayer::new())
//!     .service(overloaded);
//!
//! for (seconds, why) in [(1, "held, and asked for once more"), (0, "there is nothing left for that")] {
//!     let start = tokio::time::Instant::now();
//!     let response = service.clone().oneshot(Request::new(ReplayBody::default())).await.unwrap();
//!     assert_eq!((response.status().as_u16(), start.elapsed().as_secs()), (429, seconds), "{why}");
//!     tokio::time::sleep(Duration::from_secs(60)).await;
//! }
//! # }
//! ```
//!
//! # Placement
//!
//! [`CountRequestsLayer`] around the route, where each request of a client passes once. [`LimitRetriesLayer`] next to the
//! wire, where each call of a provider passes. Without the first, the second lets everything pass.
//!
//! # Cost
//!
//! For each request one allocation, and three changes of atomic numbers that all requests share; for each call one of a
//! flag of the request's own. No lock, and no body is touched.
//!
//! # Cancellation
//!
//! Dropping the future drops the call. What was taken out stays out, whether it was sent or only about to be.

mod budget;
mod future;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use self::{
    budget::RetryBudget,
    future::LimitRetriesFuture,
    layer::{CountRequestsLayer, LimitRetriesLayer},
    service::{CountRequests, LimitRetries},
};
