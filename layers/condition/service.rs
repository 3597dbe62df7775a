use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{ConditionFuture, layer::Rule, policy::Verdict};
use crate::{
    body::AnswerBody,
    error_count::ErrorCountHandle,
    ext::Candidate,
    quota::{HeaderReading, QuotaHandle, QuotaRead},
};

/// The service of [`ConditionLayer`](super::ConditionLayer). See the [module docs](super).
#[derive(Clone, Debug)]
pub struct ConditionGate<S> {
    inner: S,
    rule: Option<Rule>,
}

/// What a request's extensions say so far.
enum First {
    Decided(Verdict),
    /// The quota has to be waited for.
    Ask(QuotaRead, Option<HeaderReading>, Rule, u64),
}

impl<S> ConditionGate<S> {
    pub(super) fn new(inner: S, rule: Option<Rule>) -> Self {
        Self { inner, rule }
    }

    inner_service_accessors!();

    /// The instance that was polled ready; a fresh clone stays.
    fn take_ready(&mut self) -> S
    where
        S: Clone,
    {
        let fresh = self.inner.clone();
        std::mem::replace(&mut self.inner, fresh)
    }

    /// Decides without waiting, if that can be. On the way to an open gate nothing is allocated or cloned.
    fn first(&self, extensions: &http::Extensions) -> First {
        let (condition, on_unknown) = match &self.rule {
            Some(rule) => (&rule.condition, rule.on_unknown),
            None => match extensions.get::<Candidate>() {
                Some(Candidate { condition: Some(condition), on_unknown, .. }) => (&**condition, *on_unknown),
                _ => return First::Decided(Verdict::Open),
            },
        };
        let error_count = extensions.get::<ErrorCountHandle>().map_or(0, ErrorCountHandle::count);
        // Most are decided without the quota; what its headers say is not looked up for them.
        if let Ok(Some(true)) = condition.evaluate_lazily(None, error_count) {
            return First::Decided(Verdict::Open);
        }
        let Some(handle) = extensions.get::<QuotaHandle>() else {
            return First::Decided(on_unknown.decide(condition, None, None, error_count));
        };
        let headers = handle.headers();
        if let Some(verdict) = on_unknown.decide_early(condition, headers.as_ref(), error_count) {
            return First::Decided(verdict);
        }
        match handle.cached() {
            Some(reading) => {
                First::Decided(on_unknown.decide(condition, Some(&reading), headers.as_ref(), error_count))
            }
            None => First::Ask(handle.read(), headers, Rule { condition: condition.clone(), on_unknown }, error_count),
        }
    }
}

impl<S, B, R> Service<Request<B>> for ConditionGate<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = ConditionFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> ConditionFuture<S, B> {
        match self.first(request.extensions()) {
            First::Decided(Verdict::Open) => ConditionFuture::calling(self.inner.call(request)),
            First::Decided(Verdict::Closed(reason)) => {
                // Whatever place the ready instance holds in a limit below is given back.
                self.take_ready();
                ConditionFuture::closed(reason)
            }
            First::Ask(read, headers, rule, error_count) => {
                ConditionFuture::asking(read, headers, rule, error_count, self.take_ready(), request)
            }
        }
    }
}
