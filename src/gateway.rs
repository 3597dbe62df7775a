//! The gateway: the layers around the providers, as one service.
//!
//! [`Gateway`] is a tower service over any request body. Mount it in an axum app with `Router::nest_service`, hand it to
//! hyper, or run it with [`server`](crate::server). The stack it is made of stands in one place, the `build` function of
//! this file; read it from the top for the way of a request.

mod api;
mod bad_keys;
mod client_keys;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod error_shape;
mod explain;
mod health;
mod hybrid;
mod in_flight;
mod live_models;
mod models;
mod providers;
mod quota;
mod report;
pub(crate) mod request_id;
mod resolver;
mod select;
mod sensitive;

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use pointsman_layers::{
    body::{AnswerBody, Collect, CollectLayer, ErrorAnswer},
    error_count::ErrorCounts,
    quota::QuotaCache,
    rate_limit_retry::Backoff,
    retry_budget::{CountRequests, CountRequestsLayer, RetryBudget},
    route::RouteLayer,
};
use tower::ServiceBuilder;
use tower_http::{
    body::UnsyncBoxBody,
    catch_panic::{CatchPanic, CatchPanicLayer},
    classify::{NeverClassifyEos, ServerErrorsAsFailures, ServerErrorsFailureClass, SharedClassifier},
    trace::{Trace, TraceLayer},
    validate_request::{ValidateRequestHeader, ValidateRequestHeaderLayer},
};
use tower_service::Service;

use self::{
    api::Api,
    bad_keys::{SlowBadKeys, SlowBadKeysLayer},
    client_keys::ClientKeys,
    credentials::Source,
    error_shape::{ErrorShape, ErrorShapeLayer},
    explain::Explainer,
    health::Health,
    hybrid::Hybrids,
    in_flight::{InFlight, InFlightBody, InFlightLayer},
    live_models::{Lister, LiveModels, LiveModelsLayer},
    models::Models,
    providers::Providers,
    report::{PanicAnswer, Report, ReportLayer},
    request_id::{RequestIdLayer, RequestSpan, SetRequestId},
    resolver::Resolver,
    select::{Select, SelectBody, SelectLayer},
    sensitive::{MarkSensitive, SensitiveLayer},
};
use crate::{
    config::{self, Config},
    provider::ClassifyProviderError,
};

pub use self::explain::{CandidateExplanation, Explanation, ParameterExplanation};

type BoxError = Box<dyn Error + Send + Sync>;

/// What a request is answered with, from its place among those under way inward.
type CoreBody = InFlightBody<AnswerBody<SelectBody>>;

type Selected = InFlight<Collect<Report<CountRequests<Select>>>>;
type Checked<S, V> = ValidateRequestHeader<S, V>;
type Guarded = Checked<Checked<LiveModels<Checked<Selected, Api>>, ClientKeys>, Health>;
type Caught = CatchPanic<SlowBadKeys<Guarded>, PanicAnswer>;
type Traced = Trace<ErrorShape<Caught>, SharedClassifier<ServerErrorsAsFailures>, RequestSpan, (), (), (), (), ()>;
type TracedBody = tower_http::trace::ResponseBody<
    AnswerBody<UnsyncBoxBody<Bytes, BoxError>>,
    NeverClassifyEos<ServerErrorsFailureClass>,
    (),
    (),
    (),
>;
type Stack = SetRequestId<MarkSensitive<Traced>>;

/// A whole gateway as a tower service.
///
/// It takes requests with any body, always answers, and is cheap to clone: clones share their state.
///
/// ```
/// use http::Request;
/// use pointsman::{Config, Gateway};
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let loaded = Config::from_yaml(
///     r#"
/// models:
///   - name: small
///     providers:
///       - { provider: local, model: "llama3:8b" }
/// backends:
///   local: { type: openai, base_url: "http://127.0.0.1:11434/v1" }
/// "#,
/// )?;
/// let gateway = Gateway::from_config(loaded.config);
///
/// let response = gateway.oneshot(Request::get("/v1/models").body(String::new())?).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gateway {
    stack: Stack,
    state: Arc<State>,
    health: health::Status,
    explainer: Explainer,
}

/// What the gateway remembers between requests, by the name of a backend.
#[derive(Default)]
struct State {
    errors: ErrorCounts,
    quotas: QuotaCache,
    /// Where the tokens come from of the backends that have a login.
    credentials: Vec<(String, Source)>,
    backoffs: HashMap<String, Backoff>,
    /// The backends that can be asked for their models, until the stack is built.
    listers: Vec<Lister>,
}

impl State {
    /// How long requests to this backend still wait for a rate limit to pass, if they do.
    fn backoff(&self, backend: &str) -> Option<Duration> {
        self.backoffs.get(backend)?.remaining()
    }
}

impl Gateway {
    /// Puts the layers around the providers of `config`.
    pub fn from_config(config: Config) -> Self {
        Self::assemble(&config, fastrand::Rng::new())
    }

    /// The same with a seed for what is drawn by chance: the orders of weighted choices, and which hybrids reason. Two
    /// gateways of one seed that get the same requests one after the other draw the same.
    pub fn with_seed(config: Config, seed: u64) -> Self {
        Self::assemble(&config, fastrand::Rng::with_seed(seed))
    }

