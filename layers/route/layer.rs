use std::sync::Arc;

use tower_layer::Layer;

use super::Router;
use crate::ext::AssumeBroken;

/// Sends each request to the first of its candidates that works; see the [module docs](super).
#[derive(Debug)]
pub struct RouteLayer<R, C = AssumeBroken> {
    resolver: Arc<R>,
    classify: C,
}

impl<R> RouteLayer<R> {
    /// Routes by `resolver`: [`Routes`](super::Routes), or one's own.
    pub fn new(resolver: R) -> Self {
        Self { resolver: Arc::new(resolver), classify: AssumeBroken }
    }
}

impl<R, C> RouteLayer<R, C> {
    /// Tells what the inner service's errors mean. By default each is taken for a request that may have been carried
    /// out.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> RouteLayer<R, C2> {
        RouteLayer { resolver: self.resolver, classify }
    }
}

impl<R, C: Clone> Clone for RouteLayer<R, C> {
    fn clone(&self) -> Self {
        Self { resolver: Arc::clone(&self.resolver), classify: self.classify.clone() }
    }
}

impl<S, R, C: Clone> Layer<S> for RouteLayer<R, C> {
    type Service = Router<S, R, C>;

    fn layer(&self, inner: S) -> Router<S, R, C> {
        Router::new(inner, Arc::clone(&self.resolver), self.classify.clone())
    }
}
