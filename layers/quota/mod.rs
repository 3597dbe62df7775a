//! Quotas: what a backend still grants, fetched when a decision needs it and remembered for a while.
//!
//! A [`QuotaSource`] knows how to ask, a [`QuotaCache`] keeps the answers of all backends, and [`QuotaLayer`] puts the
//! [`QuotaHandle`] of one backend on each request. Nothing is fetched until something below reads the handle. When a 429
//! or a 402 comes back, or an answer marked [`RateLimited`](crate::ext::RateLimited), the entry is emptied, so that the
//! next decision asks anew. Where providers say in the headers of each answer what is left,
//! [`watch`](QuotaCache::watch) takes it from there, and nothing is fetched.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use pointsman_layers::quota::{QuotaCache, QuotaError, QuotaHandle, QuotaLayer};
//! use serde_json::json;
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let quotas = QuotaCache::default();
//! // Any closure that returns a future is a source; `HttpQuota` is one that is described by data.
//! let handle = quotas.insert("PollinationsAI", async || Ok::<_, QuotaError>(json!({"balance": 12.5})));
//!
//! let provider = service_fn(async |request: Request<String>| {
//!     let quota = request.extensions().get::<QuotaHandle>().unwrap().read().await;
//!     let status = if quota.value().unwrap()["balance"].as_f64() > Some(0.0) { 200 } else { 402 };
//!     Ok::<_, Infallible>(Response::builder().status(status).body(String::new()).unwrap())
//! });
//! let service = QuotaLayer::new(handle).layer(provider);
//! assert_eq!(service.oneshot(Request::new(String::new())).await.unwrap().status(), 200);
//!
//! quotas.invalidate("PollinationsAI"); // the next decision fetches
//! # }
//! ```
//!
//! # Placement
//!
//! One for each backend, outside whatever reads the quota, and outside a retry of 429s, which marks the answers it
//! recovered from.
//!
//! # Cost
//!
//! One allocation, for the extension on the request. Reading a fresh quota takes no lock and does not allocate. A fetch
//! runs in a task of its own; however many wait for it, there is one at a time for each backend. Watched headers take a
//! look-up each in every answer, and a few allocations where they are there; without any, answers are not looked at.
//!
//! # Cancellation
//!
//! Dropping the future drops what is below it. A fetch goes on without its readers: its answer serves the next.

mod cache;
mod entry;
mod future;
mod handle;
mod headers;
mod http_source;
mod layer;
mod reading;
mod service;
mod source;

pub use self::{
    cache::QuotaCache,
    entry::{QuotaOptions, Refresh},
    future::QuotaFuture,
    handle::{HeaderReading, QuotaHandle, QuotaRead},
    http_source::HttpQuota,
    layer::QuotaLayer,
    reading::{Freshness, QuotaReading},
    service::Quota,
    source::{QuotaError, QuotaFetch, QuotaSource},
};

#[cfg(test)]
mod tests;
