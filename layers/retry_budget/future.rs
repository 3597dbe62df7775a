use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Response, StatusCode};
use pin_project::pin_project;

use crate::{
    body::{AnswerBody, ErrorAnswer},
    ext::GateClosed,
};

/// The response future of [`LimitRetries`](super::LimitRetries).
#[pin_project]
#[derive(Debug)]
pub struct LimitRetriesFuture<F> {
    /// `None` for a call that found nothing left.
    #[pin]
    inner: Option<F>,
}

impl<F> LimitRetriesFuture<F> {
    pub(super) fn calling(inner: F) -> Self {
        Self { inner: Some(inner) }
    }

    pub(super) fn refused() -> Self {
        Self { inner: None }
    }
}

impl<F, R, E> Future for LimitRetriesFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<AnswerBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_ok(|response| response.map(AnswerBody::inner)),
            None => Poll::Ready(Ok(refusal())),
        }
    }
}

fn refusal<R>() -> Response<AnswerBody<R>> {
    const WHY: &str = "the retry budget is used up";
    let answer = ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "retry_budget_exhausted", WHY);
    let mut response = answer.retry_after(Duration::from_secs(1)).into_response();
    response.extensions_mut().insert(GateClosed::new(WHY));
    response
}
