use std::{
    any::Any,
    fmt::{self, Write as _},
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
    headers.insert(ATTEMPTS, HeaderValue::from(trail.sent()));
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
        if let Ok(value) = HeaderValue::try_from(entry(index + 1, attempt)) {
            headers.append(SERVER_TIMING, value);
        }
    }
}

/// The metric of an attempt: `attempt1;dur=3.7;desc="groq/llama-3.3-70b: 200"`.
fn entry(number: usize, attempt: &Attempt) -> String {
    let tenths = (attempt.elapsed.as_micros() + 50) / 100;
    let (mut digits, mut entry) = (itoa::Buffer::new(), String::with_capacity(96));
    entry.push_str("attempt");
    entry.push_str(digits.format(number));
    entry.push_str(";dur=");
    entry.push_str(digits.format(tenths / 10));
    entry.push('.');
    entry.push_str(digits.format(tenths % 10));
    entry.push_str(";desc=\"");
    let mut quoted = Quoted(&mut entry);
    let pieces = [&*attempt.provider, "/", &*attempt.model, ": "];
    let written = pieces.into_iter().try_for_each(|piece| quoted.write_str(piece));
    written.and_then(|()| write_words(&attempt.outcome, &mut quoted)).expect("writing to a string does not fail");
    entry.push('"');
    entry
}

/// Writes into a quoted string of RFC 9110, which has no bare quotes and backslashes.
struct Quoted<'a>(&'a mut String);

impl fmt::Write for Quoted<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some(special) = text.bytes().position(|byte| matches!(byte, b'"' | b'\\')) {
            let (plain, rest) = text.split_at(special);
            self.0.extend([plain, "\\", &rest[..1]]);
            text = &rest[1..];
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// What came of an attempt, in a few words.
fn write_words(outcome: &Outcome, to: &mut impl fmt::Write) -> fmt::Result {
    match outcome {
        Outcome::Skipped(reason) => write!(to, "skipped ({reason})"),
        Outcome::Answered(status) | Outcome::Refused(status) => to.write_str(status.as_str()),
        Outcome::FailedEarly(status, _) => write!(to, "{} before the first event", status.as_str()),
        Outcome::Failed(_, reason) => to.write_str(reason),
        _ => Ok(()),
    }
}

fn in_words(outcome: &Outcome) -> String {
    let mut words = String::new();
    write_words(outcome, &mut words).expect("writing to a string does not fail");
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
