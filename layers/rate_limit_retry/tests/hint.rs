use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::rate_limit_retry::hint::{self, Hint};

/// Sun, 06 Nov 1994 08:49:37 GMT: the time of day where the answer does not say.
const NOW: u64 = 784_111_777;

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value")))
        .collect()
}

fn read(headers: &HeaderMap, body: &str) -> Option<Hint> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    hint::read(headers, &body.to_ascii_lowercase(), now)
}

#[test]
fn every_header_form() {
    for (list, expected) in [
        // Milliseconds.
        (&[("retry-after-ms", "1500")][..], Some(1.5)),
        (&[("retry-after-ms", "0.5")], Some(0.0005)),
        (&[("x-ms-retry-after-ms", "250")], Some(0.25)),
        (&[("retry-after-ms", "250"), ("retry-after", "9")], Some(0.25)),
        (&[("retry-after-ms", "soon"), ("x-ms-retry-after-ms", "7")], Some(0.007)),
        (&[("retry-after-ms", "-1"), ("retry-after", "9")], Some(9.0)),
        // Seconds.
        (&[("retry-after", "5")], Some(5.0)),
        (&[("retry-after", " 5 ")], Some(5.0)),
        (&[("retry-after", "0")], Some(0.0)),
        (&[("retry-after", "0.25")], Some(0.25)),
        (&[("retry-after", "999")], Some(999.0)),
        (&[("retry-after", "junk"), ("retry-after", "4")], Some(4.0)),
        // A date, against the answer's own or else against ours; past is now.
        (&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")], Some(10.0)),
        (&[("retry-after", "Sunday, 06-Nov-94 08:49:47 GMT")], Some(10.0)),
        (&[("retry-after", "Sun Nov  6 08:49:47 1994")], Some(10.0)),
        (&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"), ("date", "Fri, 31 Dec 1999 23:59:52 GMT")], Some(7.0)),
        (&[("retry-after", "Fri, 31 Dec 1993 23:59:59 GMT")], Some(0.0)),
        (&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"), ("date", "yesterday")], Some(10.0)),
        // Anthropic: the latest of those in the way.
        (&[("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:40Z")], Some(3.0)),
        (&[("anthropic-ratelimit-tokens-reset", "1994-11-06T09:49:40.5+01:00")], Some(3.5)),
        (&[("anthropic-ratelimit-tokens-reset", "1994-11-06T03:19:40-05:30")], Some(3.0)),
        (&[("anthropic-ratelimit-tokens-reset", "1994-11-06T08:49:30Z")], Some(0.0)),
        (
            &[
                ("anthropic-ratelimit-requests-remaining", "12"),
                ("anthropic-ratelimit-requests-reset", "1994-11-06T08:59:37Z"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "1994-11-06T08:49:40Z"),
                ("anthropic-ratelimit-output-tokens-remaining", "0"),
                ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:42Z"),
            ],
            Some(5.0),
        ),
        (
            &[
                ("anthropic-ratelimit-unified-5h-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-reset", "784111787"),
                ("anthropic-ratelimit-unified-7d-status", "rejected"),
                ("anthropic-ratelimit-unified-7d-reset", "784111807"),
                ("anthropic-ratelimit-unified-overage-status", "allowed"),
                ("anthropic-ratelimit-unified-overage-reset", "784119999"),
            ],
            Some(30.0),
        ),
        (
            &[("anthropic-ratelimit-unified-status", "rejected"), ("anthropic-ratelimit-unified-reset", "784111779")],
            Some(2.0),
        ),
        (&[("anthropic-ratelimit-unified-reset", "784111779")], None),
        (
            &[
                ("date", "Sun, 06 Nov 1994 08:49:39 GMT"),
                ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:40Z"),
            ],
            Some(1.0),
        ),
        // GitHub: a point in time, and the variants of it that others send under the same name.
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111837")], Some(60.0)),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111837000")], Some(60.0)),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")], Some(60.0)),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000000001")], Some(215_888_224.0)),
        (&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "784111837")], None),
        (&[("x-ratelimit-reset", "784111837")], None),
        // Garbage is as if absent.
        (&[("retry-after", "NaN")], None),
        (&[("retry-after", "inf")], None),
        (&[("retry-after", "infinity")], None),
        (&[("retry-after", "-5")], None),
        (&[("retry-after", "+5")], None),
        (&[("retry-after", "1e3")], None),
        (&[("retry-after", "1.2.3")], None),
        (&[("retry-after", ".")], None),
        (&[("retry-after", "")], None),
        (&[("retry-after", "5, 6")], None),
        (&[("retry-after", "5 apples")], None),
        (&[("retry-after", "Sun, 99 Nov 1994 08:49:37 GMT")], None),
        (&[("retry-after-ms", "NaN"), ("x-ms-retry-after-ms", "-inf")], None),
        (&[("anthropic-ratelimit-requests-reset", "1994-13-06T08:49:40Z")], None),
        (&[("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:40+aa:bb")], None),
        (&[("anthropic-ratelimit-requests-reset", "+01:00")], None),
        (&[("x-ratelimit-remaining", "none"), ("x-ratelimit-reset", "784111837")], None),
        (&[], None),
    ] {
        let headers = headers(list);
        let expected = expected.map(|seconds| Hint { wait: Duration::from_secs_f64(seconds), exact: true });
        assert_eq!(read(&headers, ""), expected, "{list:?}");
    }
}

