//! Conditions that are well formed and will probably not do what was meant.

use pointsman_layers::condition::{Condition, OnUnknown, QuotaPath, Segment};

use super::{Backend, decode::Cursor, finding::Finding};
use crate::near::near;

/// Warns of what is doubtful about a condition.
pub(super) fn report(at: Cursor<'_>, condition: &Condition, on_unknown: OnUnknown, backend: Option<&Backend>) {
    let paths: Vec<&QuotaPath> = condition.quota_paths().collect();
    if let Some(always) = condition.constant() {
        let warning = at.warning(format!("this condition is always {always}"));
        at.report(warning.label("nothing in it can change"));
        return;
    }
    if paths.is_empty() {
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
    let name = &backend.name;
    let headers = backend.preset.map_or(&[][..], |preset| preset.quota_headers);
    let is_known = |known: &[String], path: &QuotaPath| known.iter().any(|field| covers(field, path.segments()));
    let in_headers: Vec<String> = headers.iter().map(|header| format!("headers.{header}")).collect();
    let warning = if is_header(path) {
        // Whatever its name, it is there if the provider sends it.
        if headers.is_empty() || path.segments().len() == 1 || is_known(&in_headers, path) {
            return;
        }
        let warning = at.warning(format!("`{name}` is not known to send this header"));
        suggest(warning.label("it may never come"), path, &in_headers)
    } else if let Some(quota) = &backend.quota {
        let Some(fields) = quota.fields else { return };
        let fields: Vec<String> = fields.iter().copied().map(str::to_owned).collect();
        if is_known(&fields, path) {
            return;
        }
        let warning = at.warning(format!("`{name}` has no `{path}`", path = path.as_str()));
        suggest(warning.label("it counts as 0"), path, &fields)
    } else {
        let warning = at.warning(format!("`{name}` has no quota source")).label("it counts as 0");
        let telling = in_headers.iter().find(|header| header.contains("remaining")).or(in_headers.first());
        warning.help(match telling {
            Some(header) => format!("its answers say what is left in headers, such as `quota.{header}`"),
            None => format!("give `backends.{name}.quota`, or decide by `error_count`"),
        })
    };
    at.report(if literal { warning.within(path.span()) } else { warning });
}

/// Whether it is a header of the provider's answers, which is read without asking.
pub(super) fn is_header(path: &QuotaPath) -> bool {
    matches!(path.segments().first(), Some(Segment::Key(key)) if **key == *"headers")
}

/// Adds the known fields that may have been meant, or else all of them.
fn suggest<'a>(warning: Finding<'a>, path: &QuotaPath, known: &[String]) -> Finding<'a> {
    let wanted = dotted(path.segments());
    let candidates: Vec<(String, String)> = known.iter().map(|field| filled(field, path.segments())).collect();
    let meant = near(&wanted, candidates.iter().map(|(dotted, _)| dotted.as_str()));
    if meant.is_empty() {
        return warning.help(format!("it has {}", listed(known)));
    }
    let spelt = |meant: &&str| candidates.iter().find(|(dotted, _)| dotted == meant).map(|(_, spelt)| spelt.as_str());
    warning.did_you_mean(meant.iter().filter_map(spelt))
}

fn listed(known: &[String]) -> String {
    known.iter().map(|field| format!("quota.{field}")).collect::<Vec<_>>().join(", ")
}

fn dotted(segments: &[Segment]) -> String {
    segments.iter().map(step).collect::<Vec<_>>().join(".")
}

fn step(segment: &Segment) -> String {
    match segment {
        Segment::Key(key) => key.to_string(),
        Segment::Index(index) => index.to_string(),
    }
}

/// A known field with the steps of a path where it leaves them open: dotted, and as a condition spells it.
fn filled(field: &str, path: &[Segment]) -> (String, String) {
    let (mut parts, mut spelt) = (Vec::new(), "quota".to_owned());
    for (at, part) in field.split('.').enumerate() {
        let given = path.get(at).filter(|_| part == "*");
        parts.push(given.map_or_else(|| part.to_owned(), step));
        spelt += &match given {
            Some(Segment::Index(index)) => format!("[{index}]"),
            Some(Segment::Key(key)) if !is_plain(key) => format!("[\"{key}\"]"),
            Some(Segment::Key(key)) => format!(".{key}"),
            None => format!(".{part}"),
        };
    }
    (parts.join("."), spelt)
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Whether a known field, `*` for any step or any end of one, is this path or lies above or below it. A header may have
/// parts.
fn covers(field: &str, path: &[Segment]) -> bool {
    let parts: Vec<&str> = field.split('.').collect();
    let fits = |(part, segment): (&&str, &Segment)| {
        let step = step(segment);
        // In the name of a header letters' case does not matter.
        let step = if parts[0] == "headers" { step.to_ascii_lowercase() } else { step };
        **part == *step || part.strip_suffix('*').is_some_and(|start| step.starts_with(start))
    };
    (path.len() <= parts.len() || parts[0] == "headers") && parts.iter().zip(path).all(fits)
}
