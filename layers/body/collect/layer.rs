use std::time::Duration;

use tower_layer::Layer;

use super::Collect;

/// Reads each request body into a [`ReplayBody`](crate::body::ReplayBody) before the inner service is called.
///
/// A body over the limit is answered with 413 (`request_too_large`), one that breaks with 400 (`request_body_broken`),
/// and one that stalls longer than the frame timeout with 408 (`request_body_timeout`). A `Content-Length` over the
/// limit is refused before the first byte is read, so that no `100 Continue` invites it.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{Request, Response};
/// use pointsman_layers::body::{CollectLayer, ReplayBody};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let twice = service_fn(async |request: Request<ReplayBody>| {
///     let body = request.into_body();
///     let again = body.clone(); // a pointer or three
///     Ok::<_, Infallible>(Response::new(format!("{} and {}", body.len(), again.len())))
/// });
/// let service = CollectLayer::new(1024).layer(twice);
///
/// let small = Request::new("hello".to_owned());
/// assert_eq!(service.clone().oneshot(small).await.unwrap().status(), 200);
///
/// let large = Request::new("x".repeat(1025));
/// assert_eq!(service.oneshot(large).await.unwrap().status(), 413);
/// # }
/// ```
///
/// # Placement
///
/// Inside whatever decides who may come in, outside everything that retries or looks into the body.
///
/// # Cost
///
/// A body that arrives in one piece is taken as it is, and so is each frame of at least 128 KiB. Smaller frames are copied
/// together, so that a body of many keeps few buffers. With the feature `route`, a body of several is looked through for
/// its `model` as it comes in, while the caches have it.
///
/// # Cancellation
///
/// Dropping the future drops the body half-read, and the inner service is never called.
#[derive(Clone, Copy, Debug)]
pub struct CollectLayer {
    limit: usize,
    frame_timeout: Option<Duration>,
}

impl CollectLayer {
    /// Accepts bodies of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, frame_timeout: None }
    }

    /// Gives up on a body that sends nothing for this long. No timeout by default.
    #[must_use]
    pub fn frame_timeout(mut self, timeout: Duration) -> Self {
        self.frame_timeout = Some(timeout);
        self
    }
}

impl<S> Layer<S> for CollectLayer {
    type Service = Collect<S>;

    fn layer(&self, inner: S) -> Collect<S> {
        Collect::new(inner, self.limit, self.frame_timeout)
    }
}
