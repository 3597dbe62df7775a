use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;

use super::{FirstEventBody, awaited::Awaited};
use crate::{body::AnswerBody, ext::ClassifyFailure};

/// The response future of [`FirstEvent`](crate::first_event::FirstEvent).
#[pin_project]
pub struct FirstEventFuture<F, B, C> {
    #[pin]
    state: State<F, B>,
    hold_limit: usize,
    classify: C,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "a client's future is no smaller, and a box would cost each response")]
enum State<F, B> {
    Calling {
        #[pin]
        future: F,
        /// Whether the answer goes up without a look at its body.
        passes: bool,
    },
    Waiting {
        /// Taken when it is handed up.
        response: Option<Response<FirstEventBody<B>>>,
        awaited: Awaited,
    },
}

impl<F, B, C> FirstEventFuture<F, B, C> {
    pub(super) fn new(future: F, passes: bool, hold_limit: usize, classify: C) -> Self {
        Self { state: State::Calling { future, passes }, hold_limit, classify }
    }
}

impl<F, B, C, E> Future for FirstEventFuture<F, B, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Unpin,
    C: ClassifyFailure<B::Error>,
{
    type Output = Result<Response<AnswerBody<FirstEventBody<B>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Calling { future, passes } => {
                    let response = ready!(future.poll(cx))?.map(FirstEventBody::new);
                    match Awaited::of(&response, *passes, *this.hold_limit) {
                        Some(awaited) => this.state.set(State::Waiting { response: Some(response), awaited }),
                        None => return Poll::Ready(Ok(response.map(AnswerBody::inner))),
                    }
                }
                StateProj::Waiting { response, awaited } => {
                    let body = response.as_mut().expect("a future is not polled after it is ready").body_mut();
                    let came = ready!(awaited.poll(body, cx, *this.hold_limit, this.classify));
                    let response = response.take().expect("it was there a moment ago");
                    return Poll::Ready(Ok(match came {
                        Ok(()) => response.map(AnswerBody::inner),
                        Err(early) => early.replace(response),
                    }));
                }
            }
        }
    }
}

impl<F, B, C> fmt::Debug for FirstEventFuture<F, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstEventFuture").finish_non_exhaustive()
    }
}
