//! Reads from an answer when to come back.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use serde_json::Value;

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
    let now = texts(headers, "date").find_map(http_date).unwrap_or(now);
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
        .find_map(|text| decimal(text).map(duration).or_else(|| Some(since(http_date(text)?, now))))
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

/// A reset in any form in use: a span, a number of seconds from now, or a point in time as RFC 3339, as seconds or as
/// milliseconds of the Unix epoch.
fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    let epoch = |seconds| SystemTime::UNIX_EPOCH.checked_add(duration(seconds));
    match decimal(text) {
        // No limit lasts for three years, and the epoch is longer ago than that.
        Some(number) if number < 1e8 => Some(duration(number)),
        Some(number) if number < 1e11 => Some(since(epoch(number)?, now)),
        Some(number) => Some(since(epoch(number / 1e3)?, now)),
        None => span(text).or_else(|| Some(since(rfc3339(text)?, now))),
    }
}

fn http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

fn rfc3339(text: &str) -> Option<SystemTime> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Some(time);
    }
    // `humantime` reads UTC only; the six last characters are the offset: `+02:00`.
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let offset_seconds = hours.parse::<u8>().ok()? as u64 * 3600 + minutes.parse::<u8>().ok()? as u64 * 60;
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    match offset.as_bytes()[0] {
        b'+' => time.checked_sub(Duration::from_secs(offset_seconds)),
        b'-' => time.checked_add(Duration::from_secs(offset_seconds)),
        _ => None,
    }
}

/// The time from `now` to `then`; zero for what is past.
fn since(then: SystemTime, now: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or_default()
}

/// A number written with digits and at most one point: neither a sign nor an exponent, `inf` or `nan`.
fn decimal(text: &str) -> Option<f64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A duration of so many seconds, which are finite and not negative; what is too long becomes very long.
fn duration(seconds: f64) -> Duration {
    const CENTURY: f64 = 100.0 * 365.0 * 86_400.0;
    Duration::try_from_secs_f64(seconds.min(CENTURY)).unwrap_or_default()
}

/// A text that is a span as a whole: `6m0s`, `12ms`, `0.5s`.
fn span(text: &str) -> Option<Duration> {
    leading_span(text).filter(|(_, rest)| rest.is_empty()).map(|(span, _)| span)
}

/// The span that a text starts with, and what follows it: numbers with a unit each, side by side or as words.
fn leading_span(text: &str) -> Option<(Duration, &str)> {
    let (mut seconds, mut rest) = leading_part(text)?;
    while let Some((more, after)) = leading_part(rest.trim_start_matches([' ', ',']).trim_start_matches("and ")) {
        seconds += more;
        rest = after;
    }
    Some((duration(seconds), rest))
}

/// One number with its unit, in seconds, and what follows.
fn leading_part(text: &str) -> Option<(f64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start_matches(' ');
    let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Some((decimal(number)? * unit, rest))
}
