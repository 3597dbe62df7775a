//! Routing: a model name leads to candidates, and the first that works answers.
//!
//! [`RouteLayer`] asks a [`Resolve`]r where a request is to go, then tries the candidates of that [`Route`] in order.
//! Each attempt is a call of the inner service with a [`Candidate`](crate::ext::Candidate) on the request and, if the
//! candidate has another name for the model, that name spliced into the body, JSON or a form by its `Content-Type`;
//! [parameters](Target::parameter) that the candidate sets are put into JSON as well. Every other byte is the client's. A
//! `Content-Length` is set to the new length. What a candidate answers is judged as in the table:
//!
//! | what came back | next candidate? |
//! |---|---|
//! | an error of the inner service, or an [`EarlyFailure`](crate::ext::EarlyFailure) | yes, unless it is ambiguous and the route says [not to](Route::fallback_on_ambiguous) |
//! | a status of [`FailureStatuses`](crate::ext::FailureStatuses): 401, 402, 403, 404, 408, 409, 425, 429, 5xx | yes |
//! | any other status | no: the answer goes up |
//! | a [`GateClosed`](crate::ext::GateClosed) | yes, and it does not count as an attempt |
//!
//! The moment the inner service returns an answer that goes up is the commit point: nothing is repeated after it. A
//! stream that breaks later ends with one error event; the layer never appends one provider's output to another's.
//!
//! When no candidate is left, the last provider's answer goes up as it came. Without one, the answer is the layer's own:
//!
//! | what happened | status | `code` |
//! |---|---|---|
//! | nobody was asked, all gates were closed | 503, with the shortest `Retry-After` of the gates | `no_eligible_provider` |
//! | the last attempt, or the time for the whole request, ran out | 504 | `upstream_timeout` |
//! | the last attempt failed otherwise | 502 | `upstream_unreachable` |
//!
//! The same 502 or 504 goes up when an ambiguous failure ends the attempts, even if there was an earlier answer: a 429
//! would invite the client to send again what may have been carried out. The message gives each candidate's reason, the
//! text of the inner service's errors included; it has to be fit for the client. A gate that stays closed for over 60 s,
//! or nobody knows for how long, adds `x-should-retry: false`, and the `Retry-After` is 60, since several clients ignore
//! a longer one and come back at once.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use pointsman_layers::{
//!     body::ReplayBody,
//!     ext::{Candidate, Trail},
//!     route::{Route, RouteLayer, Routes, Target},
//! };
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // Stands for the providers: the first is overloaded, the second echoes what it was sent.
//! let providers = service_fn(async |request: Request<ReplayBody>| {
//!     let candidate = request.extensions().get::<Candidate>().unwrap().clone();
//!     Ok::<_, Infallible>(match &*candidate.provider {
//!         "groq" => Response::builder().status(503).body(ReplayBody::default()).unwrap(),
//!         _ => Response::new(request.into_body()),
//!     })
//! });
//!
//! let routes: Routes = [Route::new("llama-fast")
//!     .candidate(Target::new("groq", "llama-3.3-70b"))
//!     .candidate(Target::new("deepinfra", "meta-llama/Llama-3.3-70B-Instruct"))]
//! .into_iter()
//! .collect();
//! let service = RouteLayer::new(routes).layer(providers);
//!
//! let request = Request::new(ReplayBody::from(r#"{"model": "llama-fast", "seed": 1e400}"#));
//! let response = service.oneshot(request).await.unwrap();
//!
//! assert_eq!(response.status(), 200);
//! let trail = response.extensions().get::<Trail>().unwrap();
//! assert_eq!(trail.sent(), 2);
//! assert_eq!(&*trail.answered().unwrap().provider, "deepinfra");
//! # use http_body_util::BodyExt as _;
//! let echoed = response.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(echoed, r#"{"model": "meta-llama/Llama-3.3-70B-Instruct", "seed": 1e400}"#);
//! # }
//! ```
//!
//! # Placement
//!
//! Inside [`CollectLayer`](crate::body::CollectLayer), which gives it a body that can be replayed, and around a service
//! that sends each request to the provider its candidate names. Whatever belongs to one provider (error counts, quotas,
//! conditions, retries, credentials) goes inside.
//!
//! # Cost
//!
//! One pass over the body to find `model`, a second one for a candidate that sets parameters, one hash look-up, and, for
//! a route of several candidates, one copy of the request's head in a single piece of memory. The body is never copied.
//! The extensions allocate: [`Candidate`](crate::ext::Candidate) for each attempt, [`Trail`](crate::ext::Trail) for each
//! request. The last answer that was one to move on from is held, with its connection, until a better one is there; never
//! more than one.
//!
//! # Cancellation
//!
//! Dropping the future drops the attempt under way; no other is started. Dropping the response body drops the
//! provider's.

mod body;
mod future;
mod layer;
mod model;
mod multipart;
mod object;
mod routes;
mod run;
pub(crate) mod scan;
mod service;
mod target;
#[cfg(test)]
mod tests;

pub use self::{
    body::RouteBody,
    future::RouteFuture,
    layer::RouteLayer,
    model::{ModelError, ModelField},
    routes::{Resolve, Resolved, Route, Routes, model_not_found},
    service::Router,
    target::Target,
};
