use http::Request;
use pointsman_layers::{
    body::{ErrorAnswer, ReplayBody},
    route::{ModelField, Resolve, Resolved, Routes, model_not_found},
};

use super::models;
use crate::config::Config;

/// Finds the route for a request's `model`.
#[derive(Debug)]
pub(super) struct Resolver {
    routes: Routes,
    default_backend: Option<String>,
}

impl Resolver {
    pub(super) fn new(config: &Config) -> Self {
        Self { routes: models::routes(config), default_backend: config.default_backend.clone() }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, request: &Request<ReplayBody>) -> Result<Resolved, ErrorAnswer> {
        let body = request.body().to_bytes();
        let model = ModelField::find(&body)?;
        let route = match (self.routes.get(&model.name), &self.default_backend) {
            (Some(route), _) => route.clone(),
            (None, Some(backend)) => models::direct(backend, &model.name),
            (None, None) => return Err(model_not_found(&model.name, self.routes.names())),
        };
        Ok(Resolved { route, model: Some(model.span) })
    }
}
