use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, StatusCode, header, request::Parts};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::{Resolved, Route, RouteBody, Target, body::Dialect};
use crate::{
    body::{AnswerBody, ErrorAnswer, ReplayBody},
    ext::{Attempt, Candidate, ClassifyFailure, EarlyFailure, Failure, FailureKind, GateClosed, Outcome, Trail},
};

/// The response future of [`Router`](super::Router).
#[pin_project]
pub struct RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>>,
{
    #[pin]
    state: State<S, S::Future>,
    /// `None` when the request was refused before a route was found.
    run: Option<Run<S, C, B>>,
    #[pin]
    timer: Sleep,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "a box for the request would cost every attempt an allocation")]
enum State<S, F> {
    /// The next candidate is to be chosen.
    Choose,
    /// A candidate's service gets ready for its request.
    Ready { service: S, request: Option<Request<ReplayBody>> },
    /// A candidate has its request.
    Calling(#[pin] F),
    /// The answer is the layer's own.
    Refused(Option<ErrorAnswer>),
}

/// A request on its way through the candidates of a route.
struct Run<S, C, B> {
    inner: S,
    classify: C,
    route: Arc<Route>,
    /// The head, until the last candidate takes it.
    parts: Option<Parts>,
    body: ReplayBody,
    model: Option<std::ops::Range<usize>>,
    dialect: Dialect,
    /// The index of the candidate after the one under way.
    next: usize,
    sent: usize,
    trail: Trail,
    /// The last answer that was one to move on from, and its place in the trail.
    last_answer: Option<(Response<B>, usize)>,
    last_failure: Option<Failure>,
    /// The shortest `Retry-After` of the gates that were closed, in seconds.
    reopens_after: Option<u64>,
    deadline: Instant,
    attempt_started: Instant,
}

impl<S, C, B> RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>>,
{
    pub(super) fn new(inner: S, classify: C, request: Request<ReplayBody>, resolved: Resolved) -> Self {
        let (parts, body) = request.into_parts();
        let now = Instant::now();
        // A timeout too large to add up stands for none; a century is far enough away.
        let deadline = now + resolved.route.total_timeout.min(Duration::from_secs(100 * 365 * 86_400));
        let run = Run {
            inner,
            classify,
            dialect: Dialect::of(parts.uri.path()),
            parts: Some(parts),
            body,
            model: resolved.model,
            next: 0,
            sent: 0,
            trail: Trail::default(),
            last_answer: None,
            last_failure: None,
            reopens_after: None,
            deadline,
            attempt_started: now,
            route: resolved.route,
        };
        Self { state: State::Choose, run: Some(run), timer: tokio::time::sleep_until(deadline) }
    }

    pub(super) fn refused(answer: ErrorAnswer) -> Self {
        Self { state: State::Refused(Some(answer)), run: None, timer: tokio::time::sleep_until(Instant::now()) }
    }
}

impl<S, C, B> Future for RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>, Response = Response<B>> + Clone,
    S::Error: fmt::Display,
    C: ClassifyFailure<S::Error>,
{
    type Output = Result<Response<RouteBody<AnswerBody<B>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(run) = this.run else {
            let StateProj::Refused(answer) = this.state.project() else {
                unreachable!("only a refused request has no run")
            };
            let answer = answer.take().expect("a future is not polled after it is ready");
            return Poll::Ready(Ok(answer.into_response().map(RouteBody::plain)));
        };
        loop {
            let outcome = match this.state.as_mut().project() {
                StateProj::Choose => match run.choose() {
                    Some(request) => {
                        let service = run.inner.clone();
                        this.state.set(State::Ready { service, request: Some(request) });
                        continue;
                    }
                    None => return Poll::Ready(Ok(run.finish())),
                },
                StateProj::Ready { service, request } => match service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        let request = request.take().expect("taken once: the state changes right after");
                        let future = service.call(request);
                        this.state.set(State::Calling(future));
                        continue;
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                },
                StateProj::Calling(future) => future.poll(cx),
                StateProj::Refused(_) => unreachable!("a refused request has no run"),
            };
            match outcome {
                Poll::Ready(Ok(response)) => {
                    if let Some(response) = run.judge(response) {
                        return Poll::Ready(Ok(response));
                    }
                }
                Poll::Ready(Err(error)) => {
                    let failure = run.classify.classify(&error);
                    run.failed(failure, error.to_string().into());
                }
                Poll::Pending => match this.timer.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => run.timed_out(),
                },
            }
            // Drops what is left of the attempt before the next one starts.
            this.state.set(State::Choose);
        }
    }
}

impl<S, C, B> Run<S, C, B> {
    /// The request for the next candidate, if there is one to try.
    fn choose(&mut self) -> Option<Request<ReplayBody>> {
        let now = Instant::now();
        if self.sent >= self.route.max_attempts || now >= self.deadline {
            return None;
        }
        let target = self.route.candidates.get(self.next)?;
        self.next += 1;
        self.attempt_started = now;
        let others_remain = self.next < self.route.candidates.len();
        let mut parts = if others_remain { self.parts.clone() } else { self.parts.take() }?;
        parts.extensions.insert(Candidate {
            provider: Arc::clone(&target.provider),
            model: Arc::clone(&target.model),
            condition: target.condition.clone(),
            on_unknown: target.on_unknown,
            commit: self.route.commit,
            others_remain,
            deadline: Some(self.deadline.into_std()),
        });
        let body = match &self.model {
            Some(span) => self.body.splice(span.clone(), target.model_json.clone()),
            None => self.body.clone(),
        };
        Some(Request::from_parts(parts, body))
    }

