use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use pointsman_layers::body::AnswerBody;
use serde_json::json;
use tower_http::validate_request::ValidateRequest;

use super::{CoreBody, credentials::Source};
use crate::config::Config;

/// Answers `/health`, `/healthz` (the process runs) and `/readyz` (it can serve every route).
#[derive(Clone, Debug)]
pub(super) struct Health(Status);

impl Health {
    pub(super) fn new(status: Status) -> Self {
        Self(status)
    }
}

/// Whether the gateway is ready, shared with whoever stops it.
#[derive(Clone, Debug)]
pub(super) struct Status {
    draining: Arc<AtomicBool>,
    /// The routes of which no candidate can ever be used as configured, each with the reasons.
    unusable: Arc<[(String, Vec<String>)]>,
    /// Where tokens come from, by the name of their backend.
    credentials: Arc<[(String, Source)]>,
}

impl Status {
    pub(super) fn new(config: &Config, credentials: &[(String, Source)]) -> Self {
        let unusable = config.routes.iter().filter_map(|route| {
            let reasons = route.candidates.iter().map(|candidate| {
                let backend = config.backend(&candidate.backend)?;
                Some(format!("{}: {}", backend.name, backend.why_closed()?))
            });
            // One candidate without a reason is enough.
            Some((route.name.clone(), reasons.collect::<Option<Vec<_>>>()?))
        });
        Self { draining: Arc::default(), unusable: unusable.collect(), credentials: credentials.into() }
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The process runs, so this is a 200; what is wrong with a credential is for a person to mend.
    fn healthy(&self) -> Response<CoreBody> {
        let problems: serde_json::Map<_, _> = self
            .credentials
            .iter()
            .filter_map(|(backend, source)| Some((backend.clone(), source.problem()?.into())))
            .collect();
        let mut health = json!({"status": "ok"});
        if !problems.is_empty() {
            health["credential_problems"] = problems.into();
        }
        answer(StatusCode::OK, &health)
    }

    fn ready(&self) -> Response<CoreBody> {
        if self.draining.load(Ordering::Relaxed) {
            return answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "draining"}));
        }
        if self.unusable.is_empty() {
            return answer(StatusCode::OK, &json!({"status": "ready"}));
        }
        let routes = self.unusable.iter().map(|(route, reasons)| json!({"route": route, "reasons": reasons}));
        let routes: Vec<_> = routes.collect();
        answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "unusable_routes": routes}))
    }
}

fn answer(status: StatusCode, json: &serde_json::Value) -> Response<CoreBody> {
    let mut response = Response::new(AnswerBody::own(json.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl<B> ValidateRequest<B> for Health {
    type ResponseBody = CoreBody;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<CoreBody>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        match request.uri().path() {
            "/health" | "/healthz" => Err(self.0.healthy()),
            "/readyz" => Err(self.0.ready()),
            _ => Ok(()),
        }
    }
}
