use std::path::Path;

use super::{
    Backend, Config, Environment, HybridOverrides, Severity,
    decode::{Context, Cursor},
    default_backend,
    node::{Node, Value},
    resolve,
};
use crate::{
    near::near,
    provider::presets,
    selector::{Leaf, Selector},
};

/// What the environment and the command line say of the choice of models; it goes before the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The backend for whatever no route takes: a configured one, a preset, or a selector of several.
    pub default_backend: Option<String>,
    /// The model string that is asked for whatever a request says; the presets that it names become backends.
    pub force_model: Option<String>,
    /// How hybrids of two models are made.
    pub hybrid: HybridOverrides,
}

impl Config {
    /// Puts in what the environment and the command line say.
    ///
    /// # Errors
    ///
    /// The name of a backend that is neither configured nor a preset, with the names that are near it; what is wrong with
    /// a model string.
    pub fn apply(&mut self, overrides: Overrides, environment: &dyn Environment) -> Result<(), String> {
        if let Some(text) = overrides.default_backend {
            let mut unknown = None;
            let resolved = default_backend::resolved(&text, |name| {
                self.backend_or_preset(name, environment).map_err(|error| unknown = Some(error)).ok()
            });
            let resolved = resolved.map_err(|error| format!("the default backend `{text}`: {}", error.message()))?;
            match unknown {
                Some(error) => return Err(error),
                None => self.default_backend = resolved,
            }
        }
        if let Some(text) = overrides.force_model {
            let selector =
                Selector::parse(&text).map_err(|error| format!("the forced model `{text}`: {}", error.message()))?;
            for (name, _) in selector.leaves().filter_map(Leaf::split) {
                // Any other name is a part of the model's.
                if presets::find(name).is_some() {
                    self.backend_or_preset(name, environment)?;
                }
            }
            self.force_model = Some(text);
        }
        self.hybrid.apply(overrides.hybrid);
        Ok(())
    }

    /// The name of the backend that `name` means; a preset that is not configured becomes a backend.
    ///
    /// # Errors
    ///
    /// If it is neither, with the names that are near it.
    pub fn backend_or_preset(&mut self, name: &str, environment: &dyn Environment) -> Result<String, String> {
        if let Some(index) = resolve::position(&self.backends, name) {
            return Ok(self.backends[index].name.clone());
        }
        if let Some(preset) = presets::find(name).or_else(|| presets::find_ignoring_case(name)) {
            let node = Node { source: 0, id: 0, value: Value::Null };
            let folder = self.source.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
            let context = Context::new(environment, folder);
            let backend = Backend::from_preset(preset, Cursor { context: &context, node: &node, key: None });
            if let Some(finding) = context.findings.take().into_iter().find(|it| it.severity == Severity::Error) {
                return Err(finding.message);
            }
            self.backends.push(backend);
            return Ok(preset.name.to_owned());
        }
        let configured = self.backends.iter().map(|backend| backend.name.as_str());
        let known =
            configured.chain(presets::PRESETS.iter().flat_map(|preset| preset.names().map(|name| name as &str)));
        let meant: Vec<_> = near(name, known).into_iter().map(|name| format!("`{name}`")).collect();
        let hint = if meant.is_empty() { String::new() } else { format!("; did you mean {}", meant.join(" or ")) };
        Err(format!("there is no backend `{name}`{hint}"))
    }
}
