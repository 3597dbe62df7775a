use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project::pin_project;
use tower_http::{request_id::RequestId, trace::MakeSpan};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives every request an id: the client's `x-request-id`, or one of the gateway's own.
///
/// It stands on the request as a [`RequestId`] extension and on the answer as `x-request-id`, where a provider's goes
/// first. An id of the gateway's own is no header of the request, as the provider gets what the client sent.
#[derive(Clone, Debug)]
pub(super) struct RequestIdLayer(Ids);

/// Counts up from a start that differs from process to process.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    instance: HeaderValue,
    next: Arc<AtomicU64>,
}

impl Ids {
    pub(crate) fn new(instance: HeaderValue) -> Self {
        Self { instance, next: Arc::default() }
    }

    /// The id of a request: the one that came with it, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        headers.get(&REQUEST_ID).cloned().unwrap_or_else(|| self.next())
    }

    /// A new one.
    pub(crate) fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // As many as the number has, one at the least.
        let digits = 16 - (number | 1).leading_zeros() / 4;
        // With no room to spare, for which the value would take an allocation more.
        let mut id = Vec::with_capacity(self.instance.len() + 1 + digits as usize);
        id.extend_from_slice(self.instance.as_bytes());
        id.push(b'-');
        for digit in (0..digits).rev() {
            id.push(b"0123456789abcdef"[(number >> (4 * digit)) as usize & 0xf]);
        }
        HeaderValue::from_maybe_shared(Bytes::from(id)).expect("hexadecimal digits and a dash")
    }
}

impl RequestIdLayer {
    pub(super) fn new(instance: HeaderValue) -> Self {
        Self(Ids::new(instance))
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = SetRequestId<S>;

    fn layer(&self, inner: S) -> SetRequestId<S> {
        SetRequestId { inner, ids: self.0.clone() }
    }
}

/// The service of [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub(super) struct SetRequestId<S> {
    inner: S,
    ids: Ids,
}

impl<S, Q, B> Service<Request<Q>> for SetRequestId<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = RequestIdFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> RequestIdFuture<S::Future> {
        let id = self.ids.of(request.headers());
        request.extensions_mut().insert(RequestId::new(id.clone()));
        RequestIdFuture { inner: self.inner.call(request), id: Some(id) }
    }
}

/// The response future of [`SetRequestId`].
#[pin_project]
pub(super) struct RequestIdFuture<F> {
    #[pin]
    inner: F,
    id: Option<HeaderValue>,
}

impl<F, B, E> Future for RequestIdFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(id) = this.id.take() {
            response.headers_mut().entry(REQUEST_ID).or_insert(id);
        }
        Poll::Ready(Ok(response))
    }
}

/// The span that every line about a request stands in. The query is left out: clients put keys there.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestSpan;

impl<B> MakeSpan<B> for RequestSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_in_hexadecimal() {
        let ids = Ids { instance: HeaderValue::from_static("1f"), next: Arc::default() };
        for (number, id) in [
            (0, "1f-0"),
            (1, "1f-1"),
            (15, "1f-f"),
            (16, "1f-10"),
            (0xabc, "1f-abc"),
            (u64::MAX, "1f-ffffffffffffffff"),
        ] {
            ids.next.store(number, Ordering::Relaxed);
            assert_eq!(ids.next(), id);
        }
    }
}
