//! Tower layers for language-model gateways.
//!
//! Each layer works on plain [`http::Request`] and [`http::Response`] with streaming bodies, knows nothing of
//! configuration files or vendors, and is useful alone. The `pointsman` crate stacks them into a gateway; this crate is
//! for stacking them yourself.
//!
//! | layer | feature | what it decides |
//! |---|---|---|
//! | [`body::CollectLayer`] | `body` | reads the request body once, so that everything below may replay it |
//! | [`route::RouteLayer`] | `route` | which candidates a model name leads to, and which of them answers |
//! | [`error_count::ErrorCountLayer`] | `error-count` | counts failures in a rolling window, to the end of the body |
//! | [`quota::QuotaLayer`] | `quota` | hands out a lazy, cached quota; a 429 from below empties it |
//! | [`condition::ConditionLayer`] | `condition` | lets a request pass only while an expression holds |
//! | [`rate_limit_retry::RateLimitRetryLayer`] | `rate-limit-retry` | holds a request that met a rate limit, and sends it once more |
//! | [`oauth::OAuthLayer`] | `oauth` | puts the credential in; after a 401 renews it and asks once more |
//! | [`first_event::FirstEventLayer`] | `first-event` | turns a failure inside a `200` into the status it means |
//! | [`retry_budget`] | `retry-budget` | bounds what all of these send more than once |
//!
//! The table reads as a request travels, from the outside in; the contracts between the layers are the typed
//! extensions in [`ext`].

#[cfg(feature = "body")]
#[macro_use]
mod accessors;
pub mod ext;

#[cfg(feature = "body")]
pub mod body;
#[cfg(feature = "condition")]
pub mod condition;
#[cfg(feature = "error-count")]
pub mod error_count;
#[cfg(feature = "first-event")]
pub mod first_event;
#[cfg(feature = "oauth")]
pub mod oauth;
#[cfg(feature = "quota")]
pub mod quota;
#[cfg(feature = "rate-limit-retry")]
pub mod rate_limit_retry;
#[cfg(feature = "retry-budget")]
pub mod retry_budget;
#[cfg(feature = "route")]
pub mod route;

#[cfg(any(feature = "oauth", feature = "rate-limit-retry", feature = "route"))]
mod kept;
#[cfg(any(feature = "quota", feature = "rate-limit-retry"))]
mod when;