    fn assemble(config: &Config, mut random: fastrand::Rng) -> Self {
        let config::RetryBudget { ratio, floor, burst } = config.server.retry_budget;
        let retries = RetryBudget::new().ratio(ratio).floor(floor).burst(burst);
        let mut state = State::default();
        // The innermost part comes first, for it tells which credential files there are.
        let providers = Providers::new(config, &mut state);
        let health = health::Status::new(config, &state.credentials);
        let listers = std::mem::take(&mut state.listers);
        let (state, resolver) = (Arc::new(state), Arc::new(Resolver::new(config, random.fork())));
        let explainer = Explainer::new(Arc::clone(&resolver), Arc::clone(&state));
        let select = SelectLayer::new(resolver, Hybrids::new(config.hybrid.clone(), random));
        let stack = build(config, health.clone(), listers, explainer.clone(), select, retries, providers);
        Self { stack, state, health, explainer }
    }

    /// What a model string leads to, and what each gate on the way says now. Nothing is fetched or sent for it.
    ///
    /// # Errors
    ///
    /// What a client that asks for it would be told: what is wrong with the model string, or that there is no such model.
    pub fn explain(&self, model: &str) -> Result<Explanation, ErrorAnswer> {
        self.explainer.explain(model)
    }

    /// The errors counted for each backend.
    pub fn error_counts(&self) -> &ErrorCounts {
        &self.state.errors
    }

    /// The quotas known of each backend.
    pub fn quotas(&self) -> &QuotaCache {
        &self.state.quotas
    }

    /// Turns `/readyz` to 503 from now on, as a server does before it stops. Requests are still answered.
    pub fn drain(&self) {
        self.health.drain();
    }

    /// Waits until no credential is being renewed: a renewed one must not be lost when the process ends.
    pub async fn settle(&self) {
        for (_, source) in &self.state.credentials {
            source.file().settle().await;
        }
    }
}

/// The stack, in the order in which a request meets it.
fn build(
    config: &Config,
    health: health::Status,
    listers: Vec<Lister>,
    explainer: Explainer,
    select: SelectLayer,
    retries: RetryBudget,
    providers: Providers,
) -> Stack {
    let server = &config.server;
    let instance = instance_id();
    let models = Arc::new(Models::of(config));
    ServiceBuilder::new()
        // Outermost, so that every line in the log and every answer carries the id, refusals included.
        .layer(RequestIdLayer::new(instance.clone()))
        // Before anything could print a header.
        .layer(SensitiveLayer)
        // What each layer logs stands in the span of its request.
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(RequestSpan)
                .on_request(())
                .on_response(())
                .on_body_chunk(())
                .on_eos(())
                .on_failure(()),
        )
        // Around everything that answers by itself, a panic included.
        .layer(ErrorShapeLayer)
        // Around everything that could panic: one request fails with a 500, the connection and the process live on.
        .layer(CatchPanicLayer::custom(PanicAnswer))
        // Around the keys, whose answers it keeps back.
        .layer(SlowBadKeysLayer::default())
        // Before the keys: what asks for health has none.
        .layer(ValidateRequestHeaderLayer::custom(Health::new(health)))
        // Before a byte of the body is read, so that strangers cost nothing.
        .layer(ValidateRequestHeaderLayer::custom(ClientKeys::new(&server.api_keys)))
        // The one list that is not known beforehand.
        .layer(LiveModelsLayer::new(Arc::clone(&models), listers))
        // Answers what needs no provider and refuses what leads nowhere, still without the body.
        .layer(ValidateRequestHeaderLayer::custom(Api::new(
            models,
            explainer,
            instance,
            config.default_backend.is_some(),
        )))
        // Before anything is held for the request; what needs no provider has been answered, overload or not.
        .layer(InFlightLayer::new(server.max_in_flight))
        // From here on the body is in memory and can be sent again.
        .layer(CollectLayer::new(server.body_limit).frame_timeout(server.body_timeout))
        // Tells the client and the log what the route did.
        .layer(ReportLayer)
        // Pays for what is sent more than once; see `providers` for who takes it.
        .layer(CountRequestsLayer::new(retries))
        // Reads the model string: which route, with which parameters; for a hybrid, which two, one after the other.
        .layer(select)
        // Candidates in order; the first that works.
        .layer(RouteLayer::new(()).classify(ClassifyProviderError))
        // One stack for each provider: see `providers`.
        .service(providers)
}

/// Tells this gateway from every other one that a request may pass through.
pub(crate) fn instance_id() -> HeaderValue {
    use std::hash::{BuildHasher as _, RandomState};

    let random = RandomState::new().hash_one(std::process::id());
    HeaderValue::try_from(format!("{random:016x}")).expect("hexadecimal digits")
}

impl<B> Service<Request<B>> for Gateway
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<GatewayBody>;
    type Error = Infallible;
    type Future = GatewayFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Nothing in the stack makes a request wait before it is here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> GatewayFuture {
        GatewayFuture(Box::pin(self.stack.call(request)))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// The response future of [`Gateway`]; boxed, as the finished gateway is a border.
pub struct GatewayFuture(Pin<Box<dyn Future<Output = Result<Response<TracedBody>, Infallible>> + Send>>);

impl Future for GatewayFuture {
    type Output = Result<Response<GatewayBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map_ok(|response| response.map(GatewayBody))
    }
}

impl fmt::Debug for GatewayFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayFuture").finish_non_exhaustive()
    }
}

/// The response body of [`Gateway`].
#[pin_project]
pub struct GatewayBody(#[pin] TracedBody);

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for GatewayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBody").finish_non_exhaustive()
    }
}
