use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use pointsman_layers::{
    body::{AnswerBody, ErrorAnswer, ReplayBody},
    route::{RouteBody, RouteFuture, Router},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    providers::{ProviderAnswer, Providers},
    resolver::{Resolver, Selection},
};
use crate::provider::ClassifyProviderError;

/// The router of a gateway. It resolves nothing: what a request asks for is known before.
pub(super) type Routed = Router<Providers, (), ClassifyProviderError>;

/// Finds out what a request asks for, and sends it there.
#[derive(Clone, Debug)]
pub(super) struct SelectLayer {
    resolver: Arc<Resolver>,
}

impl SelectLayer {
    pub(super) fn new(resolver: Arc<Resolver>) -> Self {
        Self { resolver }
    }
}

impl Layer<Routed> for SelectLayer {
    type Service = Select;

    fn layer(&self, router: Routed) -> Select {
        Select { router, resolver: Arc::clone(&self.resolver) }
    }
}

/// The service of [`SelectLayer`].
#[derive(Clone, Debug)]
pub(super) struct Select {
    router: Routed,
    resolver: Arc<Resolver>,
}

impl Service<Request<ReplayBody>> for Select {
    type Response = Response<RouteBody<AnswerBody<ProviderAnswer>>>;
    type Error = Infallible;
    type Future = RouteFuture<Providers, ClassifyProviderError, ProviderAnswer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Where a request goes is known only once it is here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> Self::Future {
        let selected = self.resolver.select(&request).and_then(|selection| match selection {
            Selection::Route(resolved) => Ok(resolved),
            Selection::Hybrid(hybrid) => {
                let names = format!("{} and {}", hybrid.reasoning.name(), hybrid.execution.name());
                let message = format!("a hybrid of {names} cannot be served here");
                Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, "hybrid_disabled", message).param("model"))
            }
        });
        self.router.send(request, selected)
    }
}