#[test]
fn every_body_form() {
    let info = "type.googleapis.com/google.rpc.RetryInfo";
    let google = |delay: &str| {
        format!(
            r#"{{"error": {{"code": 429, "details": [
                {{"@type": "type.googleapis.com/google.rpc.Help", "retryDelay": "1s"}},
                {{"@type": "{info}", "retryDelay": {delay}}}]}}}}"#
        )
    };
    let in_a_list = format!("[{}]", google(r#""26s""#));
    for (body, expected) in [
        (google(r#""26s""#).as_str(), Some(26.0)),
        (&google(r#""0.5s""#), Some(0.5)),
        (&google(r#""0s""#), Some(0.0)),
        (&google(r#""32.818s""#), Some(32.818)),
        (&in_a_list, Some(26.0)),
        (&google(r#""-5s""#), None),
        (&google(r#""5""#), None),
        (&google(r#""NaNs""#), None),
        (&google(r#""5s and a bit""#), None),
        (&google("26"), None),
        (&google("null"), None),
        (&google(r#""26s""#)[..90], None),
        (r#"{"error": {"details": {"@type": "RetryInfo", "retryDelay": "5s"}}}"#, None),
        (r#"["RetryInfo", {"error": "RetryInfo"}, 7, null]"#, None),
        // Sentences.
        (r#"{"error": {"message": "Rate limit reached. Please try again in 20s. Visit …"}}"#, Some(20.0)),
        ("Please try again in 6ms.", Some(0.006)),
        ("Please try again in 1m30.5s.", Some(90.5)),
        ("Please try again in 1h2m3s", Some(3723.0)),
        ("please RETRY AFTER 33 seconds.", Some(33.0)),
        ("Please retry in 26.5s.", Some(26.5)),
        ("Try again after 2 minutes, or buy more.", Some(120.0)),
        ("try again in 1 minute and 30 seconds", Some(90.0)),
        ("try again in 2 days", Some(172_800.0)),
        ("try again in a moment; then retry after 5 s", Some(5.0)),
        ("try again in 5 apples", None),
        ("try again in 5", None),
        ("try again in -5s", None),
        ("try again in NaN seconds", None),
        ("try again in 1.2.3s", None),
        ("try again in ", None),
        ("try again later", None),
        ("try again in \u{fffd}\u{fffd}", None),
    ] {
        let expected = expected.map(|seconds| Hint { wait: Duration::from_secs_f64(seconds), exact: true });
        assert_eq!(read(&HeaderMap::new(), body), expected, "{body}");
    }
}

#[test]
fn the_time_when_a_bucket_is_full_is_only_a_bound() {
    for (list, body, expected) in [
        (
            &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")][..],
            "",
            Some((360.0, false)),
        ),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "12ms")], "", Some((0.012, false))),
        (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1.5s")], "", Some((1.5, false))),
        (
            &[("x-ratelimit-remaining-tokens-day", "0"), ("x-ratelimit-reset-tokens-day", "330.5")],
            "",
            Some((330.5, false)),
        ),
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "2s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "3s"),
            ],
            "",
            Some((3.0, false)),
        ),
        // What is said beside it is closer, unless it is further.
        (
            &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")],
            "try again in 20s",
            Some((20.0, true)),
        ),
        (
            &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "2s")],
            "try again in 20s",
            Some((2.0, false)),
        ),
        // A bucket that is not empty is not in the way.
        (&[("x-ratelimit-remaining-requests", "5"), ("x-ratelimit-reset-requests", "6m0s")], "", None),
        (&[("x-ratelimit-reset-requests", "6m0s")], "", None),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-tokens", "6m0s")], "", None),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6x")], "", None),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "-6s")], "", None),
        // Whatever was made for the purpose comes first.
        (
            &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "2s"), ("retry-after", "9")],
            "",
            Some((9.0, true)),
        ),
    ] {
        let expected = expected.map(|(seconds, exact)| Hint { wait: Duration::from_secs_f64(seconds), exact });
        assert_eq!(read(&headers(list), body), expected, "{list:?}, {body}");
    }
}

#[test]
fn the_order_of_the_forms() {
    let info = r#"{"error": {"message": "try again in 1s", "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "3s"}]}}"#;
    let mut list = vec![
        ("retry-after-ms", "1000"),
        ("retry-after", "2"),
        ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:41Z"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "5"),
    ];
    let mut seconds = |body: &str, drop: usize| {
        list.drain(..drop);
        read(&headers(&list), body).expect("a hint").wait.as_secs()
    };
    assert_eq!([seconds(info, 0), seconds(info, 1), seconds(info, 1), seconds("", 0), seconds("", 1)], [1, 2, 3, 4, 5]);
    assert_eq!(seconds("retry after 6 seconds", 2), 6);
}

#[test]
fn a_provider_may_forbid_the_retry() {
    for (value, allowed) in [("false", false), ("False", false), ("true", true), ("0", true)] {
        assert_eq!(hint::allows_retry(&headers(&[("x-should-retry", value)])), allowed);
    }
    assert!(hint::allows_retry(&HeaderMap::new()));
}

/// Names of headers that hints are read from.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "retry-after-ms",
        "x-ms-retry-after-ms",
        "retry-after",
        "date",
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-unified-5h-reset",
        "anthropic-ratelimit-unified-5h-status",
        "x-ratelimit-reset",
        "x-ratelimit-remaining",
        "x-ratelimit-reset-tokens",
        "x-ratelimit-remaining-tokens",
    ])
}

/// Texts near enough to the real ones to get past the first checks.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,400}\\.?[0-9]{0,4}",
        "-?[0-9]{1,3}(ms|s|m|h|d|µs|days){0,2}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2}|\\.[0-9]{1,12}Z|)",
        "(Sun|Mon), [0-9]{2} (Nov|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "(0|rejected|inf|nan|1e999|\\.|)",
        any::<String>(),
    ]
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        ("(try again|retry) (in|after) ", text()).prop_map(|(phrase, text)| phrase + &text),
        text().prop_map(|delay| {
            let detail = serde_json::json!({"@type": "google.rpc.RetryInfo", "retryDelay": delay});
            serde_json::json!([{"error": {"details": [detail]}}]).to_string()
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_a_hint_is_a_time_that_can_be_waited(
        list in prop::collection::vec((name(), prop_oneof![
            text().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ]), 0..8),
        body in body(),
        now in 0..u64::from(u32::MAX) * 4,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        hint::allows_retry(&headers);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        if let Some(hint) = hint::read(&headers, &body.to_ascii_lowercase(), now) {
            prop_assert!(tokio::time::Instant::now().checked_add(hint.wait).is_some(), "{hint:?}");
        }
    }
}
