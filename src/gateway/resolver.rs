use std::sync::Arc;

use http::{Request, StatusCode};
use pointsman_layers::{
    body::{ErrorAnswer, ReplayBody},
    route::{ModelField, Resolve, Resolved, Route, Routes, model_not_found},
};

use super::models;
use crate::config::{Backend, Config};

/// Finds the route for a request's `model`: the forced one, a route, a model that a backend lists, the default backend.
#[derive(Debug)]
pub(super) struct Resolver {
    routes: Routes,
    force_model: Option<String>,
    default: Option<Default>,
}

/// Where a model goes that nothing else takes.
#[derive(Debug)]
struct Default {
    backend: Backend,
    /// The answer of a backend whose gate is closed.
    disabled: Option<ErrorAnswer>,
}

impl Resolver {
    pub(super) fn new(config: &Config) -> Self {
        let default = config.default_backend.as_deref().and_then(|name| config.backend(name)).map(|backend| {
            let gate = backend.gate.as_ref().filter(|gate| !gate.is_open());
            let disabled = gate
                .map(|gate| ErrorAnswer::new(StatusCode::FORBIDDEN, "backend_disabled", gate.reason(&backend.name)));
            Default { backend: backend.clone(), disabled }
        });
        Self { routes: models::routes(config), force_model: config.force_model.clone(), default }
    }

    fn route(&self, model: &str) -> Result<Arc<Route>, ErrorAnswer> {
        match (self.routes.get(model), &self.default) {
            (Some(route), _) => Ok(Arc::clone(route)),
            (None, Some(Default { disabled: Some(answer), .. })) => Err(answer.clone()),
            (None, Some(default)) => Ok(models::direct(&default.backend, model)),
            (None, None) => Err(model_not_found(model, self.routes.names())),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, request: &Request<ReplayBody>) -> Result<Resolved, ErrorAnswer> {
        let body = request.body().to_bytes();
        let model = ModelField::find(&body)?;
        let route = self.route(self.force_model.as_deref().unwrap_or(&model.name))?;
        Ok(Resolved { route, model: Some(model.span) })
    }
}
