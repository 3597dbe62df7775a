//! Waits for the first event of a stream, so that a failure inside a `200` becomes the status it means.
//!
//! Providers say "throttled" or "overloaded" as the first event of a stream whose status was a success; others end or
//! break the stream before they said anything. This layer holds a successful response until its first event is there
//! (for other content: its first byte). If that is an error, a plain answer with the matching status takes the
//! response's place. So whatever stands above judges by the status alone, and the moment the response is handed up is
//! the moment after which nothing can be tried again.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, header};
//! use http_body_util::BodyExt as _;
//! use pointsman_layers::{ext::EarlyFailure, first_event::FirstEventLayer};
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let provider = service_fn(async |_: Request<()>| {
//!     let body = "data: {\"error\": {\"message\": \"Overloaded\"}}\n\n".to_owned();
//!     let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
//!     Ok::<_, Infallible>(response.body(http_body_util::Full::from(body)).unwrap())
//! });
//! let service = FirstEventLayer::new().layer(provider);
//!
//! let response = service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(response.status(), 503);
//! assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
//! assert!(response.extensions().get::<EarlyFailure>().is_some());
//! let body = response.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(body, "{\"error\": {\"message\": \"Overloaded\"}}");
//! # }
//! ```
//!
//! What becomes of a response:
//!
//! | response | handed up |
//! |---|---|
//! | not 2xx; 204 or 205; to a `HEAD` request; for a candidate that [commits at the head](crate::ext::Commit::Headers) | at once, as it is |
//! | `text/event-stream` without a `Content-Encoding` | with its first event; comments before it are held too |
//! | other 2xx | with its first byte |
//! | the first event is an error | as the status it means, the error's JSON as the body |
//! | it ends before that | as 502, `upstream_empty_stream` or `upstream_empty_answer` |
//! | it breaks before that | as 502 `upstream_stream_broken`, or 504 `upstream_timeout` if the error is classified as one |
//!
//! An answer that was made here keeps the headers and extensions of the provider's response, but for those that
//! describe its body, and carries [`EarlyFailure`](crate::ext::EarlyFailure).
//!
//! An event is an error if its type is `error`, or if its data is a JSON object in one of the shapes that providers
//! use: an `error` that is a string or an object, without choices; the `type` `error` or `response.failed`; or a `code`
//! and a `message` by themselves. The status is the number from 400 to 599 in it; else what its words mean (`rate
//! limit` 429, `overloaded` 503, ...); else 502.
//!
//! # Placement
//!
//! Next to the client that talks to the provider, below everything that retries, counts or chooses by status.
//! Decompression, if there is any, goes below it: the events of a compressed stream cannot be seen.
//!
//! The error of the inner service passes through. The body below must be `Unpin`, as hyper's is; box it otherwise.
//!
//! # Cost
//!
//! No time is added to the first token: the client could not have seen one before the first event, and the event is
//! handed up in the same poll in which its last byte came. Comments that a provider sends as heartbeats before it are
//! delayed.
//!
//! Frames are held as they came, and the rest of the body is not looked at. If the first event lies in the first
//! frame, as it mostly does, nothing is copied, and nothing allocated unless the word "error" or the like is in it, so
//! that it has to be read as JSON. Else the frames go into a queue, and the event's bytes are copied once to be read. Up to [`hold_limit`](FirstEventLayer::hold_limit) is held, frame handles included, plus the
//! frame that exceeds it; beyond that the response is handed up with no event seen.
//!
//! # Cancellation
//!
//! Dropping the future drops the call or the body below; so does dropping the response body. When an answer takes the
//! place of the provider's, the body below is dropped before the answer is handed up.

mod awaited;
mod body;
mod early;
mod error_event;
mod future;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use self::{body::FirstEventBody, future::FirstEventFuture, layer::FirstEventLayer, service::FirstEvent};
