use std::collections::{HashMap, HashSet};

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
    models: Vec<Model>,
}

/// A model as OpenAI's API lists it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
}

impl Model {
    /// A model that says when it was made, in seconds since 1970, and not whose it is.
    pub(super) fn new(id: String, created: u64) -> Self {
        Self { id, object: "model", created, owned_by: String::new() }
    }

    fn owned_by(&self, owner: &str) -> Self {
        Self { owned_by: owner.to_owned(), ..self.clone() }
    }
}

impl Models {
    pub(super) fn of(config: &Config) -> Self {
        let named = named(config).into_iter();
        let models: Vec<_> = named.map(|(id, owner)| Model::new(id.to_owned(), 0).owned_by(owner)).collect();
        Self {
            list: list(&models),
            by_id: models.iter().map(|model| (model.id.clone(), json(model))).collect(),
            models,
        }
    }

    /// The list with the models that backends have beside those that are known by name.
    pub(super) fn list_with(&self, listed: &[(&str, Vec<Model>)]) -> Bytes {
        let further = listed.iter().flat_map(|(backend, models)| models.iter().map(|model| model.owned_by(backend)));
        let mut seen: HashSet<String> = self.names().map(str::to_owned).collect();
        let further = further.filter(|model| seen.insert(model.id.clone()));
        list(&self.models.iter().cloned().chain(further).collect::<Vec<_>>())
    }

    pub(super) fn list(&self) -> Bytes {
        self.list.clone()
    }

    pub(super) fn get(&self, id: &str) -> Option<Bytes> {
        self.by_id.get(id).cloned()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.id.as_str())
    }
}

fn list(models: &[Model]) -> Bytes {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: &'a [Model],
    }
    json(&List { object: "list", data: models })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers always serialize").into()
}

/// The models by name and owner; a route shadows a backend's model of the same name, an earlier backend a later one's.
pub(super) fn named(config: &Config) -> Vec<(&str, &str)> {
    let routes = config.routes.iter().map(|route| (route.name.as_str(), "pointsman"));
    let backends = config.backends.iter().filter(|backend| backend.why_closed().is_none());
    let models =
        backends.flat_map(|backend| backend.models.iter().map(|model| (model.as_str(), backend.name.as_str())));
    let mut seen = HashSet::new();
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
