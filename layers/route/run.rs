use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use tokio::time::Instant;

use super::{Resolved, Route, RouteBody, body::Dialect, multipart};
use crate::{
    body::{AnswerBody, ErrorAnswer, ReplayBody},
    ext::{Attempt, Candidate, EarlyFailure, Failure, FailureKind, GateClosed, Outcome, Trail},
    kept::KeptRequest,
};

/// Tells the clients that know it whether to send the request again by themselves.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The longest wait to ask a client for, in seconds: several ignore a longer one and come back at once.
const LONGEST_WAIT: u64 = 60;

/// The head of the request.
enum Head {
    /// As it came, for the first candidate.
    Fresh(Request<()>),
    /// For those behind it.
    Kept(KeptRequest<()>),
    /// The last candidate has it.
    Gone,
}

/// A request on its way through the candidates of a route: what was tried, and what that means for the client.
pub(super) struct Run<B> {
    route: Arc<Route>,
    head: Head,
    body: ReplayBody,
    model: Option<Range<usize>>,
    /// Whether the body is a form, and not JSON.
    is_form: bool,
    dialect: Dialect,
    /// One entry for each candidate that had its turn, so its length is the index of the one that has it now.
    trail: Trail,
    /// The last answer that was one to move on from, and its place in the trail. Boxed: it is large, and mostly there is
    /// none.
    last_answer: Option<Box<(Response<B>, usize)>>,
    last_failure: Option<Failure>,
    /// Whether a failure forbids to ask another candidate.
    stopped: bool,
    /// The shortest `Retry-After` of the gates that were closed, in seconds.
    reopens_after: Option<u64>,
    deadline: Instant,
    attempt_started: Instant,
}

impl<B> Run<B> {
    pub(super) fn new(request: Request<ReplayBody>, resolved: Resolved) -> Self {
        let (parts, body) = request.into_parts();
        let now = Instant::now();
        // A timeout too large to add up stands for none; a century is far enough away.
        let deadline = now + resolved.route.total_timeout.min(Duration::from_secs(100 * 365 * 86_400));
        Self {
            dialect: Dialect::of(parts.uri.path()),
            is_form: multipart::is_form(&parts.headers),
            head: Head::Fresh(Request::from_parts(parts, ())),
            body,
            model: resolved.model,
            trail: Trail::default(),
            last_answer: None,
            last_failure: None,
            stopped: false,
            reopens_after: None,
            deadline,
            attempt_started: now,
            route: resolved.route,
        }
    }

    /// When the whole request has to be at its commit point.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether there is another candidate to try, whose turn it is from now on.
    pub(super) fn next(&mut self) -> bool {
        if self.stopped || self.trail.sent() >= self.route.max_attempts {
            return false;
        }
        self.attempt_started = Instant::now();
        let is_late = self.attempt_started >= self.deadline;
        let has_another = self.trail.attempts().len() < self.route.candidates.len();
        // Another one could have answered, and so could a gate that was waited for until now: it is the time that decides.
        if is_late && (has_another || self.last_failure.is_none()) {
            self.last_failure = Some(Failure::TIMEOUT);
        }
        has_another && !is_late
    }

    /// The request for the candidate whose turn it is.
    pub(super) fn request(&mut self) -> Request<ReplayBody> {
        let index = self.trail.attempts().len();
        let target = &self.route.candidates[index];
        let is_last = index + 1 == self.route.candidates.len();
        let mut head = match std::mem::replace(&mut self.head, Head::Gone) {
            Head::Fresh(head) => {
                if !is_last {
                    self.head = Head::Kept(KeptRequest::of(&head));
                }
                head
            }
            Head::Kept(kept) => {
                let head = kept.restore();
                self.head = Head::Kept(kept);
                head
            }
            Head::Gone => unreachable!("the last candidate has its turn once"),
        };
        head.extensions_mut().insert(Candidate {
            provider: Arc::clone(&target.provider),
            model: Arc::clone(&target.model),
            condition: target.condition.clone(),
            on_unknown: target.on_unknown,
            commit: self.route.commit,
            others_remain: !is_last && self.trail.sent() + 1 < self.route.max_attempts,
            deadline: Some(self.deadline.into_std()),
        });
        let body = match &self.model {
            Some(span) if self.is_form => target.edit_form(&self.body, span),
            Some(span) => {
                if target.parameters().next().is_some() {
                    // It has to be read as a whole: put together once for all candidates.
                    self.body = self.body.to_bytes().into();
                }
                target.edit(&self.body, span)
            }
            None => self.body.clone(),
        };
        if body.len() != self.body.len() {
            // Of the client's body. This one tells its own.
            head.headers_mut().remove(header::CONTENT_LENGTH);
        }
        head.map(|()| body)
    }

