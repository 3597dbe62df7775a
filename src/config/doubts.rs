//! Conditions that are well formed and will probably not do what was meant.

use pointsman_layers::condition::{Condition, OnUnknown, QuotaPath, Segment};

use super::{Backend, decode::Cursor};
use crate::{near::near, provider::presets::QuotaSource};

/// Warns of what is doubtful about a condition.
pub(super) fn report(at: Cursor<'_>, condition: &Condition, on_unknown: OnUnknown, backend: Option<&Backend>) {
    let paths: Vec<&QuotaPath> = condition.quota_paths().collect();
    if let Some(always) = condition.constant() {
        let warning = at.warning(format!("this condition is always {always}"));
        at.report(warning.label("nothing in it can change"));
        return;
    }
    if let Some(backend) = backend {
        // In a text with references put in, the places are other ones.
        let literal = at.node.as_str().is_some_and(|text| !text.contains("${"));
        for (index, path) in paths.iter().enumerate() {
            if !paths[..index].contains(path) {
                report_path(at, path, backend, literal);
            }
        }
    }
    if on_unknown == OnUnknown::Zero && condition.holds_for_missing_quota() {
        let warning = at.warning("this condition holds when nothing is known about the quota");
        let help = "a missing field counts as 0; with `on_unknown: skip` the candidate is skipped instead";
        at.report(warning.label("true for a quota of 0").help(help));
    }
}

fn report_path(at: Cursor<'_>, path: &QuotaPath, backend: &Backend, literal: bool) {
    let segments: Vec<String> = path
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Key(key) => key.to_string(),
            Segment::Index(index) => index.to_string(),
        })
        .collect();
    // The headers of answers are there for every backend.
    if segments.first().is_some_and(|first| first == "headers") {
        return;
    }
    let mut warning = match &backend.quota {
        Some(quota) => {
            let Some(fields) = quota.fields else { return };
            if fields.iter().any(|field| covers(field, &segments)) {
                return;
            }
            let warning = at.warning(format!("`{}` has no `{path}`", backend.name, path = path.as_str()));
            let meant = near(&segments.join("."), fields.iter().copied());
            let warning = warning.label("it counts as 0");
            if meant.is_empty() {
                let fields: Vec<_> = fields.iter().map(|field| format!("quota.{field}")).collect();
                warning.help(format!("it has {}", fields.join(", ")))
            } else {
                let meant: Vec<_> = meant.into_iter().map(|field| format!("quota.{field}")).collect();
                warning.did_you_mean(meant.iter().map(String::as_str))
            }
        }
        None => {
            let name = &backend.name;
            let warning = at.warning(format!("`{name}` has no quota source")).label("it counts as 0");
            let headers = matches!(backend.preset.map(|preset| &preset.quota), Some(QuotaSource::Headers));
            warning.help(if headers {
                "its answers report their limits as `quota.headers.<name>`".to_owned()
            } else {
                format!("give `backends.{name}.quota`, or decide by `error_count`")
            })
        }
    };
    if literal {
        warning = warning.within(path.span());
    }
    at.report(warning);
}

/// Whether a known field, `*` for any step, is this path or lies below it or above it.
fn covers(field: &str, path: &[String]) -> bool {
    field.split('.').zip(path).all(|(known, step)| known == "*" || known == step)
        && path.len() <= field.split('.').count()
}
