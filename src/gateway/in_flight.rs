use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use pointsman_layers::body::{AnswerBody, BodyEnd, ErrorAnswer, Report, ReportBody};
use tower_layer::Layer;
use tower_service::Service;

/// Takes so many requests at a time, each until the end of its answer's body, and refuses more at once: a request that
/// waits here would be held in memory, and its client would sooner ask elsewhere.
#[derive(Clone, Debug)]
pub(super) struct InFlightLayer {
    most: usize,
    now: Arc<AtomicUsize>,
}

impl InFlightLayer {
    pub(super) fn new(most: usize) -> Self {
        Self { most, now: Arc::default() }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { inner, most: self.most, now: Arc::clone(&self.now) }
    }
}

/// The service of [`InFlightLayer`].
#[derive(Clone, Debug)]
pub(super) struct InFlight<S> {
    inner: S,
    most: usize,
    now: Arc<AtomicUsize>,
}

impl<S> InFlight<S> {
    fn take_place(&self) -> Option<Place> {
        let one_more = |now: usize| (now < self.most).then_some(now + 1);
        self.now.fetch_update(Relaxed, Relaxed, one_more).ok().map(|_| Place(Arc::clone(&self.now)))
    }
}

/// A request's place among those under way.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Report for Place {
    fn report(self, _: BodyEnd) {
        drop(self);
    }
}

/// What [`InFlight`] answers with.
pub(super) type InFlightBody<B> = AnswerBody<ReportBody<B, Place>>;

impl<S, Q, B> Service<Request<Q>> for InFlight<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<InFlightBody<B>>;
    type Error = S::Error;
    type Future = InFlightFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> InFlightFuture<S::Future> {
        let calling = self.take_place().map(|place| (self.inner.call(request), place));
        let (inner, place) = calling.map_or((None, None), |(inner, place)| (Some(inner), Some(place)));
        InFlightFuture { inner, place }
    }
}

/// The response future of [`InFlight`].
#[pin_project]
pub(super) struct InFlightFuture<F> {
    /// `None` for a request that found no place.
    #[pin]
    inner: Option<F>,
    place: Option<Place>,
}

impl<F, B, E> Future for InFlightFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<InFlightBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            let message = "the gateway has all the requests under way that it may have";
            let refusal = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_requests_in_flight", message);
            return Poll::Ready(Ok(refusal.retry_after(Duration::from_secs(1)).into_response()));
        };
        let response = ready!(inner.poll(cx))?;
        let place = this.place.take().expect("a future is not polled after it is ready");
        Poll::Ready(Ok(response.map(|body| AnswerBody::inner(ReportBody::new(body, place)))))
    }
}
