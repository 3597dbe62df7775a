use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project::pin_project;
use pointsman_layers::{
    body::{AnswerBody, ErrorAnswer, ReplayBody, ReportBody},
    condition::{ConditionGate, ConditionLayer},
    error_count::{ErrorCount, ErrorCountLayer, ErrorReport},
    ext::{Candidate, GateClosed},
    first_event::{FirstEvent, FirstEventBody, FirstEventLayer},
    oauth::{OAuth, OAuthLayer},
    quota::{Quota, QuotaLayer},
    rate_limit_retry::{Backoff, PeekedBody, Policy, RateLimitRetry, RateLimitRetryLayer},
    retry_budget::{LimitRetries, LimitRetriesLayer},
};
use tower::{ServiceBuilder, ServiceExt as _, util::Oneshot};
use tower_service::Service;

use super::{
    State,
    connection::{Connection, CutBody},
    credentials::{self, Source},
    live_models::Lister,
    quota,
};
use crate::{
    config::{AuthForm, Backend, Config, Secret},
    provider::{ClassifyProviderError, Client, Provider, ProviderBody, ProviderError},
};

/// The layers around one provider.
type ProviderStack = ErrorCount<Quota<ConditionGate<RateLimitRetry<OAuth<LimitRetries<Wire>, Source>>>>>;

/// A provider whose answers can be judged by their status.
type Wire = FirstEvent<Provider, ClassifyProviderError>;

/// What a request to a provider is answered with.
pub(super) type ProviderAnswer = AnswerBody<CutBody<StackBody>>;

type StackBody = ReportBody<AnswerBody<AnswerBody<PeekedBody<AnswerBody<AnswerBody<WireBody>>>>>, ErrorReport>;

type WireBody = AnswerBody<FirstEventBody<ProviderBody>>;

/// Every provider by the name of its backend; a request goes to the one that its [`Candidate`] names.
#[derive(Clone, Debug)]
pub(super) struct Providers {
    by_name: Arc<HashMap<String, Slot>>,
}

#[derive(Debug)]
enum Slot {
    Ready(Box<ProviderStack>),
    /// It cannot be used as it is configured, for this reason; its candidates are skipped.
    Unavailable(Arc<str>),
}

impl Providers {
    pub(super) fn new(config: &Config, state: &mut State) -> Self {
        let mut clients = Clients::default();
        let slots = config.backends.iter().map(|backend| {
            let slot = match ready(backend, config, &mut clients, state) {
                Ok(stack) => Slot::Ready(Box::new(stack)),
                Err(reason) => Slot::Unavailable(reason.into()),
            };
            (backend.name.clone(), slot)
        });
        Self { by_name: Arc::new(slots.collect()) }
    }
}

/// The stack of a backend, or why it cannot be used.
fn ready(
    backend: &Backend,
    config: &Config,
    clients: &mut Clients,
    state: &mut State,
) -> Result<ProviderStack, String> {
    if let Some(reason) = backend.why_closed() {
        return Err(reason);
    }
    let provider = provider(backend, clients)?;
    let source = match &backend.oauth {
        Some(oauth) => {
            let source = Source::new(oauth, clients.get(backend.timeouts.connect))?;
            state.credentials.push((backend.name.clone(), source.clone()));
            Some(source)
        }
        None => None,
    };
    quota::register(backend, &config.routes, clients, source.as_ref(), &state.quotas);
    state.backoffs.insert(backend.name.clone(), Backoff::new());
    let credentials = credentials::layer(backend.oauth.as_ref(), source);
    // A preset lists the models of a provider that does not list its own.
    if backend.preset.is_none_or(|preset| preset.models.is_empty()) {
        state.listers.push(Lister::new(&backend.name, provider.clone(), &credentials));
    }
    Ok(stack(backend, provider, credentials, state))
}

/// The layers around one provider, in the order in which a request meets them.
fn stack(backend: &Backend, provider: Provider, credentials: OAuthLayer<Source>, state: &State) -> ProviderStack {
    ServiceBuilder::new()
        // Outside of everything that can answer for the provider, and open to the end of the body.
        .layer(ErrorCountLayer::new(state.errors.window_of(&backend.name, backend.error_window)))
        // Sees every 429 and 402 of the provider, which is when the quota it knows is out of date.
        .layer(QuotaLayer::new(state.quotas.handle(&backend.name)))
        // Has both handles now; a closed gate calls nothing below.
        .layer(ConditionLayer::from_candidate())
        // Below those that have to see what comes of the second try; above the credential, which is looked up anew for it.
        .layer(hold(backend, state.backoffs.get(&backend.name).cloned().unwrap_or_default()))
        // The credential goes in last, so nothing above can log it.
        .layer(credentials)
        // Below all that may send a request again.
        .layer(LimitRetriesLayer::new())
        // Next to the wire, so that all above judge by the status.
        .layer(FirstEventLayer::new().classify(ClassifyProviderError))
        .service(provider)
}