    fn target(&self) -> &Target {
        &self.route.candidates[self.next - 1]
    }

    fn note(&mut self, outcome: Outcome) {
        self.sent += usize::from(outcome.was_sent());
        let (provider, model) = (Arc::clone(&self.target().provider), Arc::clone(&self.target().model));
        self.trail.push(Attempt { provider, model, outcome, elapsed: self.attempt_started.elapsed() });
    }

    /// The final answer, if `response` is one; else it is kept for want of a better one.
    fn judge(&mut self, response: Response<B>) -> Option<Response<RouteBody<AnswerBody<B>>>> {
        if let Some(closed) = response.extensions().get::<GateClosed>() {
            let reason = Arc::clone(&closed.reason);
            if let Some(seconds) = retry_after(&response) {
                self.reopens_after = Some(self.reopens_after.map_or(seconds, |least| least.min(seconds)));
            }
            self.note(Outcome::Skipped(reason));
            return None;
        }
        let status = response.status();
        let early = response.extensions().get::<EarlyFailure>().map(|early| early.0);
        let moves_on = match early {
            Some(failure) => {
                self.note(Outcome::FailedEarly(status, failure));
                self.moves_on_from(failure)
            }
            None if self.route.fallback_on.contains(status) => {
                self.note(Outcome::Refused(status));
                true
            }
            None => {
                self.note(Outcome::Answered(status));
                false
            }
        };
        let index = self.trail.attempts().len() - 1;
        if moves_on {
            self.last_answer = Some((response, index));
            return None;
        }
        Some(self.commit(response, index))
    }

    /// Whether the next candidate may be asked after `failure`; if not, no other will be.
    fn moves_on_from(&mut self, failure: Failure) -> bool {
        let moves_on = self.route.fallback_on_ambiguous || !failure.ambiguous;
        if !moves_on {
            self.next = self.route.candidates.len();
        }
        moves_on
    }

    fn failed(&mut self, failure: Failure, reason: Arc<str>) {
        self.last_failure = Some(failure);
        self.note(Outcome::Failed(failure, reason));
        self.moves_on_from(failure);
    }

    /// The time for the whole request is over, so no other candidate is asked.
    fn timed_out(&mut self) {
        self.failed(Failure::TIMEOUT, Arc::from("no answer within the time for the whole request"));
    }

    /// The answer when no candidate is left: the last one that a provider gave, or the route's own.
    fn finish(&mut self) -> Response<RouteBody<AnswerBody<B>>> {
        if let Some((response, index)) = self.last_answer.take() {
            return self.commit(response, index);
        }
        let answer = match self.last_failure {
            Some(failure) => self.unanswered(failure),
            None => self.none_eligible(),
        };
        let mut response = answer.into_response().map(RouteBody::plain);
        response.extensions_mut().insert(std::mem::take(&mut self.trail));
        response
    }

    fn commit(&mut self, response: Response<B>, index: usize) -> Response<RouteBody<AnswerBody<B>>> {
        let (mut parts, body) = response.into_parts();
        let mut trail = std::mem::take(&mut self.trail);
        trail.set_answered(index);
        let provider = &trail.attempts()[index].provider;
        let body = RouteBody::committed(AnswerBody::inner(body), &parts.headers, self.dialect, provider);
        parts.extensions.insert(trail);
        Response::from_parts(parts, body)
    }

    fn unanswered(&self, failure: Failure) -> ErrorAnswer {
        let code = match failure.kind {
            FailureKind::Timeout => "upstream_timeout",
            _ => "upstream_unreachable",
        };
        let message = format!("no provider of `{}` answered: {}", self.route.name, self.reasons());
        ErrorAnswer::new(failure.status(), code, message)
    }

    fn none_eligible(&self) -> ErrorAnswer {
        let message = format!("no provider of `{}` is eligible now: {}", self.route.name, self.reasons());
        let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "no_eligible_provider", message);
        match self.reopens_after {
            Some(seconds) => answer.retry_after(Duration::from_secs(seconds)),
            None => answer,
        }
    }

    /// Each attempt's provider and what came of it.
    fn reasons(&self) -> String {
        let mut reasons = String::new();
        for attempt in self.trail.attempts() {
            if !reasons.is_empty() {
                reasons.push_str("; ");
            }
            reasons.push_str(&attempt.provider);
            reasons.push_str(": ");
            match &attempt.outcome {
                Outcome::Skipped(reason) | Outcome::Failed(_, reason) => reasons.push_str(reason),
                Outcome::Answered(status) | Outcome::Refused(status) | Outcome::FailedEarly(status, _) => {
                    reasons.push_str(status.as_str());
                }
            }
        }
        reasons
    }
}

fn retry_after<B>(response: &Response<B>) -> Option<u64> {
    response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}
