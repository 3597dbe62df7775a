use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time,
};

use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;

use super::{
    ErrorReport,
    state::{Judgement, Tally},
};
use crate::body::ReportBody;

/// The response future of [`ErrorCount`](super::ErrorCount).
#[pin_project]
#[derive(Debug)]
pub struct ErrorCountFuture<F> {
    #[pin]
    future: F,
    attempt: Attempt,
}

/// A request that is under way. Dropped before its answer is there, it counts only past the deadline: then it was the
/// route that gave up, and otherwise the client.
#[derive(Debug)]
struct Attempt {
    tally: Option<Arc<Tally>>,
    deadline: Option<time::Instant>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let (Some(tally), Some(deadline)) = (&self.tally, self.deadline)
            && Instant::now() >= Instant::from_std(deadline)
        {
            tally.window.record();
        }
    }
}

impl<F> ErrorCountFuture<F> {
    pub(super) fn new(future: F, tally: Arc<Tally>, deadline: Option<time::Instant>) -> Self {
        Self { future, attempt: Attempt { tally: Some(tally), deadline } }
    }
}

impl<F, B, E> Future for ErrorCountFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ReportBody<B, ErrorReport>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        let tally = this.attempt.tally.take().expect("a future is not polled after it is ready");
        Poll::Ready(match result {
            Err(error) => {
                tally.window.record();
                Err(error)
            }
            Ok(response) => {
                let tally = match tally.judge(&response) {
                    Judgement::UpToTheBody => Some(tally),
                    Judgement::NoFailure => None,
                    Judgement::Failure => {
                        tally.window.record();
                        None
                    }
                };
                Ok(response.map(|body| ReportBody::new(body, ErrorReport { tally })))
            }
        })
    }
}
