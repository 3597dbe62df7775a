use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    time::Duration,
};

use pointsman_layers::{
    condition::{Condition, OnUnknown},
    ext::Commit,
};

use super::{
    decode::Cursor,
    doubts,
    fields::Fields,
    node::{Node, Value},
    resolve::Backends,
};

/// A model name that clients use, and where it leads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// The model's name.
    pub name: String,
    /// Who may answer, in order of preference.
    pub candidates: Vec<Candidate>,
    /// When an answer is final.
    pub commit: Commit,
    /// How long all attempts together may take, up to the commit point; 90 s.
    pub total_timeout: Duration,
    /// How many candidates are asked at the most; `None` for all.
    pub max_attempts: Option<usize>,
    /// The statuses that lead to the next candidate; `None` for the usual ones.
    pub fallback_on: Option<Vec<u16>>,
    /// Whether the next candidate is asked when the last may have carried out the request; true.
    pub fallback_on_ambiguous: bool,
}

/// A provider that may answer, with the model that it is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The name of the [`Backend`](super::Backend).
    pub backend: String,
    /// The model that it is asked for.
    pub model: String,
    /// When it is eligible; `None` for always.
    pub condition: Option<Condition>,
    /// What the condition is to make of a quota that is not known; unless it is said, [`OnUnknown::Allow`] for a condition
    /// that reads headers of answers, else [`OnUnknown::Zero`].
    pub on_unknown: OnUnknown,
}

/// The statuses that may lead on to another candidate.
const FAILURES: RangeInclusive<u64> = 400..=599;

