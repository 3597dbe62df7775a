//! From the name of a provider to the backend that it means.

use std::collections::HashSet;

use super::{Backend, decode::Cursor};
use crate::{
    near::near,
    provider::presets::{self, Preset},
};

/// The backends that are configured, and the presets that something names.
pub(super) struct Backends {
    list: Vec<Backend>,
    /// The backends of whose closed gates a warning was given.
    closed: Vec<String>,
}

impl Backends {
    pub(super) fn new(configured: Vec<Backend>) -> Self {
        Self { list: configured, closed: Vec::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Backend> {
        self.list.iter().find(|backend| backend.name == name)
    }

    pub(super) fn into_list(self) -> Vec<Backend> {
        self.list
    }

    /// The name of the backend that `name` means. A preset that is not configured becomes a backend by being named.
    pub(super) fn resolve(&mut self, at: Cursor<'_>, name: &str, routes: &HashSet<&str>) -> Option<String> {
        let name = self.find(at, name, routes)?;
        self.warn_if_closed(at, &name);
        Some(name)
    }

    /// The same for a name that need not mean a backend, such as `llama3` in `llama3:8b`.
    pub(super) fn resolve_if_known(&mut self, at: Cursor<'_>, name: &str) {
        if position(&self.list, name).is_some() || presets::find(name).is_some() {
            self.resolve(at, name, &HashSet::new());
        }
    }

    fn find(&mut self, at: Cursor<'_>, name: &str, routes: &HashSet<&str>) -> Option<String> {
        if let Some(index) = position(&self.list, name) {
            return Some(self.list[index].name.clone());
        }
        if let Some(preset) = presets::find(name) {
            return Some(self.add(at, preset));
        }
        let other_case = self.list.iter().find(|backend| backend.name.eq_ignore_ascii_case(name));
        let meant = match (other_case, presets::find_ignoring_case(name)) {
            (Some(backend), _) => Some((backend.name.clone(), None)),
            (None, Some(preset)) => Some((preset.name.to_owned(), Some(preset))),
            (None, None) => None,
        };
        if let Some((meant, preset)) = meant {
            let warning = at.warning(format!("`{name}` is written `{meant}`"));
            at.report(warning.label("in other letters' case").help(format!("write `{meant}`")));
            return Some(match preset {
                Some(preset) => match position(&self.list, preset.name) {
                    Some(index) => self.list[index].name.clone(),
                    None => self.add(at, preset),
                },
                None => meant,
            });
        }
        if routes.contains(name) {
            let error =
                at.error(format!("`{name}` is a route: a route leads neither to another one nor back to itself"));
            return at.fail(error.label("expected a provider"));
        }
        let configured = self.list.iter().map(|backend| backend.name.as_str());
        let known =
            configured.chain(presets::PRESETS.iter().flat_map(|preset| preset.names().map(|name| name as &str)));
        let error = at.error(format!("unknown provider `{name}`"));
        let error = error.label("neither a configured backend nor a provider that is known by name");
        let meant = near(name, known);
        at.fail(if meant.is_empty() {
            error.help(format!("for a server of your own: `backends: {{ {name}: {{ type: openai, base_url: ... }} }}`"))
        } else {
            error.did_you_mean(meant)
        })
    }

    fn add(&mut self, at: Cursor<'_>, preset: &'static Preset) -> String {
        let backend = Backend::from_preset(preset, at);
        warn_if_unavailable(at, &backend);
        self.list.push(backend);
        preset.name.to_owned()
    }

    /// Warns, once for each, of a backend that is in use and disabled.
    fn warn_if_closed(&mut self, at: Cursor<'_>, name: &str) {
        let Some(gate) = self.get(name).and_then(|backend| backend.gate.as_ref()).filter(|gate| !gate.is_open()) else {
            return;
        };
        if self.closed.iter().any(|other| other == name) {
            return;
        }
        let warning = at.warning(format!("`{name}` is disabled: {}", gate.closed_by()));
        let mut warning = warning.label("its requests are refused").help(gate.remedy(name));
        warning.closed_gate = Some(name.to_owned());
        at.report(warning);
        self.closed.push(name.to_owned());
    }
}

/// The backend of exactly this name, else the configured one that goes by another name of the same preset. The instance
/// `default` of a backend is the backend itself.
pub(super) fn position(backends: &[Backend], name: &str) -> Option<usize> {
    let exactly = |name: &str| backends.iter().position(|backend| backend.name == name);
    exactly(name).or_else(|| exactly(name.strip_suffix(".default")?)).or_else(|| {
        let preset = presets::find(name)?;
        backends.iter().position(|backend| preset.names().any(|other| other == backend.name))
    })
}

/// Warns of a backend that no request can go to.
pub(super) fn warn_if_unavailable(at: Cursor<'_>, backend: &Backend) {
    let Some(reason) = &backend.unavailable else { return };
    // That comes first, and has a warning of its own.
    if backend.gate.as_ref().is_some_and(|gate| !gate.is_open()) {
        return;
    }
    let name = &backend.name;
    let warning = at.warning(format!("`{name}` cannot be used: {reason}")).label("its candidates are skipped");
    at.report(match (backend.base_url.is_some(), backend.key_variable) {
        (false, _) => warning.help(format!("set `backends.{name}.base_url`")),
        (true, Some(variable)) if reason.starts_with("no credential") => {
            warning.help(format!("set the environment variable `{variable}`, or `backends.{name}.api_key`"))
        }
        (true, None) if reason.starts_with("no credential") => warning.help(format!("set `backends.{name}.api_key`")),
        _ => warning,
    });
}

/// The backend of exactly this name, else the one that goes by another name of the same preset.
pub(crate) fn find_backend<'a>(backends: &'a [Backend], name: &str) -> Option<&'a Backend> {
    position(backends, name).map(|index| &backends[index])
}
