use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::{
    PeekedBody, When,
    body::Peek,
    hint,
    layer::Settings,
    state::{BackoffOver, Snapshot, Waiter},
};
use crate::{
    body::{AnswerBody, ErrorAnswer},
    ext::{Candidate, RateLimited, Retries},
    kept::KeptRequest,
};

/// The response future of [`RateLimitRetry`](super::RateLimitRetry).
#[pin_project]
pub struct RateLimitRetryFuture<S, B, R>
where
    S: Service<Request<B>>,
    R: Body,
{
    #[pin]
    state: State<S::Future, R>,
    run: Run<S, B>,
}

/// Whatever only a rate limit needs is boxed: it is rare, and all other requests would move it about.
#[pin_project(project = StateProj)]
enum State<F, R: Body> {
    /// Waits until the backoff that was there before the request is over.
    BackingOff(Pin<Box<BackoffOver>>),
    /// The inner service gets ready.
    Sending,
    /// The inner service has the request.
    Calling(#[pin] F),
    /// The answer may be a rate limit; its body says.
    Judging(Pin<Box<Peek<R>>>),
    /// It was one; the request is held.
    Holding(Waiter, Pin<Box<Sleep>>),
    /// The answer is the layer's own.
    Refused(Option<ErrorAnswer>),
}

/// A request on its way.
struct Run<S, B> {
    settings: Arc<Settings>,
    service: S,
    /// The request, if it may be sent once more. Boxed, as most are not kept.
    kept: Option<Box<KeptRequest<B>>>,
    /// Whether it was held, after which it is sent for the last time.
    was_held: bool,
    /// The backoff at the time the request was sent.
    seen: Snapshot,
    /// The time that the request has waited so far.
    waited: Duration,
    /// The last rate limit met.
    limited: Option<RateLimited>,
}

impl<S, B, R> RateLimitRetryFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Clone,
    R: Body,
{
    /// `service` is ready for a request.
    pub(super) fn new(service: S, request: Request<B>, settings: Arc<Settings>) -> Self {
        let policy = &settings.policy;
        let is_worth_it = match policy.when {
            When::Always => true,
            When::LastCandidate => !request.extensions().get::<Candidate>().is_some_and(|it| it.others_remain),
        };
        let mut run = Run {
            kept: (policy.enabled && is_worth_it).then(|| Box::new(KeptRequest::of(&request))),
            was_held: false,
            seen: settings.backoff.snapshot(),
            service,
            waited: Duration::ZERO,
            limited: None,
            settings,
        };
        let state = match run.settings.backoff.remaining() {
            Some(rest) if run.settings.policy.enabled => match run.back_off(rest) {
                Some(over) => State::BackingOff(Box::pin(over)),
                None => State::Refused(Some(run.refusal(rest))),
            },
            _ => State::Calling(run.send(request)),
        };
        Self { state, run }
    }
}

impl<S, B, R> Future for RateLimitRetryFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Clone,
    R: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<AnswerBody<PeekedBody<R>>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let run = this.run;
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::BackingOff(over) => match ready!(over.as_mut().poll(cx)) {
                    Ok(waited) => {
                        run.waited = waited;
                        State::Sending
                    }
                    Err(rest) => State::Refused(Some(run.refusal(rest))),
                },
                StateProj::Sending => {
                    ready!(run.service.poll_ready(cx))?;
                    let kept = run.kept.as_ref().expect("what waits is kept");
                    State::Calling(run.send(kept.restore()))
                }
                StateProj::Calling(future) => {
                    let response = ready!(future.poll(cx))?.map(PeekedBody::new);
                    match response.status() {
                        StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::FORBIDDEN
                        | StatusCode::PAYMENT_REQUIRED
                            if !is_made_here(&response) =>
                        {
                            State::Judging(Box::pin(Peek::new(response)))
                        }
                        status => {
                            if status.is_success() {
                                run.settings.backoff.clear_unless_changed(run.seen);
                            }
                            return Poll::Ready(Ok(run.surface(response.map(AnswerBody::inner))));
                        }
                    }
                }
                StateProj::Judging(peek) => {
                    let response = ready!(peek.as_mut().poll(cx));
                    match run.judge(&response) {
                        // What is held is dropped here, and with it the answer's body.
                        Some((waiter, sleep)) => State::Holding(waiter, Box::pin(sleep)),
                        None => return Poll::Ready(Ok(run.surface(response.map(AnswerBody::inner)))),
                    }
                }
                StateProj::Holding(_, sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    State::Sending
                }
                StateProj::Refused(answer) => {
                    let answer = answer.take().expect("a future is not polled after it is ready");
                    return Poll::Ready(Ok(run.surface(answer.into_response())));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, B> Run<S, B> {
    fn send(&mut self, request: Request<B>) -> S::Future
    where
        S: Service<Request<B>>,
    {
        self.seen = self.settings.backoff.snapshot();
        self.service.call(request)
    }

    /// The request, if it may still be held.
    fn holdable(&self) -> Option<&KeptRequest<B>> {
        self.kept.as_deref().filter(|_| !self.was_held)
    }

    /// A wait for the backoff, if the request may wait so long.
    fn back_off(&self, rest: Duration) -> Option<BackoffOver> {
        let Settings { policy, backoff, label, .. } = &*self.settings;
        tracing::debug!("{label} rate-limit backoff active: remaining={:.3}s", rest.as_secs_f64());
        let request = self.holdable()?;
        let limit = self.limit(request);
        if rest > limit || is_out_of_time_after(rest, request) {
            return None;
        }
        let step = policy.jitter / 2 + self.settings.random_part(policy.jitter);
        let waiter = backoff.enter(policy, Instant::now() + rest, step)?;
        Some(BackoffOver::new(waiter, limit))
    }

    /// The answer to a request that may not wait for the backoff.
    fn refusal(&mut self, rest: Duration) -> ErrorAnswer {
        self.limited = Some(RateLimited { retry_after: Some(rest) });
        let message = format!("{} rate limit is active; try again in {:.1}s", self.settings.label, rest.as_secs_f64());
        ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(rest)
    }

    /// Takes note of a rate limit, and says how the request is held, if it is.
    fn judge<R: Body<Data = Bytes>>(&mut self, response: &Response<PeekedBody<R>>) -> Option<(Waiter, Sleep)> {
        let settings = Arc::clone(&self.settings);
        let (status, text) = (response.status(), response.body().lower_case_text());
        let hint = hint::read(response.headers(), &text, (settings.wall_clock)());
        let is_overload = status == StatusCode::SERVICE_UNAVAILABLE;
        let is_exhausted = !is_overload && settings.exhausted.is_said_in_lower_case_by(&text);
        if is_exhausted || status == StatusCode::TOO_MANY_REQUESTS {
            self.limited = Some(RateLimited { retry_after: hint.map(|hint| hint.wait) });
        }
        let heals = status == StatusCode::TOO_MANY_REQUESTS || is_overload && hint.is_some();
        if is_exhausted || !heals || !settings.policy.enabled || !hint::allows_retry(response.headers()) {
            return None;
        }
        let max_wait = settings.policy.max_wait;
        let wait = match hint {
            Some(hint) if hint.exact => {
                self.record(hint.wait);
                hint.wait
            }
            _ if self.holdable().is_none() => return None,
            // Nobody said that all others have to wait for longer than a hold.
            Some(bound) => {
                self.record(bound.wait.min(max_wait));
                bound.wait
            }
            None => {
                let wait = self.random_wait().min(max_wait);
                self.record(wait);
                wait
            }
        };
        self.hold(wait)
    }

    /// Holds the request for so long, or as long as it may wait.
    fn hold(&mut self, wait: Duration) -> Option<(Waiter, Sleep)> {
        let Settings { policy, backoff, .. } = &*self.settings;
        let request = self.holdable()?;
        let wait = wait.min(self.limit(request));
        if is_out_of_time_after(wait, request) {
            return None;
        }
        let end = Instant::now() + wait;
        let waiter = backoff.enter(policy, end, policy.jitter)?;
        if !request.extensions().get::<Retries>().is_none_or(Retries::reserve) {
            return None;
        }
        let sleep = tokio::time::sleep_until(end + waiter.turn);
        self.was_held = true;
        Some((waiter, sleep))
    }

    fn record(&self, wait: Duration) {
        let Settings { policy, backoff, label, .. } = &*self.settings;
        let wait = wait.min(policy.max_backoff);
        backoff.record(wait);
        tracing::debug!("{label} rate-limit backoff recorded: wait={:.3}s", wait.as_secs_f64());
    }

    fn random_wait(&self) -> Duration {
        let policy = &self.settings.policy;
        policy.random_min + self.settings.random_part(policy.random_max - policy.random_min)
    }

    /// How long the request may wait from now.
    fn limit(&self, request: &KeptRequest<B>) -> Duration {
        let preferred = preferred_wait(&request.headers());
        let patience = preferred.map_or(Duration::MAX, |wait| wait.saturating_sub(self.waited));
        self.settings.policy.max_wait.min(patience)
    }

    fn surface<R>(&self, mut response: Response<R>) -> Response<R> {
        if let Some(limited) = self.limited {
            response.extensions_mut().insert(limited);
        }
        response
    }
}

/// Whether the time for the whole request would be over before the wait is.
fn is_out_of_time_after<B>(wait: Duration, request: &KeptRequest<B>) -> bool {
    let deadline = request.extensions().get::<Candidate>().and_then(|candidate| candidate.deadline);
    deadline.is_some_and(|deadline| Instant::now() + wait >= Instant::from_std(deadline))
}

/// Whether a layer below gave the answer, as when no token can be had for the provider: it says nothing of its limits.
fn is_made_here<R>(response: &Response<R>) -> bool {
    response.extensions().get::<ErrorAnswer>().is_some()
}

/// The client's `Prefer: wait=10` (RFC 7240, section 4.3).
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
        seconds.filter(|_| name.trim().eq_ignore_ascii_case("wait"))
    })
}

impl<S, B, R> fmt::Debug for RateLimitRetryFuture<S, B, R>
where
    S: Service<Request<B>>,
    R: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitRetryFuture").finish_non_exhaustive()
    }
}
