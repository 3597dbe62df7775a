use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, StatusCode};
use pin_project::pin_project;

use super::QuotaHandle;
use crate::ext::{GateClosed, RateLimited};

/// The response future of [`Quota`](super::Quota).
#[pin_project]
#[derive(Debug)]
pub struct QuotaFuture<F> {
    #[pin]
    future: F,
    handle: Option<QuotaHandle>,
}

impl<F> QuotaFuture<F> {
    pub(super) fn new(future: F, handle: Option<QuotaHandle>) -> Self {
        Self { future, handle }
    }
}

impl<F, B, E> Future for QuotaFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        // A closed gate was decided by the quota; the backend said nothing.
        if let (Ok(response), Some(handle)) = (&result, this.handle)
            && response.extensions().get::<GateClosed>().is_none()
        {
            handle.observe(response.headers(), says_the_quota_changed(response));
        }
        Poll::Ready(result)
    }
}

fn says_the_quota_changed<B>(response: &Response<B>) -> bool {
    matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED)
        || response.extensions().get::<RateLimited>().is_some()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use http::{HeaderName, Request};
    use serde_json::json;
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use super::*;
    use crate::quota::{QuotaCache, QuotaError, QuotaLayer};

    async fn known_quota() -> QuotaHandle {
        let handle = QuotaCache::default().insert("a", async || Ok::<_, QuotaError>(json!(1)));
        handle.read().await;
        handle
    }

    /// Whether this answer empties the entry of the backend.
    async fn empties(response: Response<()>) -> bool {
        let handle = known_quota().await;
        let mut response = Some(response);
        let service = QuotaLayer::new(handle.clone()).layer(service_fn(move |request: Request<()>| {
            assert!(request.extensions().get::<QuotaHandle>().is_some_and(|handle| handle.cached().is_some()));
            ready(Ok::<_, Infallible>(response.take().expect("called once")))
        }));
        service.oneshot(Request::new(())).await.unwrap();
        handle.cached().is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_say_the_quota_changed_empty_the_entry() {
        let answer = |status: u16| Response::builder().status(status);
        for status in [429, 402] {
            assert!(empties(answer(status).body(()).unwrap()).await, "{status}");
            let closed = answer(status).extension(GateClosed::new("balance > 0")).body(()).unwrap();
            assert!(!empties(closed).await, "a closed gate with {status}");
        }
        for status in [200, 400, 401, 403, 500, 503] {
            assert!(!empties(answer(status).body(()).unwrap()).await, "{status}");
        }
        let recovered = answer(200).extension(RateLimited { retry_after: None }).body(()).unwrap();
        assert!(empties(recovered).await, "a 429 that a retry recovered from");
    }

    #[tokio::test(start_paused = true)]
    async fn headers_are_taken_from_every_answer_of_the_backend() {
        let handle = QuotaCache::default().watch("a", [HeaderName::from_static("x-left")]);
        let service = QuotaLayer::new(handle.clone())
            .layer(service_fn(|request: Request<Response<()>>| ready(Ok::<_, Infallible>(request.into_body()))));
        let left = async |response: Response<()>| {
            service.clone().oneshot(Request::new(response)).await.unwrap();
            handle.headers().unwrap().value().map(|headers| headers["x-left"].clone())
        };
        let answer = |status: u16| Response::builder().status(status);
        assert_eq!(left(answer(200).header("x-left", 5).body(()).unwrap()).await, Some(json!(5)));
        assert_eq!(left(answer(500).header("x-left", 4).body(()).unwrap()).await, Some(json!(4)));
        assert_eq!(left(answer(429).header("x-left", 0).body(()).unwrap()).await, Some(json!(0)));
        assert_eq!(left(answer(200).body(()).unwrap()).await, Some(json!(0)));
        let closed = answer(429).header("x-left", 9).extension(GateClosed::new("x")).body(()).unwrap();
        assert_eq!(left(closed).await, Some(json!(0)));
        assert_eq!(left(answer(429).body(()).unwrap()).await, None, "what was known is outdated");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_handle_the_layer_does_nothing() {
        let service = QuotaLayer::new(None).layer(service_fn(async |request: Request<()>| {
            assert!(request.extensions().get::<QuotaHandle>().is_none());
            Ok::<_, Infallible>(Response::builder().status(429).body(()).unwrap())
        }));
        assert_eq!(service.oneshot(Request::new(())).await.unwrap().status(), 429);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_from_below_passes_and_empties_nothing() {
        let handle = known_quota().await;
        let service = QuotaLayer::new(handle.clone())
            .layer(service_fn(|_: Request<()>| ready(Err::<Response<()>, _>("connection refused"))));
        assert_eq!(service.oneshot(Request::new(())).await.unwrap_err(), "connection refused");
        assert!(handle.cached().is_some());
    }
}
