use std::time::Duration;

use http::Uri;
use pointsman_layers::rate_limit_retry::{Exhausted, Policy, When};

use super::{
    Backend,
    decode::Cursor,
    fields::{Fields, only_one},
    node::{Node, Value},
};
use crate::provider::presets::HoldKeys;

/// What to do about a provider's rate limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hold {
    /// Whether to hold a request, and for how long.
    pub policy: Policy,
    /// What the log calls the provider.
    pub label: String,
    /// What the provider says when waiting is of no use.
    pub exhausted: Exhausted,
}

/// What the configuration says about a hold; what it does not say is as usual.
#[derive(Default)]
pub(super) struct HoldSettings<'a> {
    /// The whole of `rate_limit_retry`, where it is `true` or `false`.
    switch: Option<bool>,
    enabled: Option<Cursor<'a>>,
    max_wait: Option<Cursor<'a>>,
    random_min: Option<Cursor<'a>>,
    random_max: Option<Cursor<'a>>,
    when: When,
    max_waiters: Option<usize>,
}

impl<'a> HoldSettings<'a> {
    /// Reads `rate_limit_retry`: `true`, `false` or a mapping.
    pub(super) fn decode(at: Cursor<'a>) -> Option<Self> {
        if let Value::Bool(_) | Value::String(_) = at.node.value {
            return at.bool().map(|on| Self { switch: Some(on), ..Self::default() });
        }
        let mut fields = Fields::of(at)?;
        let settings = Self {
            switch: Some(true),
            enabled: fields.take_either("enabled", "enable_initial_rate_limit_retry"),
            max_wait: fields.take_either("max_wait", "initial_rate_limit_retry_max_wait_seconds"),
            random_min: fields.take_either("random_min", "initial_rate_limit_retry_random_min_seconds"),
            random_max: fields.take_either("random_max", "initial_rate_limit_retry_random_max_seconds"),
            when: fields
                .optional("when", |when| {
                    when.word(&[("always", When::Always), ("last_candidate", When::LastCandidate)])
                })
                .unwrap_or_default(),
            max_waiters: fields
                .optional("max_waiters", |limit| limit.integer(0..=u64::MAX))
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        };
        fields.finish();
        Some(settings)
    }

    /// Takes what stands under `extra` of a provider that has its settings there.
    pub(super) fn take_extra(&mut self, extra: &mut Fields<'a>, preset: &'static HoldKeys) {
        let mut take = |setting: &mut Option<Cursor<'a>>, key| *setting = only_one(*setting, extra.take(key));
        take(&mut self.enabled, preset.enabled);
        take(&mut self.max_wait, preset.max_wait);
        take(&mut self.random_min, preset.random_min);
        take(&mut self.random_max, preset.random_max);
    }
}

impl Hold {
    /// What comes of the settings for this backend: nothing, if they turn it off or nothing turns it on.
    pub(super) fn new(settings: &HoldSettings<'_>, backend: &Backend) -> Option<Self> {
        let preset = backend.preset;
        let keys = preset.and_then(|preset| preset.hold.as_ref());
        let max_wait = wait(settings.max_wait, MAX_WAIT);
        let random_min = wait(settings.random_min, RANDOM_MIN);
        let random_max = wait(settings.random_max, RANDOM_MAX);
        if let (Some(min), Some(max)) = (random_min, random_max)
            && min > max
        {
            report_empty_range(settings, min, max);
            return None;
        }
        let switch = settings.enabled.filter(|enabled| !enabled.node.is_null()).map_or(Some(true), Cursor::bool)?;
        if !switch || !settings.switch.unwrap_or(keys.is_some()) {
            return None;
        }
        let [max_wait, random_min, random_max] = [max_wait?, random_min?, random_max?].map(|wait| wait.as_secs_f64());
        let policy = Policy::from_seconds(max_wait, random_min, random_max).ok()?.when(settings.when);
        Some(Self {
            policy: match settings.max_waiters {
                Some(limit) => policy.max_waiters(limit),
                None => policy,
            },
            label: keys.map_or_else(|| backend.name.clone(), |keys| keys.label.to_owned()),
            exhausted: exhausted(backend),
        })
    }
}

/// The words of the backend's provider. DashScope uses OpenAI's for something else, whoever it is taken for.
fn exhausted(backend: &Backend) -> Exhausted {
    let host = backend.base_url.as_ref().and_then(Uri::host).unwrap_or_default().to_ascii_lowercase();
    if host == "portal.qwen.ai" || host.starts_with("dashscope") && host.ends_with(".aliyuncs.com") {
        return Exhausted::DASHSCOPE;
    }
    backend.preset.map_or(Exhausted::GENERIC, |preset| preset.exhausted)
}

const MAX_WAIT: Duration = Duration::from_secs(10);
const RANDOM_MIN: Duration = Duration::from_secs(3);
const RANDOM_MAX: Duration = Duration::from_secs(10);

/// A wait; the names that end in `_seconds` take a number alone.
fn wait(at: Option<Cursor<'_>>, usual: Duration) -> Option<Duration> {
    let Some(at) = at.filter(|at| !at.node.is_null()) else { return Some(usual) };
    let in_seconds = at.key.and_then(Node::as_str).is_some_and(|key| key.ends_with("_seconds"));
    if in_seconds { at.seconds() } else { at.duration() }
}

/// Reports a least wait that is longer than the longest one, at whichever of the two was given.
fn report_empty_range(settings: &HoldSettings<'_>, min: Duration, max: Duration) {
    let name = |at: Cursor<'_>| at.key.and_then(Node::as_str).unwrap_or_default().to_owned();
    let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
    let given = |at: &Cursor<'_>| !at.node.is_null();
    match (settings.random_min.filter(given), settings.random_max.filter(given)) {
        (Some(least), Some(longest)) => {
            let error = least.error(format!("`{}` is {min} s, more than `{}`, {max} s", name(least), name(longest)));
            least.report(error.label("longer than the longest wait").related(longest.node, "the longest wait"));
        }
        (Some(least), None) => {
            let error = least.error(format!("`{}` is {min} s, more than the longest wait, {max} s", name(least)));
            least.report(error.label("longer than the longest wait").help("give the longest wait as well"));
        }
        (None, Some(longest)) => {
            let error = longest.error(format!("`{}` is {max} s, less than the least wait, {min} s", name(longest)));
            longest.report(error.label("shorter than the least wait").help("give the least wait as well"));
        }
        // The usual ones are in order.
        (None, None) => {}
    }
}