    /// Notes what came of the candidate's turn; returns its place in the trail.
    fn note(&mut self, outcome: Outcome) -> usize {
        let index = self.trail.attempts().len();
        let target = &self.route.candidates[index];
        let (provider, model) = (Arc::clone(&target.provider), Arc::clone(&target.model));
        self.trail.push(Attempt { provider, model, outcome, elapsed: self.attempt_started.elapsed() });
        index
    }

    /// The final answer, if `response` is one; else it is kept for want of a better one.
    pub(super) fn judge(&mut self, response: Response<B>) -> Option<Response<RouteBody<AnswerBody<B>>>>
    where
        B: Body<Data = Bytes>,
    {
        if let Some(closed) = response.extensions().get::<GateClosed>() {
            let reason = Arc::clone(&closed.reason);
            self.reopens_after = self.reopens_after.into_iter().chain(retry_after(&response)).min();
            self.note(Outcome::Skipped(reason));
            return None;
        }
        let status = response.status();
        let early = response.extensions().get::<EarlyFailure>().map(|early| early.0);
        let (outcome, moves_on) = match early {
            Some(failure) => (Outcome::FailedEarly(status, failure), self.moves_on_from(failure)),
            None if self.route.fallback_on.contains(status) => (Outcome::Refused(status), true),
            None => (Outcome::Answered(status), false),
        };
        let index = self.note(outcome);
        if moves_on {
            self.last_answer = Some(Box::new((response, index)));
            return None;
        }
        Some(self.commit(response, index))
    }

    /// Takes note of an attempt that gave no answer.
    pub(super) fn failed(&mut self, failure: Failure, reason: Arc<str>) {
        self.note(Outcome::Failed(failure, reason));
        self.last_failure = Some(failure);
        if !self.moves_on_from(failure) {
            self.stopped = true;
            // Whatever another one said before, say a 429, would invite the client to send the request again.
            self.last_answer = None;
        }
    }

    fn moves_on_from(&self, failure: Failure) -> bool {
        self.route.fallback_on_ambiguous || !failure.ambiguous
    }

    /// The answer when no candidate is left: the last one that a provider gave, or the route's own.
    pub(super) fn finish(&mut self) -> Response<RouteBody<AnswerBody<B>>>
    where
        B: Body<Data = Bytes>,
    {
        if let Some(last) = self.last_answer.take() {
            let (response, index) = *last;
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

    fn commit(&mut self, response: Response<B>, index: usize) -> Response<RouteBody<AnswerBody<B>>>
    where
        B: Body<Data = Bytes>,
    {
        let (mut parts, body) = response.into_parts();
        let mut trail = std::mem::take(&mut self.trail);
        trail.set_answered(index);
        let provider = &trail.attempts()[index].provider;
        let body = RouteBody::committed(AnswerBody::inner(body), &parts.headers, self.dialect, provider);
        parts.extensions.insert(trail);
        Response::from_parts(parts, body)
    }

    fn unanswered(&self, failure: Failure) -> ErrorAnswer {
        let (code, what) = match failure.kind {
            FailureKind::Timeout => ("upstream_timeout", "no answer in time"),
            _ => ("upstream_unreachable", "no usable answer"),
        };
        let message = format!("{what} for `{}`{}", self.route.name, self.reasons());
        ErrorAnswer::new(failure.status(), code, message)
    }

    fn none_eligible(&self) -> ErrorAnswer {
        let message = format!("no provider of `{}` is eligible now{}", self.route.name, self.reasons());
        let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "no_eligible_provider", message);
        match self.reopens_after {
            Some(seconds) if seconds <= LONGEST_WAIT => answer.retry_after(Duration::from_secs(seconds)),
            // It is long, or nobody knows.
            _ => answer
                .retry_after(Duration::from_secs(LONGEST_WAIT))
                .header(X_SHOULD_RETRY, HeaderValue::from_static("false")),
        }
    }

    /// Each attempt's provider and what came of it: `: groq: 503; deepinfra: closed: balance > 0 (balance = 0)`.
    fn reasons(&self) -> String {
        let mut reasons = String::new();
        for attempt in self.trail.attempts() {
            reasons.push_str(if reasons.is_empty() { ": " } else { "; " });
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
