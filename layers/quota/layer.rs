use tower_layer::Layer;

use super::{Quota, QuotaHandle};

/// Hands the quota of one backend to what is below; see the [module docs](super).
#[derive(Clone, Debug)]
pub struct QuotaLayer {
    handle: Option<QuotaHandle>,
}

impl QuotaLayer {
    /// A layer for the backend of this handle. With `None`, for a backend without a quota source, it does nothing.
    pub fn new(handle: impl Into<Option<QuotaHandle>>) -> Self {
        Self { handle: handle.into() }
    }
}

impl<S> Layer<S> for QuotaLayer {
    type Service = Quota<S>;

    fn layer(&self, inner: S) -> Quota<S> {
        Quota::new(inner, self.handle.clone())
    }
}
