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
    error_count::{ErrorCount, ErrorCountLayer, ErrorCounts, ErrorReport},
    ext::{Candidate, GateClosed},
    first_event::{FirstEvent, FirstEventBody, FirstEventLayer},
    quota::{Quota, QuotaCache, QuotaLayer},
};
use tower::{ServiceBuilder, ServiceExt as _, util::Oneshot};
use tower_service::Service;

use super::quota;
use crate::{
    config::{AuthForm, Backend, Config, Secret},
    provider::{ClassifyProviderError, Client, Provider, ProviderBody, ProviderError},
};

/// The layers around one provider.
type ProviderStack = ErrorCount<Quota<ConditionGate<FirstEvent<Provider, ClassifyProviderError>>>>;

/// What a request to a provider is answered with.
pub(super) type ProviderAnswer =
    AnswerBody<ReportBody<AnswerBody<AnswerBody<FirstEventBody<ProviderBody>>>, ErrorReport>>;

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
    pub(super) fn new(config: &Config, errors: &ErrorCounts, quotas: &QuotaCache) -> Self {
        let mut clients = Clients::default();
        let slots = config.backends.iter().map(|backend| {
            let slot = match provider(backend, &mut clients) {
                Ok(provider) => {
                    quota::register(backend, &mut clients, quotas);
                    Slot::Ready(Box::new(stack(backend, provider, errors, quotas)))
                }
                Err(reason) => Slot::Unavailable(reason.into()),
            };
            (backend.name.clone(), slot)
        });
        Self { by_name: Arc::new(slots.collect()) }
    }
}

/// The layers around one provider, in the order in which a request meets them.
fn stack(backend: &Backend, provider: Provider, errors: &ErrorCounts, quotas: &QuotaCache) -> ProviderStack {
    ServiceBuilder::new()
        // Outside of everything that can answer for the provider, and open to the end of the body.
        .layer(ErrorCountLayer::new(errors.window_of(&backend.name, backend.error_window)))
        // Sees every 429 and 402 of the provider, which is when the quota it knows is out of date.
        .layer(QuotaLayer::new(quotas.handle(&backend.name)))
        // Has both handles now; a closed gate calls nothing below.
        .layer(ConditionLayer::from_candidate())
        // Next to the wire, so that all above judge by the status.
        .layer(FirstEventLayer::new().classify(ClassifyProviderError))
        .service(provider)
}

/// The provider of a backend, or why there can be none.
fn provider(backend: &Backend, clients: &mut Clients) -> Result<Provider, String> {
    if let Some(reason) = &backend.unavailable {
        return Err(reason.clone());
    }
    let builder = backend.base_url.as_ref().and_then(Provider::builder);
    let mut builder = builder.ok_or("no base_url")?.forward_client_auth(backend.forward_client_auth);
    if let Some(key) = &backend.api_key {
        let (name, value) = credential(&backend.auth, key).ok_or("the credential cannot be sent as a header")?;
        builder = builder.credential(name, value, key.expose());
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
        let name = request.extensions().get::<Candidate>().map(|candidate| &*candidate.provider);
        let state = match name.and_then(|name| self.by_name.get(name)) {
            Some(Slot::Ready(stack)) => State::Calling(stack.as_ref().clone().oneshot(request)),
            Some(Slot::Unavailable(reason)) => State::Closed(Some(Arc::clone(reason))),
            None => State::Closed(Some(Arc::from("there is no backend of this name"))),
        };
        ProvidersFuture { state }
    }
}

/// The response future of [`Providers`].
#[pin_project]
pub(super) struct ProvidersFuture {
    #[pin]
    state: State,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "the large variant is the usual one")]
enum State {
    Calling(#[pin] Oneshot<ProviderStack, Request<ReplayBody>>),
    Closed(Option<Arc<str>>),
}

impl Future for ProvidersFuture {
    type Output = Result<Response<ProviderAnswer>, ProviderError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Calling(future) => future.poll(cx).map_ok(|response| response.map(AnswerBody::inner)),
            StateProj::Closed(reason) => {
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
