use std::{
    any::Any,
    fmt::Write as _,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project::pin_project;
use pointsman_layers::{
    body::ErrorAnswer,
    ext::{Attempt, Outcome, Trail},
};
use tower_http::catch_panic::ResponseForPanic;
use tower_layer::Layer;
use tower_service::Service;

use super::CoreBody;

const PROVIDER: HeaderName = HeaderName::from_static("x-pointsman-provider");
const MODEL: HeaderName = HeaderName::from_static("x-pointsman-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-pointsman-attempts");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Tells the client in headers, and the log in a line, what the route did.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportLayer;

impl<S> Layer<S> for ReportLayer {
    type Service = Report<S>;

    fn layer(&self, inner: S) -> Report<S> {
        Report { inner }
    }
}

/// The service of [`ReportLayer`].
#[derive(Clone, Debug)]
pub(super) struct Report<S> {
    inner: S,
}

impl<S, Q, B> Service<Request<Q>> for Report<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ReportFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> ReportFuture<S::Future> {
        ReportFuture { inner: self.inner.call(request) }
    }
}

/// The response future of [`Report`].
#[pin_project]
pub(super) struct ReportFuture<F> {
    #[pin]
    inner: F,
}

impl<F, B, E> Future for ReportFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (mut parts, body) = ready!(self.project().inner.poll(cx))?.into_parts();
        if let Some(trail) = parts.extensions.get::<Trail>() {
            log(trail, parts.status);
            report(trail, &mut parts.headers);
        }
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }
}

/// Tells the log.
pub(super) fn log(trail: &Trail, status: StatusCode) {
    for attempt in trail.attempts() {
        let Attempt { provider, model, outcome, elapsed, .. } = attempt;
        tracing::debug!(%provider, %model, ?elapsed, ambiguous = outcome.is_ambiguous(), "{}", in_words(outcome));
    }
    match trail.answered() {
        Some(answered) => {
            let (provider, model) = (&answered.provider, &answered.model);
            tracing::info!(%provider, %model, status = status.as_u16(), attempts = trail.sent(), "answered");
        }
        None => tracing::warn!(status = status.as_u16(), attempts = trail.sent(), "no provider answered"),
    }
}

fn report(trail: &Trail, headers: &mut HeaderMap) {
    if let Some(answered) = trail.answered() {
        name(&answered.provider, &answered.model, headers);
    }
    headers.insert(ATTEMPTS, trail.sent().into());
    timing(trail, headers);
}

/// Tells the client who answers.
pub(super) fn name(provider: &str, model: &str, headers: &mut HeaderMap) {
    // A name that no header can carry is left out rather than garbled.
    for (name, value) in [(PROVIDER, provider), (MODEL, model)] {
        match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) if !value.is_empty() => headers.insert(name, value),
            _ => headers.remove(name),
        };
    }
}

/// Tells the client what came of each attempt.
pub(super) fn timing(trail: &Trail, headers: &mut HeaderMap) {
    for (index, attempt) in trail.attempts().iter().enumerate() {
        let milliseconds = attempt.elapsed.as_secs_f64() * 1000.0;
        let mut entry = format!("attempt{};dur={milliseconds:.1};desc=\"", index + 1);
        let text = format!("{}/{}: {}", attempt.provider, attempt.model, in_words(&attempt.outcome));
        // A quoted string of RFC 9110 has no bare quotes and backslashes.
        entry.extend(text.chars().flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])));
        entry.push('"');
        if let Ok(value) = HeaderValue::from_bytes(entry.as_bytes()) {
            headers.append(SERVER_TIMING, value);
        }
    }
}

/// What came of an attempt, in a few words.
fn in_words(outcome: &Outcome) -> String {
    let mut words = String::new();
    let written = match outcome {
        Outcome::Skipped(reason) => write!(words, "skipped ({reason})"),
        Outcome::Answered(status) | Outcome::Refused(status) => write!(words, "{}", status.as_u16()),
        Outcome::FailedEarly(status, _) => write!(words, "{} before the first event", status.as_u16()),
        Outcome::Failed(_, reason) => write!(words, "{reason}"),
        _ => Ok(()),
    };
    written.expect("writing to a string does not fail");
    words
}

/// The answer to a request that something panicked over: a 500 without a word of what it was, which the log has.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanicAnswer;

impl ResponseForPanic for PanicAnswer {
    type ResponseBody = CoreBody;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send + 'static>) -> Response<CoreBody> {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        tracing::error!(panic = text, "a request panicked");
        let message = "the gateway failed at this request; its log says why";
        ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message).into_response()
    }
}
