//! Times as the headers of answers write them.

use std::time::{Duration, SystemTime};

/// A reset in any form in use: a span, a number of seconds from now, or a point in time as RFC 3339, as seconds or as
/// milliseconds of the Unix epoch.
pub(crate) fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    let epoch = |seconds| SystemTime::UNIX_EPOCH.checked_add(duration(seconds));
    match decimal(text) {
        // No limit lasts for three years, and the epoch is longer ago than that.
        Some(number) if number < 1e8 => Some(duration(number)),
        Some(number) if number < 1e11 => Some(since(epoch(number)?, now)),
        Some(number) => Some(since(epoch(number / 1e3)?, now)),
        None => span(text).or_else(|| Some(since(rfc3339(text)?, now))),
    }
}

pub(crate) fn date(text: &str) -> Option<SystemTime> {
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
pub(crate) fn since(then: SystemTime, now: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or_default()
}

/// A number written with digits and at most one point: neither a sign nor an exponent, `inf` or `nan`.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A duration of so many seconds, which are finite and not negative; what is too long becomes very long.
pub(crate) fn duration(seconds: f64) -> Duration {
    const CENTURY: f64 = 100.0 * 365.0 * 86_400.0;
    Duration::try_from_secs_f64(seconds.min(CENTURY)).unwrap_or_default()
}

/// A text that is a span as a whole: `6m0s`, `12ms`, `0.5s`.
pub(crate) fn span(text: &str) -> Option<Duration> {
    leading_span(text).filter(|(_, rest)| rest.is_empty()).map(|(span, _)| span)
}

/// The span that a text starts with, and what follows it: numbers with a unit each, side by side or as words.
pub(crate) fn leading_span(text: &str) -> Option<(Duration, &str)> {
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
