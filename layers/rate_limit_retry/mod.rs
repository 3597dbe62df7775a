//! Rate limits: a request that meets one is held, sent once more, and makes the next ones wait too.
//!
//! [`RateLimitRetryLayer`] looks at each answer. If it is a rate limit that waiting heals, the layer waits for as long
//! as the answer asks, at most [`max_wait`](Policy::from_seconds), or for a random time if it does not say; then it
//! sends the request once more. Whatever comes back then goes up as it is. Until the limit is over, other requests to
//! the same backend wait as well, by a shared [`Backoff`]; where that would take longer than they may wait, they are
//! answered with 429 (`rate_limited`) and `Retry-After` at once, so that a route can go on to the next candidate.
//!
//! | answer | what it means |
//! |---|---|
//! | 429; 503 with a hint | held, and sent once more |
//! | 429, 403 or 402 whose body says that a quota is used up (see [`Exhausted`]) | goes up at once |
//! | any of these with `x-should-retry: false` | goes up at once |
//! | one that a layer below made (an [`ErrorAnswer`](crate::body::ErrorAnswer)) | goes up at once |
//! | any other | not this layer's business; a 2xx ends the backoff that was active when its request was sent |
//!
//! The first of these that can be read is the hint, and whatever is not a finite, non-negative time is passed over:
//!
//! 1. `retry-after-ms` and `x-ms-retry-after-ms`, in milliseconds;
//! 2. `retry-after`, in seconds or as a date, which is measured against the answer's own `Date`;
//! 3. Google's `RetryInfo` in the body;
//! 4. `anthropic-ratelimit-*-reset` of limits that are used up;
//! 5. `x-ratelimit-reset` beside `x-ratelimit-remaining: 0`;
//! 6. a sentence in the body: `try again in 20s`, `retry after 33 seconds`;
//! 7. `x-ratelimit-reset-*` beside `x-ratelimit-remaining-*: 0`, which also bounds 5 and 6: it tells when the bucket is
//!    *full*, so a request fits by then at the latest.
//!
//! An answer below which a 429 was seen carries [`RateLimited`](crate::ext::RateLimited), even if the retry worked. A
//! client's `Prefer: wait=N` bounds the waits of its request to `N` seconds. A hold that would outlast the
//! [`Candidate`](crate::ext::Candidate)'s deadline is not begun.
//!
//! ```
//! use std::{
//!     convert::Infallible,
//!     sync::atomic::{AtomicUsize, Ordering},
//! };
//!
//! use http::{Request, Response};
//! use pointsman_layers::{
//!     body::ReplayBody,
//!     ext::RateLimited,
//!     rate_limit_retry::{Backoff, Exhausted, Policy, RateLimitRetryLayer},
//! };
//! use tokio::time::{Duration, Instant};
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! static CALLS: AtomicUsize = AtomicUsize::new(0);
//! // Asks for five seconds, then echoes what it was sent.
//! let provider = service_fn(async |request: Request<ReplayBody>| {
//!     Ok::<_, Infallible>(match CALLS.fetch_add(1, Ordering::Relaxed) {
//!         0 => Response::builder().status(429).header("retry-after", "5").body(ReplayBody::default()).unwrap(),
//!         _ => Response::new(request.into_body()),
//!     })
//! });
//!
//! let service = RateLimitRetryLayer::new(Policy::default(), Backoff::new())
//!     .exhausted(Exhausted::OPENAI)
//!     .label("openai")
//!     .layer(provider);
//!
//! let started = Instant::now();
//! let response = service.oneshot(Request::new(ReplayBody::from("hello"))).await.unwrap();
//!
//! assert_eq!(response.status(), 200);
//! assert_eq!(started.elapsed().as_secs(), 5);
//! let limited = response.extensions().get::<RateLimited>().unwrap();
//! assert_eq!(limited.retry_after, Some(Duration::from_secs(5)));
//! # }
//! ```
//!
//! # Placement
//!
//! Inside whatever counts errors or keeps quotas, or a limit that healed would count as a failure; outside whatever puts
//! credentials in, so that the second try gets a fresh one. Below it belongs what turns an early error event of a stream
//! into a status ([`first_event`](crate::first_event)), so that such a request can be held too.
//!
//! # Cost
//!
//! Of a request that may be held, the head is copied into one piece of memory before it is sent, and the body cloned:
//! cheap for a [`ReplayBody`](crate::body::ReplayBody). Without a backoff that is all: one atomic read, no lock. Of an
//! answer with status 402, 403, 429 or 503, up to 64 KiB of the body are read for up to 2 s, and given back in front of the
//! rest if it goes up. A body with a content encoding is not decoded, so it says nothing.
//!
//! # Cancellation
//!
//! Dropping the future ends the wait at once and frees its place; nothing is sent for it any more. The body of an answer
//! that is held is dropped before the wait begins.

mod body;
mod exhausted;
mod future;
mod hint;
mod layer;
mod policy;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub use self::{
    body::PeekedBody,
    exhausted::Exhausted,
    future::RateLimitRetryFuture,
    layer::RateLimitRetryLayer,
    policy::{Policy, PolicyError, When},
    service::RateLimitRetry,
    state::Backoff,
};
