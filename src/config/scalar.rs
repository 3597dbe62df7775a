//! Durations and sizes as people write them.

use std::time::Duration;

/// `10s`, `1m30s`, `500ms`, or a number of seconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => duration_from_seconds(seconds),
        Err(_) => humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST),
    }
}

/// Far enough for any deadline, near enough that adding it to a clock never overflows.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

pub(super) fn duration_from_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST)
}

/// `32MiB`, `10MB`, `64k`, or a number of bytes.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(whole) => usize::try_from(whole.checked_mul(scale)?).ok(),
        // `1.5MiB`; a fraction of a byte is none.
        Err(_) => {
            let bytes = number.parse::<f64>().ok()? * scale as f64;
            (bytes.fract() == 0.0 && bytes < (1_u64 << 53) as f64).then_some(bytes as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("90", 90_000), ("0.5", 500), ("5m", 300_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "10 parsecs", "-1", "-1s", "NaN", "inf", "1e300", "99999999999999999999s", "9999y"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("32MiB", 32 << 20), ("10MB", 10_000_000), ("64k", 64_000), ("17", 17), ("1.5 KiB", 1536), ("0", 0)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.3", "10 apples", "99999999999999999999", "1..5k", "18446744073709551615k"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
