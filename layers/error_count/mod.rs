//! Error counting: what comes back from below is judged, to the end of the body, and counted in a rolling window.
//!
//! [`ErrorCountLayer`] puts an [`ErrorCountHandle`] on the request, so that a condition below can read how often the
//! backend has failed of late, and records in an [`ErrorWindow`] what then comes of the request, at most once:
//!
//! | what came back | counts |
//! |---|---|
//! | an error of the inner service | yes |
//! | a status of [`FailureStatuses`]: 401, 402, 403, 404, 408, 409, 425, 429, 5xx | yes |
//! | an answer with [`EarlyFailure`](crate::ext::EarlyFailure) | yes |
//! | a 2xx whose body breaks | yes, when it breaks |
//! | a [`GateClosed`](crate::ext::GateClosed) answer: the backend was not asked | no |
//! | any other status | no |
//! | nothing, because the future was dropped | only if the [deadline](crate::ext::Candidate::deadline) had passed |
//!
//! A success takes nothing back: errors leave the window by their age alone, or by [`reset`](ErrorWindow::reset).
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use pointsman_layers::{
//!     body::ReplayBody,
//!     error_count::{ErrorCountLayer, ErrorCounts},
//! };
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let overloaded = service_fn(async |_: Request<ReplayBody>| {
//!     Ok::<_, Infallible>(Response::builder().status(503).body(ReplayBody::default()).unwrap())
//! });
//!
//! let errors = ErrorCounts::default();
//! let service = ErrorCountLayer::new(errors.window("OpenaiAccount")).layer(overloaded);
//! service.oneshot(Request::new(ReplayBody::default())).await.unwrap();
//!
//! assert_eq!(errors.count("OpenaiAccount"), 1);
//! # }
//! ```
//!
//! # Placement
//!
//! One for each backend, outside whatever retries a request at the same backend, so that a failure which a retry
//! recovers from does not count; and outside the condition that reads the count.
//!
//! # Cost
//!
//! One allocation, for the extension on the request. Reading a count takes no lock and does not allocate; recording an
//! error takes a short lock. Bodies are passed on frame by frame.
//!
//! # Cancellation
//!
//! Dropping the future or the body drops what is below it. A client that leaves is nobody's error, so neither counts,
//! unless it was the route that gave up on a backend, at the deadline of the request.
//!
//! [`FailureStatuses`]: crate::ext::FailureStatuses

mod counts;
mod future;
mod layer;
mod service;
mod state;
mod window;

pub use self::{
    counts::ErrorCounts,
    future::ErrorCountFuture,
    layer::ErrorCountLayer,
    service::ErrorCount,
    state::{ErrorCountHandle, ErrorReport},
    window::ErrorWindow,
};

#[cfg(test)]
mod tests;
