use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Resolve, Resolved, RouteBody, RouteFuture};
use crate::{
    body::{AnswerBody, ErrorAnswer, ReplayBody},
    ext::ClassifyFailure,
};

/// The service of [`RouteLayer`](super::RouteLayer); see the [module docs](super).
#[derive(Debug)]
pub struct Router<S, R, C> {
    inner: S,
    resolver: Arc<R>,
    classify: C,
}

impl<S, R, C> Router<S, R, C> {
    pub(super) fn new(inner: S, resolver: Arc<R>, classify: C) -> Self {
        Self { inner, resolver, classify }
    }

    inner_service_accessors!();
}

impl<S, R, C> Router<S, R, C>
where
    S: Service<Request<ReplayBody>> + Clone,
    C: Clone,
{
    /// Sends a request along a route that was found, or refused, without asking the resolver.
    pub fn send<B>(
        &self,
        request: Request<ReplayBody>,
        resolved: Result<Resolved, ErrorAnswer>,
    ) -> RouteFuture<S, C, B> {
        match resolved {
            Ok(resolved) => RouteFuture::new(self.inner.clone(), self.classify.clone(), request, resolved),
            Err(answer) => RouteFuture::refused(answer),
        }
    }
}

impl<S: Clone, R, C: Clone> Clone for Router<S, R, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), resolver: Arc::clone(&self.resolver), classify: self.classify.clone() }
    }
}

impl<S, R, C, B> Service<Request<ReplayBody>> for Router<S, R, C>
where
    S: Service<Request<ReplayBody>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Display,
    R: Resolve,
    C: ClassifyFailure<S::Error> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<RouteBody<AnswerBody<B>>>;
    /// The route always answers: what goes wrong below is a status.
    type Error = Infallible;
    type Future = RouteFuture<S, C, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Which candidate has to be ready is known only once the request is here; its clone is polled in the future.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> RouteFuture<S, C, B> {
        let resolved = self.resolver.resolve(&request);
        self.send(request, resolved)
    }
}
