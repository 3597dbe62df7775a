//! Lets a request pass only while an expression over the provider's quota and its error count holds.
//!
//! [`ConditionLayer`] evaluates a [`Condition`] before each call, either one of its own or the one that the request's
//! [`Candidate`](crate::ext::Candidate) brings. It reads the [`QuotaHandle`](crate::quota::QuotaHandle) and the
//! [`ErrorCountHandle`](crate::error_count::ErrorCountHandle) that the layers around it put on the request. The quota is
//! asked for only when the evaluation comes to a part that names it. A closed gate does not call the inner service: it
//! answers 503 with the code `gate_closed`, and marks the answer with [`GateClosed`](crate::ext::GateClosed).
//!
//! ```
//! use std::{convert::Infallible, sync::Arc};
//!
//! use http::{Request, Response};
//! use pointsman_layers::{
//!     condition::ConditionLayer,
//!     ext::{Candidate, GateClosed},
//! };
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let provider = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new("hello".to_owned())));
//! let gate = ConditionLayer::from_candidate().layer(provider);
//!
//! let request_to = |candidate: Candidate| {
//!     let mut request = Request::new(String::new());
//!     request.extensions_mut().insert(candidate);
//!     request
//! };
//! let mut candidate = Candidate::new("groq", "llama-3.3-70b");
//!
//! // There is neither a quota nor an error-count layer around the gate: no errors, and no quota needed.
//! candidate.condition = Some(Arc::new("error_count < 3 or balance > 0".parse()?));
//! let open = gate.clone().oneshot(request_to(candidate.clone())).await?;
//! assert_eq!(open.status(), 200);
//!
//! candidate.condition = Some(Arc::new("balance > 0".parse()?));
//! let closed = gate.oneshot(request_to(candidate)).await?;
//! assert_eq!(closed.status(), 503);
//! let mark = closed.extensions().get::<GateClosed>().unwrap();
//! assert_eq!(&*mark.reason, "closed: balance > 0 (balance = 0)");
//! # Ok(())
//! # }
//! ```
//!
//! # The language
//!
//! ```text
//! expr  = or ;  or = and { "or" and } ;  and = not { "and" not } ;  not = "not" not | group | test
//! group = "(" or ")"
//! test  = value [ op value ]       op: > < >= <= == !=
//! value = number | path            number: -?digits[.digits]
//! path  = name { "." name | "[" index "]" | "[" quoted key "]" }
//! ```
//!
//! - Variables: `error_count`; the fields of the quota, as in `quota.credits.remaining`; `balance`, which is
//!   `quota.balance`. `get_quota.balance` is an old spelling of it.
//! - `quota.headers.x-ratelimit-remaining-requests` is a header of the provider's answers, if the
//!   [`QuotaCache`](crate::quota::QuotaCache::watch) watches it. Nothing is fetched for it. Before an answer has said it, or
//!   when the time for which it was said is over, it is unknown.
//! - A key that is no plain name stands in brackets, `quota.models["gpt-4.1"]`, in double quotes as JSON writes it or in
//!   single quotes as it is. `quota.buckets[0]` is the first element of a list.
//! - Values are `f64`. A missing field or a null is 0, a boolean 0 or 1, a string that is exactly a JSON number that
//!   number. Any other value is an [`EvalError`], which closes the gate for this request.
//! - A test without a comparison is true when its value is not 0. A blank condition is always true.
//! - `not` binds closest, then `and`, then `or`; evaluation goes from left to right and stops when the outcome is certain.
//!   So write the part without the quota first where either would do, and the quota is fetched less often.
//! - An expression is at most 64 KiB long and its groups at most 1024 deep.
//!
//! # Placement
//!
//! Inside the quota and the error-count layer, whose handles it reads; outside everything that costs something to call.
//! [`OnUnknown`] says what becomes of a quota that could not be had.
//!
//! # Cost
//!
//! An open gate that did not wait allocates nothing and does not clone the inner service. One that waits for a quota
//! clones it and allocates once. The reason of a closed gate is put together when it closes. No body is touched.
//!
//! # Cancellation
//!
//! Dropping the future while it waits for the quota drops the request; the inner service is never called. Whether the
//! fetch goes on is for the quota to say: it may be shared.
//!
//! A gate that still waits for the quota at the request's [deadline](crate::ext::Candidate::deadline) is closed: the
//! provider was not asked, and is not to blame.

mod future;
mod language;
mod layer;
mod policy;
mod service;

#[cfg(test)]
mod tests;

pub use self::{
    future::ConditionFuture,
    language::{Condition, EvalError, Explanation, ParseError, Part, PartOutcome, QuotaPath, Seen, Segment},
    layer::ConditionLayer,
    policy::OnUnknown,
    service::ConditionGate,
};