/// Reads `models`. All names are known beforehand, so that a route in the place of a provider is seen as what it is.
pub(super) fn decode_routes(at: Cursor<'_>, backends: &mut Backends) -> Option<Vec<Route>> {
    let names: Vec<(Cow<'_, str>, &Node)> = at.items()?.filter_map(name_of).collect();
    let mut first_of = HashMap::with_capacity(names.len());
    for (name, node) in &names {
        let first: &Node = first_of.entry(&**name).or_insert(*node);
        if !std::ptr::eq(first, *node) {
            let error = Cursor { node, ..at }.error(format!("there are two routes of the name `{name}`"));
            at.report(error.label("given again").related(first, "given first here"));
        }
    }
    let names = first_of.into_keys().collect();
    at.list(|item| decode_route(item, backends, &names))
}

fn name_of(route: Cursor<'_>) -> Option<(Cow<'_, str>, &Node)> {
    let Value::Map(entries) = &route.node.value else { return None };
    let (_, name) = entries.iter().find(|(key, name)| key.as_str() == Some("name") && name.as_str().is_some())?;
    Some((Cursor { node: name, ..route }.text()?, name))
}

fn decode_route(at: Cursor<'_>, backends: &mut Backends, routes: &HashSet<&str>) -> Option<Route> {
    let mut fields = Fields::of(at)?;
    let name = fields.required("name", Cursor::name);
    let commit = fields
        .optional("commit", |commit| commit.word(&[("first_event", Commit::FirstEvent), ("headers", Commit::Headers)]));
    let total_timeout = fields.optional("total_timeout", Cursor::timeout);
    let max_attempts = fields.optional("max_attempts", Cursor::count);
    let fallback_on = fields.optional("fallback_on", decode_statuses);
    let fallback_on_ambiguous = fields.optional("fallback_on_ambiguous", Cursor::bool);
    let candidates = match fields.take_either("providers", "targets") {
        Some(list) => decode_candidates(list, name.as_deref(), backends, routes),
        None => fields.missing("providers"),
    };
    fields.finish();
    Some(Route {
        name: name?,
        candidates: candidates?,
        commit: commit.unwrap_or_default(),
        total_timeout: total_timeout.unwrap_or(Duration::from_secs(90)),
        max_attempts,
        fallback_on,
        fallback_on_ambiguous: fallback_on_ambiguous.unwrap_or(true),
    })
}

fn decode_candidates(
    at: Cursor<'_>,
    route: Option<&str>,
    backends: &mut Backends,
    routes: &HashSet<&str>,
) -> Option<Vec<Candidate>> {
    if at.node.is_null() || at.items()?.len() == 0 {
        let key = at.key.and_then(Node::as_str).unwrap_or("providers");
        return at.fail(at.error(format!("`{key}` is empty")).label("a route needs at least one provider"));
    }
    let mut seen: Vec<(Candidate, &Node)> = Vec::new();
    for item in at.items()? {
        let Some(candidate) = decode_candidate(item, route, backends, routes) else { continue };
        let same =
            |(other, _): &&(Candidate, &Node)| (&other.backend, &other.model) == (&candidate.backend, &candidate.model);
        if let Some((_, first)) = seen.iter().find(same) {
            let warning = item.warning(format!("`{}` is listed twice with the same model", candidate.backend));
            at.report(warning.label("the same again").related(first, "listed first here"));
        }
        seen.push((candidate, item.node));
    }
    Some(seen.into_iter().map(|(candidate, _)| candidate).collect())
}

fn decode_candidate(
    at: Cursor<'_>,
    route: Option<&str>,
    backends: &mut Backends,
    routes: &HashSet<&str>,
) -> Option<Candidate> {
    let mut fields = Fields::of(at)?;
    let backend = fields.required("provider", |provider| {
        let name = provider.name()?;
        backends.resolve(provider, &name, routes)
    });
    let model = match fields.take("model").filter(|model| !model.node.is_null()) {
        Some(model) => model.name(),
        None => route.map(str::to_owned),
    };
    let on_unknown = fields.optional("on_unknown", |choice| {
        choice.word(&[("zero", OnUnknown::Zero), ("skip", OnUnknown::Skip), ("allow", OnUnknown::Allow)])
    });
    let mut usual = OnUnknown::Zero;
    let condition = match fields.take("condition") {
        Some(written) => {
            let condition = decode_condition(written);
            // What only an answer can say would otherwise keep the first request away, and with it all that follow.
            if let Some(Some(condition)) = &condition
                && condition.quota_paths().any(doubts::is_header)
            {
                usual = OnUnknown::Allow;
            }
            if let (Some(Some(condition)), Value::String(_)) = (&condition, &written.node.value) {
                let backend = backend.as_deref().and_then(|name| backends.get(name));
                doubts::report(written, condition, on_unknown.unwrap_or(usual), backend);
            }
            condition
        }
        None => Some(None),
    };
    fields.finish();
    let on_unknown = on_unknown.unwrap_or(usual);
    Some(Candidate { backend: backend?, model: model?, condition: condition?, on_unknown })
}

fn decode_condition(at: Cursor<'_>) -> Option<Option<Condition>> {
    match &at.node.value {
        Value::Null | Value::Bool(true) => Some(None),
        Value::Bool(false) => Some(Some(Condition::never())),
        Value::String(written) => {
            let text = at.text()?;
            if text.trim().is_empty() {
                return Some(None);
            }
            match text.parse::<Condition>() {
                Ok(condition) => Some(Some(condition)),
                Err(wrong) => {
                    let mut error = at.error(wrong.message());
                    // In a text with references put in, the place is another one.
                    error.within = (*text == **written).then(|| wrong.span());
                    error.help = wrong.suggestion().map(str::to_owned);
                    at.fail(error.label("in this condition"))
                }
            }
        }
        _ => at.wrong_type("a condition"),
    }
}

/// A list of statuses, in which `5xx` stands for all that start so.
fn decode_statuses(at: Cursor<'_>) -> Option<Vec<u16>> {
    let lists = at.list(|item| {
        let class = match &item.node.value {
            Value::String(text) if text.eq_ignore_ascii_case("4xx") => Some(400..=499),
            Value::String(text) if text.eq_ignore_ascii_case("5xx") => Some(500..=599),
            _ => None,
        };
        if let Some(class) = class {
            return Some(class);
        }
        let status = match &item.node.value {
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        match status.filter(|status| FAILURES.contains(status)).and_then(|status| u16::try_from(status).ok()) {
            Some(status) => Some(status..=status),
            None => {
                let error = item.error("this is not the status of a failure").label("expected a status");
                item.fail(error.help("write a number from 400 to 599, or `5xx` for all that start so"))
            }
        }
    })?;
    Some(lists.into_iter().flatten().collect())
}
