use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf as _;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::read::Read;
use crate::body::{AnswerBody, ErrorAnswer, ReplayBody};

/// The response future of [`Collect`](crate::body::Collect).
#[pin_project]
pub struct CollectFuture<S, B>
where
    S: Service<Request<ReplayBody>>,
{
    #[pin]
    state: State<S, S::Future, B>,
}

#[pin_project(project = StateProj)]
enum State<S, F, B> {
    Reading {
        #[pin]
        body: B,
        read: Read,
        /// The service and the head, taken when the body is there.
        call: Option<(S, Box<Parts>)>,
        limit: usize,
        timeout: Option<Duration>,
        /// Set when the body is first waited for: mostly it comes in one piece.
        timer: Option<Pin<Box<Sleep>>>,
        /// Whether a frame came since the timer was set.
        moved: bool,
    },
    Calling(#[pin] F),
    Refused(Option<ErrorAnswer>),
}

impl<S, B> CollectFuture<S, B>
where
    S: Service<Request<ReplayBody>>,
    B: Body,
{
    pub(super) fn new(service: S, request: Request<B>, limit: usize, frame_timeout: Option<Duration>) -> Self {
        if request.body().size_hint().lower() > limit as u64 {
            return Self { state: State::Refused(Some(too_large(limit))) };
        }
        let (parts, body) = request.into_parts();
        Self {
            state: State::Reading {
                body,
                read: Read::default(),
                call: Some((service, Box::new(parts))),
                limit,
                timeout: frame_timeout,
                timer: None,
                moved: true,
            },
        }
    }
}

impl<S, B, R> Future for CollectFuture<S, B>
where
    S: Service<Request<ReplayBody>, Response = Response<R>>,
    B: Body,
{
    type Output = Result<Response<AnswerBody<R>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project().state.project() {
                StateProj::Reading { mut body, read, call, limit, timeout, timer, moved } => {
                    match body.as_mut().poll_frame(cx) {
                        Poll::Ready(Some(Ok(frame))) => {
                            *moved = true;
                            let Ok(data) = frame.into_data() else { continue };
                            if !data.has_remaining() {
                                continue;
                            }
                            if data.remaining() > *limit - read.len() {
                                State::Refused(Some(too_large(*limit)))
                            } else {
                                let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                                let room = *limit - read.len() - data.remaining();
                                read.push(data, announced.min(room));
                                continue;
                            }
                        }
                        Poll::Ready(Some(Err(_))) => State::Refused(Some(ErrorAnswer::new(
                            StatusCode::BAD_REQUEST,
                            "request_body_broken",
                            "the request body broke off before its end",
                        ))),
                        Poll::Ready(None) => {
                            let (mut service, parts) = call.take().expect("taken once: the state changes right after");
                            let request = Request::from_parts(*parts, std::mem::take(read).finish());
                            State::Calling(service.call(request))
                        }
                        Poll::Pending => {
                            let Some(timeout) = *timeout else { return Poll::Pending };
                            if std::mem::take(moved) {
                                *timer = Some(Box::pin(tokio::time::sleep(timeout)));
                            }
                            if let Some(timer) = timer {
                                ready!(timer.as_mut().poll(cx));
                            }
                            State::Refused(Some(ErrorAnswer::new(
                                StatusCode::REQUEST_TIMEOUT,
                                "request_body_timeout",
                                format!("nothing more of the request body came for {timeout:?}"),
                            )))
                        }
                    }
                }
                StateProj::Calling(future) => {
                    return future.poll(cx).map_ok(|response| response.map(AnswerBody::inner));
                }
                StateProj::Refused(answer) => {
                    let answer = answer.take().expect("a future is not polled after it is ready");
                    return Poll::Ready(Ok(answer.into_response()));
                }
            };
            self.as_mut().project().state.set(next);
        }
    }
}

impl<S, B> fmt::Debug for CollectFuture<S, B>
where
    S: Service<Request<ReplayBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectFuture").finish_non_exhaustive()
    }
}

fn too_large(limit: usize) -> ErrorAnswer {
    ErrorAnswer::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "request_too_large",
        format!("the request body is over the limit of {limit} bytes"),
    )
}
