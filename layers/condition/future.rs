use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{layer::Rule, policy::Verdict};
use crate::{
    body::{AnswerBody, ErrorAnswer},
    ext::{Candidate, GateClosed},
    quota::{HeaderReading, QuotaRead},
};

/// The response future of [`ConditionGate`](super::ConditionGate).
#[pin_project]
pub struct ConditionFuture<S, B>
where
    S: Service<Request<B>>,
{
    #[pin]
    state: State<S, S::Future, B>,
}

#[pin_project(project = StateProj)]
enum State<S, F, B> {
    /// Boxed: it is rare and large, and every future of an open gate would be as large.
    Asking(Pin<Box<Asking<S, B>>>),
    Calling(#[pin] F),
    Closed(Arc<str>),
}

/// A gate that waits for the quota.
#[pin_project]
struct Asking<S, B> {
    #[pin]
    read: QuotaRead,
    headers: Option<HeaderReading>,
    rule: Rule,
    error_count: u64,
    /// What to do if it opens; taken then.
    call: Option<(S, Request<B>)>,
}

/// Why a gate is closed that would let the request through too late.
const LATE: &str = "quota unknown: it did not come within the time for the whole request";

impl<S, B> Asking<S, B> {
    /// Whether whoever waits for the gate does so no longer. It is polled once more then, and says that nobody was asked.
    fn is_late(&self) -> bool {
        let candidate = self.call.as_ref().and_then(|(_, request)| request.extensions().get::<Candidate>());
        let deadline = candidate.and_then(|candidate| candidate.deadline);
        deadline.is_some_and(|deadline| Instant::now() >= Instant::from_std(deadline))
    }
}

impl<S, B> ConditionFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn calling(future: S::Future) -> Self {
        Self { state: State::Calling(future) }
    }

    pub(super) fn closed(reason: Arc<str>) -> Self {
        Self { state: State::Closed(reason) }
    }

    pub(super) fn asking(
        read: QuotaRead,
        headers: Option<HeaderReading>,
        rule: Rule,
        error_count: u64,
        service: S,
        request: Request<B>,
    ) -> Self {
        let call = Some((service, request));
        Self { state: State::Asking(Box::pin(Asking { read, headers, rule, error_count, call })) }
    }
}

impl<S, B, R> Future for ConditionFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<AnswerBody<R>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                StateProj::Asking(asking) => {
                    let is_late = asking.is_late();
                    let asking = asking.as_mut().project();
                    let reading = match asking.read.poll(cx) {
                        Poll::Ready(reading) => reading,
                        Poll::Pending if is_late => return Poll::Ready(Ok(closed(&Arc::from(LATE)))),
                        Poll::Pending => return Poll::Pending,
                    };
                    let Rule { condition, on_unknown } = asking.rule;
                    match on_unknown.decide(condition, Some(&reading), asking.headers.as_ref(), *asking.error_count) {
                        Verdict::Open => {
                            let (mut service, request) =
                                asking.call.take().expect("taken once: the state changes right after");
                            State::Calling(service.call(request))
                        }
                        Verdict::Closed(reason) => State::Closed(reason),
                    }
                }
                StateProj::Calling(future) => {
                    return future.poll(cx).map_ok(|response| response.map(AnswerBody::inner));
                }
                StateProj::Closed(reason) => return Poll::Ready(Ok(closed(reason))),
            };
            self.as_mut().project().state.set(next);
        }
    }
}

fn closed<R>(reason: &Arc<str>) -> Response<AnswerBody<R>> {
    let message = format!("the provider was not asked; {reason}");
    let mut response = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "gate_closed", message).into_response();
    response.extensions_mut().insert(GateClosed::new(Arc::clone(reason)));
    response
}

impl<S, B> fmt::Debug for ConditionFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionFuture").finish_non_exhaustive()
    }
}
