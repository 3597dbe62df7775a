use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::{Resolved, RouteBody, run::Run};
use crate::{
    body::{AnswerBody, ErrorAnswer, ReplayBody},
    ext::{ClassifyFailure, Failure},
};

/// The response future of [`Router`](super::Router).
#[pin_project]
pub struct RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>>,
{
    #[pin]
    state: State<S, S::Future, C, B>,
}

#[pin_project(project = StateProj)]
#[expect(
    clippy::large_enum_variant,
    reason = "the small one is rare, and a box would cost every request an allocation"
)]
enum State<S, F, C, B> {
    Running {
        inner: S,
        classify: C,
        run: Run<B>,
        #[pin]
        attempt: Attempt<S, F>,
        /// Ends the whole request.
        #[pin]
        timer: Sleep,
    },
    /// The request was refused before a route was found; `None` when this or any other answer is up.
    Over(Option<ErrorAnswer>),
}

#[pin_project(project = AttemptProj)]
enum Attempt<S, F> {
    /// The next candidate is to be chosen.
    Choose,
    /// A candidate's service gets ready for its request.
    Ready(S),
    /// A candidate has its request.
    Calling(#[pin] F),
}

impl<S, C, B> RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>>,
{
    pub(super) fn new(inner: S, classify: C, request: Request<ReplayBody>, resolved: Resolved) -> Self {
        let run = Run::new(request, resolved);
        let timer = tokio::time::sleep_until(run.deadline());
        Self { state: State::Running { inner, classify, run, attempt: Attempt::Choose, timer } }
    }

    pub(super) fn refused(answer: ErrorAnswer) -> Self {
        Self { state: State::Over(Some(answer)) }
    }
}

impl<S, C, B> Future for RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>, Response = Response<B>> + Clone,
    S::Error: fmt::Display,
    C: ClassifyFailure<S::Error>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<RouteBody<AnswerBody<B>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let response = match state.as_mut().project() {
            StateProj::Running { inner, classify, run, attempt, timer } => {
                ready!(poll_attempts(inner, classify, run, attempt, timer, cx))
            }
            StateProj::Over(answer) => {
                let answer = answer.take().expect("a future is not polled after it is ready");
                answer.into_response().map(RouteBody::plain)
            }
        };
        state.set(State::Over(None));
        Poll::Ready(Ok(response))
    }
}

fn poll_attempts<S, C, B>(
    inner: &S,
    classify: &C,
    run: &mut Run<B>,
    mut attempt: Pin<&mut Attempt<S, S::Future>>,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Response<RouteBody<AnswerBody<B>>>>
where
    S: Service<Request<ReplayBody>, Response = Response<B>> + Clone,
    S::Error: fmt::Display,
    C: ClassifyFailure<S::Error>,
    B: Body<Data = Bytes>,
{
    loop {
        let polled = match attempt.as_mut().project() {
            AttemptProj::Choose => {
                if !run.next() {
                    return Poll::Ready(run.finish());
                }
                attempt.set(Attempt::Ready(inner.clone()));
                continue;
            }
            AttemptProj::Ready(service) => match service.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    let future = service.call(run.request());
                    attempt.set(Attempt::Calling(future));
                    continue;
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            },
            AttemptProj::Calling(future) => future.poll(cx),
        };
        let failure = match polled {
            Poll::Ready(Ok(response)) => {
                if let Some(response) = run.judge(response) {
                    return Poll::Ready(response);
                }
                None
            }
            Poll::Ready(Err(error)) => Some((classify.classify(&error), error.to_string().into())),
            Poll::Pending => {
                ready!(timer.as_mut().poll(cx));
                Some((Failure::TIMEOUT, "no answer within the time for the whole request".into()))
            }
        };
        if let Some((mut failure, reason)) = failure {
            // What was not sent cannot have been carried out.
            failure.ambiguous &= matches!(*attempt, Attempt::Calling(_));
            run.failed(failure, reason);
        }
        // Drops what is left of the attempt before the next one starts.
        attempt.set(Attempt::Choose);
    }
}

impl<S, C, B> fmt::Debug for RouteFuture<S, C, B>
where
    S: Service<Request<ReplayBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}
