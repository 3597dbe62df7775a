use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Number, Value};
use tokio::time::Instant;

use crate::when::{date, duration, reset};

/// How long what was said is good if nothing says when it changes: most limits are by the minute.
const USUAL: Duration = Duration::from_secs(60);

/// How long it is good at the most, however far away the reset is: whoever buys more is not to wait for a month.
const MOST: Duration = Duration::from_secs(60 * 60);

/// The headers of one backend's answers that say what is left, and what the last ones said.
#[derive(Debug)]
pub(super) struct Watch {
    headers: Box<[Watched]>,
    seen: ArcSwapOption<Seen>,
}

#[derive(Debug)]
struct Watched {
    name: HeaderName,
    /// The header that says when this one starts anew, for one that says what remains.
    reset: Option<HeaderName>,
}

#[derive(Debug)]
struct Seen {
    fields: Arc<Value>,
    until: Instant,
}

impl Watch {
    pub(super) fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let watched = |name: HeaderName| {
            let reset = name.as_str().replace("remaining", "reset").parse().ok();
            Watched { reset: reset.filter(|reset| *reset != name), name }
        };
        Self { headers: names.into_iter().map(watched).collect(), seen: ArcSwapOption::empty() }
    }

    /// What the last answer said, an object with a field for each header, while it is good.
    pub(super) fn current(&self) -> Option<Arc<Value>> {
        let seen = self.seen.load();
        seen.as_ref().filter(|seen| Instant::now() < seen.until).map(|seen| Arc::clone(&seen.fields))
    }

    pub(super) fn forget(&self) {
        self.seen.store(None);
    }

    /// Reads the headers of an answer; false if it has none of them.
    pub(super) fn observe(&self, headers: &HeaderMap) -> bool {
        let now = text(headers, &header::DATE).and_then(date).unwrap_or_else(SystemTime::now);
        let mut fields = Map::new();
        let mut good_for: Option<Duration> = None;
        for Watched { name, reset } in &self.headers {
            let Some(told) = text(headers, name) else { continue };
            let value = value(name, told, now);
            let in_time = match &value {
                // GitHub's word.
                Value::Object(parts) => parts.get("rst").and_then(Value::as_f64).map(duration),
                _ => reset.as_ref().and_then(|name| crate::when::reset(text(headers, name)?, now)),
            };
            good_for = good_for.into_iter().chain(in_time).min();
            fields.insert(name.as_str().to_owned(), value);
        }
        if fields.is_empty() {
            return false;
        }
        let until = Instant::now() + good_for.unwrap_or(USUAL).min(MOST);
        self.seen.store(Some(Arc::new(Seen { fields: Arc::new(fields.into()), until })));
        true
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// What a header counts as. A time, which is what all with `reset` in their name say, is the seconds until then.
fn value(name: &HeaderName, text: &str, now: SystemTime) -> Value {
    if name.as_str().contains("reset")
        && let Some(wait) = reset(text, now)
    {
        return wait.as_secs_f64().into();
    }
    // `ent=300&rem=12.5&rst=2026-01-01T00%3A00%3A00Z`
    let is_form = !text.is_empty() && text.split('&').all(|pair| pair.contains('=')) && !text.contains([' ', ',']);
    if is_form {
        let pairs = form_urlencoded::parse(text.as_bytes());
        return pairs.map(|(key, value)| (key.into_owned(), scalar(&value, now))).collect::<Map<_, _>>().into();
    }
    scalar(text, now)
}

fn scalar(text: &str, now: SystemTime) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => match (serde_json::from_str::<Number>(text), reset(text, now)) {
            (Ok(number), _) => number.into(),
            (Err(_), Some(wait)) => wait.as_secs_f64().into(),
            (Err(_), None) => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn watch(names: &[&'static str]) -> Watch {
        Watch::new(names.iter().map(|name| HeaderName::from_static(name)))
    }

    const DATE: (&str, &str) = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");

    #[tokio::test(start_paused = true)]
    async fn every_form_of_a_value() {
        for (name, told, value) in [
            ("x-ratelimit-remaining-requests", "14370", json!(14370)),
            ("x-ratelimit-remaining-requests", " 7 ", json!(7)),
            ("x-ratelimit-remaining", "12.5", json!(12.5)),
            ("x-ratelimit-remaining", "-1", json!(-1)),
            ("x-ratelimit-over-limit", "no", json!("no")),
            ("x-limited", "true", json!(true)),
            // Times, in every form that is in use.
            ("x-ratelimit-reset-requests", "2m59.5s", json!(179.5)),
            ("x-ratelimit-reset-tokens", "20ms", json!(0.02)),
            ("x-ratelimit-reset-requests-day", "33011.5", json!(33011.5)),
            ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:01:00Z", json!(60.0)),
            ("x-ratelimit-reset", "1767225660", json!(60.0)),
            ("x-ratelimit-reset", "1767225660000", json!(60.0)),
            ("x-ratelimit-reset", "2025-12-31T00:00:00Z", json!(0.0)),
            ("x-window", "1m", json!(60.0)),
            (
                "x-quota-snapshot-premium_interactions",
                "ent=300&ov=0.0&ovPerm=false&rem=12.5&rst=2026-01-01T00%3A01%3A00Z",
                json!({"ent": 300, "ov": 0.0, "ovPerm": false, "rem": 12.5, "rst": 60.0}),
            ),
            ("ratelimit", "limit=100, remaining=50", json!("limit=100, remaining=50")),
            ("x-empty", "", json!("")),
        ] {
            let watch = watch(&[name]);
            assert!(watch.observe(&map(&[(name, told), DATE])));
            // One whose time is over is read all the same, and good for nothing.
            let seen = watch.seen.load_full().unwrap();
            assert_eq!(seen.fields[name], value, "{name}: {told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_is_good_until_the_reset_that_goes_with_it() {
        let (left, reset) = ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests");
        for (named, answer, seconds) in [
            (&[left][..], &[(left, "0"), (reset, "7s")][..], 7),
            (&[left], &[(left, "0")], 60),
            (&[left], &[(left, "0"), (reset, "24h")], 3600),
            (&[left], &[(left, "0"), (reset, "soon")], 60),
            // The first that starts anew changes what is known.
            (
                &[left, "x-ratelimit-remaining-tokens"],
                &[
                    (left, "9"),
                    (reset, "7s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "3s"),
                ],
                3,
            ),
            (
                &["anthropic-ratelimit-tokens-remaining"],
                &[
                    ("anthropic-ratelimit-tokens-remaining", "0"),
                    ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:12Z"),
                ],
                12,
            ),
            (&["x-quota-snapshot-chat"], &[("x-quota-snapshot-chat", "rem=0&rst=2026-01-01T00:00:15Z")], 15),
            (&["x-quota-snapshot-chat"], &[("x-quota-snapshot-chat", "rem=0&rst=1e300")], 3600),
        ] {
            let watch = watch(named);
            assert!(watch.observe(&map(&[answer, &[DATE]].concat())));
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert!(watch.current().is_some(), "{answer:?}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(watch.current().is_none(), "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_that_makes_no_sense_is_past() {
        for told in ["rem=1&rst=-1e300", "rem=1&rst=-0"] {
            let watch = watch(&["x-quota-snapshot-chat"]);
            assert!(watch.observe(&map(&[("x-quota-snapshot-chat", told)])));
            assert!(watch.current().is_none(), "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_the_headers_says_nothing() {
        let watch = watch(&["x-left"]);
        assert!(!watch.observe(&map(&[("x-right", "1")])));
        assert!(watch.current().is_none());
        assert!(watch.observe(&map(&[("x-left", "5")])));
        assert!(!watch.observe(&map(&[("x-right", "1")])));
        assert_eq!(*watch.current().unwrap(), json!({"x-left": 5}));
        watch.forget();
        assert!(watch.current().is_none());
    }
}
