//! Reads from an answer when to come back.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use serde_json::Value;

use crate::when::{date, decimal, duration, leading_span, reset, since, span};

/// How long to wait before the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) wait: Duration,
    /// False for a wait that is only known to be long enough.
    pub(super) exact: bool,
}

/// Whether the provider leaves it to the client to try again: anything but `x-should-retry: false`.
pub(super) fn allows_retry(headers: &HeaderMap) -> bool {
    texts(headers, "x-should-retry").next().is_none_or(|text| !text.eq_ignore_ascii_case("false"))
}

/// The hint of an answer, from its headers or from its body, whose text is given in lower case.
///
/// `now` stands in for a `Date` that the answer does not have.
pub(super) fn read(headers: &HeaderMap, text: &str, now: SystemTime) -> Option<Hint> {
    let now = texts(headers, "date").find_map(date).unwrap_or(now);
    let exact = |wait| Hint { wait, exact: true };
    let told = milliseconds(headers)
        .or_else(|| retry_after(headers, now))
        .or_else(|| retry_info(text))
        .or_else(|| anthropic_reset(headers, now));
    if let Some(wait) = told {
        return Some(exact(wait));
    }
    let told = epoch_reset(headers, now).or_else(|| sentence(text));
    match (full_again(headers, now), told) {
        (Some(bound), told) if told.is_none_or(|wait| wait > bound) => Some(Hint { wait: bound, exact: false }),
        (_, told) => told.map(exact),
    }
}

fn milliseconds(headers: &HeaderMap) -> Option<Duration> {
    ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .flat_map(|name| texts(headers, name))
        .find_map(|text| Some(duration(decimal(text)? / 1e3)))
}

/// RFC 9110, section 10.2.3, and the decimals that some providers send.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    texts(headers, header::RETRY_AFTER.as_str())
        .find_map(|text| decimal(text).map(duration).or_else(|| Some(since(date(text)?, now))))
}

/// Google's `google.rpc.RetryInfo`, in an error or in a list of them.
fn retry_info(text: &str) -> Option<Duration> {
    if !text.contains("retryinfo") {
        return None;
    }
    let json: Value = serde_json::from_str(text).ok()?;
    let errors = json.as_array().map_or(std::slice::from_ref(&json), Vec::as_slice);
    errors
        .iter()
        .filter_map(|error| error.pointer("/error/details")?.as_array())
        .flatten()
        .filter(|detail| detail["@type"].as_str().is_some_and(|name| name.ends_with("retryinfo")))
        .find_map(|detail| span(detail["retrydelay"].as_str()?))
}

/// The latest reset among Anthropic's limits that may be the one in the way.
fn anthropic_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    const PREFIX: &str = "anthropic-ratelimit-";
    headers
        .iter()
        .filter_map(|(name, value)| {
            let family = name.as_str().strip_prefix(PREFIX)?.strip_suffix("-reset")?;
            let in_the_way = if family.starts_with("unified") {
                texts(headers, &format!("{PREFIX}{family}-status")).any(|status| status == "rejected")
            } else {
                remaining(headers, &format!("{PREFIX}{family}-remaining")).is_none_or(|left| left == 0.0)
            };
            if in_the_way { reset(value.to_str().ok()?.trim(), now) } else { None }
        })
        .max()
}

/// When the last of the emptied buckets is full again. A single request may fit much sooner.
fn full_again(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let family = name.as_str().strip_prefix("x-ratelimit-reset-")?;
            let empty = remaining(headers, &format!("x-ratelimit-remaining-{family}")) == Some(0.0);
            if empty { reset(value.to_str().ok()?.trim(), now) } else { None }
        })
        .max()
}

/// GitHub's `x-ratelimit-reset`, a point in time.
fn epoch_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if remaining(headers, "x-ratelimit-remaining") != Some(0.0) {
        return None;
    }
    texts(headers, "x-ratelimit-reset").find_map(|text| reset(text, now))
}

/// What a message says to people: `Please try again in 1m30.5s.`
fn sentence(text: &str) -> Option<Duration> {
    ["try again in ", "try again after ", "retry in ", "retry after "]
        .into_iter()
        .flat_map(|phrase| text.match_indices(phrase))
        .find_map(|(at, phrase)| Some(leading_span(&text[at + phrase.len()..])?.0))
}

/// A header's values that are text.
fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).map(str::trim)
}

fn remaining(headers: &HeaderMap, name: &str) -> Option<f64> {
    texts(headers, name).find_map(decimal)
}
