use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use pointsman_layers::route::{Route, Routes, Target};
use serde::Serialize;

use crate::config::{Backend, Config};

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
        let owned = named_models(config);
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
fn named_models(config: &Config) -> Vec<(&str, &str)> {
    let routes = config.routes.iter().map(|route| (route.name.as_str(), "pointsman"));
    let backends = config.backends.iter().filter(|backend| backend.why_closed().is_none());
    let models =
        backends.flat_map(|backend| backend.models.iter().map(|model| (model.as_str(), backend.name.as_str())));
    let mut seen = std::collections::HashSet::new();
    routes.chain(models).filter(|(id, _)| seen.insert(*id)).collect()
}

/// The routes of the configuration, and one of a single candidate for each model that a backend lists.
pub(super) fn routes(config: &Config) -> Routes {
    let configured = config.routes.iter().map(|route| {
        let mut built = Route::new(route.name.as_str())
            .commit(route.commit)
            .total_timeout(route.total_timeout)
            .fallback_on_ambiguous(route.fallback_on_ambiguous);
        if let Some(attempts) = route.max_attempts {
            built = built.max_attempts(attempts);
        }
        if let Some(statuses) = &route.fallback_on {
            built =
                built.fallback_on(statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()).collect());
        }
        route.candidates.iter().fold(built, |built, candidate| {
            let target = target(config.backend(&candidate.backend), &candidate.backend, &candidate.model)
                .on_unknown(candidate.on_unknown);
            built.candidate(match &candidate.condition {
                Some(condition) => target.condition(condition.clone()),
                None => target,
            })
        })
    });
    let named: HashMap<&str, &str> = named_models(config).into_iter().skip(config.routes.len()).collect();
    let listed = named
        .into_iter()
        .map(|(model, backend)| Route::new(model).candidate(target(config.backend(backend), backend, model)));
    configured.chain(listed).collect()
}

/// A route to one backend for a model that nothing lists.
pub(super) fn direct(backend: &Backend, model: &str) -> Arc<Route> {
    Arc::new(Route::new(model).candidate(target(Some(backend), &backend.name, model)))
}

/// A model at a backend, without the prefix by which that backend's own programs call it.
fn target(backend: Option<&Backend>, name: &str, model: &str) -> Target {
    let prefix = backend.and_then(|backend| backend.preset).and_then(|preset| preset.model_prefix).unwrap_or_default();
    Target::new(name, model.strip_prefix(prefix).unwrap_or(model))
}
