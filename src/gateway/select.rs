use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use http_body_util::Either;
use pin_project::pin_project;
use pointsman_layers::{
    body::{AnswerBody, ReplayBody},
    route::{RouteBody, RouteFuture, Router},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    hybrid::{HybridBody, Hybrids},
    providers::{ProviderAnswer, Providers},
    resolver::{Resolver, Selection},
};
use crate::provider::ClassifyProviderError;

/// The router of a gateway. It resolves nothing: what a request asks for is known before.
pub(super) type Routed = Router<Providers, (), ClassifyProviderError>;

type RoutedFuture = RouteFuture<Providers, ClassifyProviderError, ProviderAnswer>;
type RoutedBody = RouteBody<AnswerBody<ProviderAnswer>>;
type BothBody = HybridBody<<RoutedBody as Body>::Error>;

/// What a route answers with, or a hybrid.
pub(super) type SelectBody = Either<RoutedBody, BothBody>;

/// Finds out what a request asks for, and sends it there.
#[derive(Clone, Debug)]
pub(super) struct SelectLayer {
    resolver: Arc<Resolver>,
    hybrids: Arc<Hybrids>,
}

impl SelectLayer {
    pub(super) fn new(resolver: Arc<Resolver>, hybrids: Hybrids) -> Self {
        Self { resolver, hybrids: Arc::new(hybrids) }
    }
}

impl Layer<Routed> for SelectLayer {
    type Service = Select;

    fn layer(&self, router: Routed) -> Select {
        Select { router, resolver: Arc::clone(&self.resolver), hybrids: Arc::clone(&self.hybrids) }
    }
}

/// The service of [`SelectLayer`].
#[derive(Clone, Debug)]
pub(super) struct Select {
    router: Routed,
    resolver: Arc<Resolver>,
    hybrids: Arc<Hybrids>,
}

impl Service<Request<ReplayBody>> for Select {
    type Response = Response<SelectBody>;
    type Error = Infallible;
    type Future = SelectFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Where a request goes is known only once it is here.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> SelectFuture {
        let resolved = match self.resolver.select(&request) {
            Ok(Selection::Route(resolved)) => Ok(resolved),
            Ok(Selection::Hybrid(sides)) => {
                let router = self.router.clone();
                let send = move |request, resolved| router.send(request, Ok(resolved));
                let answer = Arc::clone(&self.hybrids).answer(send, request, sides);
                return SelectFuture::Hybrid(Box::pin(answer));
            }
            Err(answer) => Err(answer),
        };
        SelectFuture::Route(Box::pin(self.router.send(request, resolved)))
    }
}

/// The response future of [`Select`].
#[pin_project(project = SelectFutureProj)]
pub(super) enum SelectFuture {
    /// Boxed, as every layer above moves the futures below it about.
    Route(Pin<Box<RoutedFuture>>),
    /// There are two models behind it.
    Hybrid(Pin<Box<dyn Future<Output = Response<BothBody>> + Send>>),
}

impl Future for SelectFuture {
    type Output = Result<Response<SelectBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            SelectFutureProj::Route(future) => future.as_mut().poll(cx).map_ok(|response| response.map(Either::Left)),
            SelectFutureProj::Hybrid(future) => {
                future.as_mut().poll(cx).map(|response| Ok(response.map(Either::Right)))
            }
        }
    }
}
