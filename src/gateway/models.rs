use std::collections::HashMap;

use bytes::Bytes;
use pointsman_layers::route::Target;
use serde::Serialize;

use crate::{
    config::{Backend, Config},
    selector::Parameter,
};

/// Every model that a client may ask for by name, and where it leads: the routes, then the backends' models, then
/// whatever the default backend makes of any other name.
#[derive(Debug)]
pub(super) struct Models {
    list: Bytes,
    by_id: HashMap<String, Bytes>,
    names: Vec<String>,
}

/// A model as OpenAI's API lists it.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: &'a [Model<'a>],
}

impl Models {
    pub(super) fn of(config: &Config) -> Self {
        let owned = named(config);
        let models: Vec<_> =
            owned.iter().map(|(id, owned_by)| Model { id, object: "model", created: 0, owned_by }).collect();
        let text = |value: Result<Vec<u8>, _>| Bytes::from(value.expect("strings and numbers always serialize"));
        Self {
            list: text(serde_json::to_vec(&List { object: "list", data: &models })),
            by_id: models.iter().map(|model| (model.id.to_owned(), text(serde_json::to_vec(model)))).collect(),
            names: owned.iter().map(|(id, _)| (*id).to_owned()).collect(),
        }
    }

    pub(super) fn list(&self) -> Bytes {
        self.list.clone()
    }

    pub(super) fn get(&self, id: &str) -> Option<Bytes> {
        self.by_id.get(id).cloned()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// The models by name and owner; a route shadows a backend's model of the same name, an earlier backend a later one's.
pub(super) fn named(config: &Config) -> Vec<(&str, &str)> {
    let routes = config.routes.iter().map(|route| (route.name.as_str(), "pointsman"));
    let backends = config.backends.iter().filter(|backend| backend.why_closed().is_none());
    let models =
        backends.flat_map(|backend| backend.models.iter().map(|model| (model.as_str(), backend.name.as_str())));
    let mut seen = std::collections::HashSet::new();
    routes.chain(models).filter(|(id, _)| seen.insert(*id)).collect()
}

/// A model at a backend, without the prefix by which that backend's own programs call it, and with the parameters that
/// it is to be sent: the backend's forced ones go before those that are asked for, these before what the body says, and
/// that before the backend's defaults.
pub(super) fn target(backend: &Backend, model: &str, asked_for: &[Parameter]) -> Target {
    let prefix = backend.preset.and_then(|preset| preset.model_prefix).unwrap_or_default();
    let target = Target::new(backend.name.as_str(), model.strip_prefix(prefix).unwrap_or(model));
    let target =
        asked_for.iter().fold(target, |target, parameter| target.parameter(parameter.name, parameter.value.clone()));
    let target =
        backend.forced_params.iter().fold(target, |target, (name, value)| target.parameter(name, value.clone()));
    backend.default_params.iter().fold(target, |target, (name, value)| target.default_parameter(name, value.clone()))
}
