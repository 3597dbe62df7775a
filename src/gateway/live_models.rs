//! `GET /v1/models?live=true`: what the backends themselves say they have.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use pin_project::pin_project;
use pointsman_layers::{
    body::ReplayBody,
    oauth::{OAuth, OAuthLayer},
};
use serde_json::Value;
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::{Instant, timeout},
};
use tower::ServiceExt as _;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    CoreBody, api,
    credentials::Source,
    models::{Model, Models},
};
use crate::provider::Provider;

/// How long a list is good.
const TTL: Duration = Duration::from_secs(10 * 60);
/// How long one is good in which a backend is missing that may answer the next time.
const SHORT_TTL: Duration = Duration::from_secs(60);
/// How long a backend may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many backends are asked at a time.
const AT_A_TIME: usize = 8;
/// The largest list has some thousand models, with a page about each.
const ANSWER_LIMIT: usize = 8 << 20;

/// A backend that can be asked for its models, with its own credential.
pub(super) struct Lister {
    backend: String,
    service: OAuth<Provider, Source>,
}

impl Lister {
    pub(super) fn new(backend: &str, provider: Provider, credentials: &OAuthLayer<Source>) -> Self {
        Self { backend: backend.to_owned(), service: credentials.layer(provider) }
    }

    /// The backend's models, or why there are none to be had.
    async fn list(service: OAuth<Provider, Source>) -> Result<Vec<Model>, String> {
        let mut request = Request::new(ReplayBody::default());
        *request.uri_mut() = Uri::from_static("/v1/models");
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let response = service.oneshot(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        read(&body).ok_or_else(|| "the answer is no list of models".to_owned())
    }
}

/// The ids in a list as OpenAI's API gives it, or in one without the object around.
fn read(body: &[u8]) -> Option<Vec<Model>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let models = answer.get("data").unwrap_or(&answer).as_array()?;
    let id = |model: &Value| Some(model.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned());
    let created = |model: &Value| model.get("created").and_then(Value::as_u64).unwrap_or_default();
    Some(models.iter().filter_map(|model| Some(Model::new(id(model)?, created(model)))).collect())
}

/// Answers requests for the live list; everything else passes.
#[derive(Clone)]
pub(super) struct LiveModelsLayer(Arc<Live>);

struct Live {
    models: Arc<Models>,
    listers: Vec<Lister>,
    /// The last list, and until when it is good. Whoever makes a new one holds the lock, and the others wait for it.
    list: Mutex<Option<(Instant, Bytes)>>,
}

impl LiveModelsLayer {
    pub(super) fn new(models: Arc<Models>, listers: Vec<Lister>) -> Self {
        Self(Arc::new(Live { models, listers, list: Mutex::default() }))
    }
}

impl Live {
    async fn list(&self) -> Bytes {
        let mut list = self.list.lock().await;
        if let Some((until, list)) = list.as_ref().filter(|(until, _)| *until > Instant::now()) {
            tracing::trace!(left = ?until.duration_since(Instant::now()), "the live list of models is known");
            return list.clone();
        }
        let (answered, listed) = self.ask().await;
        let ttl = if answered == self.listers.len() { TTL } else { SHORT_TTL };
        let new = self.models.list_with(&listed);
        *list = Some((Instant::now() + ttl, new.clone()));
        new
    }

    /// How many backends answered, and the models of each backend in the order of the configuration.
    async fn ask(&self) -> (usize, Vec<(&str, Vec<Model>)>) {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        let mut asked = JoinSet::new();
        for (index, lister) in self.listers.iter().enumerate() {
            let (places, service) = (Arc::clone(&places), lister.service.clone());
            asked.spawn(async move {
                let _place = places.acquire().await;
                let listed = timeout(TIMEOUT, Lister::list(service)).await;
                (index, listed.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}"))))
            });
        }
        let mut listed: Vec<_> = self.listers.iter().map(|lister| (lister.backend.as_str(), Vec::new())).collect();
        let mut answered = 0;
        while let Some(asked) = asked.join_next().await {
            match asked {
                Ok((index, Ok(models))) => {
                    answered += 1;
                    listed[index].1 = models;
                }
                Ok((index, Err(reason))) => {
                    tracing::warn!(backend = listed[index].0, reason, "the backend's models could not be listed");
                }
                Err(error) => tracing::error!(%error, "listing a backend's models panicked"),
            }
        }
        (answered, listed)
    }
}

impl<S> Layer<S> for LiveModelsLayer {
    type Service = LiveModels<S>;

    fn layer(&self, inner: S) -> LiveModels<S> {
        LiveModels { inner, live: Arc::clone(&self.0) }
    }
}

/// The service of [`LiveModelsLayer`].
#[derive(Clone)]
pub(super) struct LiveModels<S> {
    inner: S,
    live: Arc<Live>,
}

fn asks_for_live_list<B>(request: &Request<B>) -> bool {
    let uri = request.uri();
    let wants = uri.query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "live=true" | "live=1")));
    // Without such a query, this is all that it costs.
    wants && *request.method() == Method::GET && api::is_model_list(uri.path())
}

impl<S, B> Service<Request<B>> for LiveModels<S>
where
    S: Service<Request<B>, Response = Response<CoreBody>>,
{
    type Response = Response<CoreBody>;
    type Error = S::Error;
    type Future = LiveModelsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> LiveModelsFuture<S::Future> {
        if !asks_for_live_list(&request) {
            return LiveModelsFuture::Passed(self.inner.call(request));
        }
        let live = Arc::clone(&self.live);
        LiveModelsFuture::Listing(Box::pin(async move { live.list().await }))
    }
}

/// The response future of [`LiveModels`].
#[pin_project(project = LiveModelsFutureProj)]
pub(super) enum LiveModelsFuture<F> {
    Passed(#[pin] F),
    /// Boxed, as it is rare and large.
    Listing(Pin<Box<dyn Future<Output = Bytes> + Send>>),
}

impl<F, E> Future for LiveModelsFuture<F>
where
    F: Future<Output = Result<Response<CoreBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            LiveModelsFutureProj::Passed(future) => future.poll(cx),
            LiveModelsFutureProj::Listing(list) => list.as_mut().poll(cx).map(|list| Ok(api::json(list))),
        }
    }
}