/// The layer that holds a request at a rate limit; for a backend that has none, one that only says that it saw one.
fn hold(backend: &Backend, backoff: Backoff) -> RateLimitRetryLayer {
    let Some(hold) = &backend.hold else {
        return RateLimitRetryLayer::new(Policy::default().enabled(false), backoff);
    };
    RateLimitRetryLayer::new(hold.policy.clone(), backoff).exhausted(hold.exhausted).label(hold.label.as_str())
}

/// The provider of a backend, or why there can be none.
fn provider(backend: &Backend, clients: &mut Clients) -> Result<Provider, String> {
    let builder = backend.base_url.as_ref().and_then(Provider::builder);
    let mut builder = builder.ok_or("no base_url")?;
    if backend.forward_client_auth {
        builder = builder.forward_client_auth();
    }
    if let Some(key) = &backend.api_key {
        let (name, value) = credential(&backend.auth, key).ok_or("the credential cannot be sent as a header")?;
        builder = builder.credential(name, value, key.expose());
    }
    if let Some(dialect) = &backend.dialect {
        builder = builder.dialect(dialect, backend.api_key.as_ref().and_then(|key| credential(&dialect.auth, key)));
    }
    if let Some(oauth) = &backend.oauth {
        builder = builder.credential_from_above(credentials::headers(oauth));
    }
    for (name, value) in &backend.headers {
        builder = builder.header(name.clone(), value.clone());
    }
    Ok(builder.timeouts(backend.timeouts).build(clients.get(backend.timeouts.connect)))
}

/// The header that carries a credential; `None` if no header can.
pub(super) fn credential(auth: &AuthForm, key: &Secret) -> Option<(HeaderName, HeaderValue)> {
    Some((auth.header_name()?, auth.header_value(key.expose()).ok()?))
}

/// One client for each connect timeout that is asked for, so as a rule one.
#[derive(Default)]
pub(super) struct Clients(HashMap<Duration, Client>);

impl Clients {
    pub(super) fn get(&mut self, connect_timeout: Duration) -> Client {
        self.0.entry(connect_timeout).or_insert_with(|| Client::new(connect_timeout)).clone()
    }
}

impl Service<Request<ReplayBody>> for Providers {
    type Response = Response<ProviderAnswer>;
    type Error = ProviderError;
    type Future = ProvidersFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProviderError>> {
        // Which of them has to be ready is known only once the request is here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> ProvidersFuture {
        let connection = request.extensions().get::<Connection>().cloned();
        let name = request.extensions().get::<Candidate>().map(|candidate| &*candidate.provider);
        let stage = match name.and_then(|name| self.by_name.get(name)) {
            Some(Slot::Ready(stack)) => Stage::Calling(Box::pin(stack.as_ref().clone().oneshot(request))),
            Some(Slot::Unavailable(reason)) => Stage::Closed(Some(Arc::clone(reason))),
            None => Stage::Closed(Some(Arc::from("there is no backend of this name"))),
        };
        ProvidersFuture { stage, connection }
    }
}

/// The response future of [`Providers`].
#[pin_project(project = ProvidersFutureProj)]
pub(super) struct ProvidersFuture {
    stage: Stage,
    connection: Option<Connection>,
}

enum Stage {
    /// Boxed, as every layer above moves the futures below it about.
    Calling(Pin<Box<Oneshot<ProviderStack, Request<ReplayBody>>>>),
    Closed(Option<Arc<str>>),
}

impl Future for ProvidersFuture {
    type Output = Result<Response<ProviderAnswer>, ProviderError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ProvidersFutureProj { stage, connection } = self.project();
        match stage {
            Stage::Calling(future) => {
                let in_time = |body| AnswerBody::inner(CutBody::new(body, connection.take()));
                future.as_mut().poll(cx).map_ok(|response| response.map(in_time))
            }
            Stage::Closed(reason) => {
                let reason = reason.take().expect("a future is not polled after it is ready");
                let mut response =
                    ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable", reason.to_string())
                        .into_response();
                response.extensions_mut().insert(GateClosed::new(reason));
                Poll::Ready(Ok(response))
            }
        }
    }
}
