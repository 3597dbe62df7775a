use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use pin_project::pin_project;
use pointsman_layers::body::{AnswerBody, ErrorAnswer};
use tower_service::Service;

use crate::gateway::{error_shape::shaped, request_id::Ids};

/// The longest target of a request, in bytes.
const LONGEST_TARGET: usize = 16 * 1024;

/// Refuses requests that another server could read in another way, and that hyper lets pass; their connection is closed.
#[derive(Clone, Debug)]
pub(super) struct Strict<S> {
    inner: S,
    ids: Ids,
}

impl<S> Strict<S> {
    pub(super) fn new(inner: S, ids: Ids) -> Self {
        Self { inner, ids }
    }
}

impl<S, Q, B> Service<Request<Q>> for Strict<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<AnswerBody<B>>;
    type Error = S::Error;
    type Future = StrictFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> StrictFuture<S::Future, B> {
        match fault(&request) {
            None => StrictFuture::Calling(self.inner.call(request)),
            Some(answer) => {
                let answer = answer.header(header::CONNECTION, HeaderValue::from_static("close"));
                let id = self.ids.of(request.headers());
                StrictFuture::Refused(Some(Box::new(shaped(answer, request.uri().path(), id))))
            }
        }
    }
}

fn fault<Q>(request: &Request<Q>) -> Option<ErrorAnswer> {
    let refuse = |status, code, message| Some(ErrorAnswer::new(status, code, message));
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > LONGEST_TARGET {
        return refuse(StatusCode::URI_TOO_LONG, "uri_too_long", "the path and query are over 16 KiB");
    }
    // HTTP/2 has neither of what follows, and HTTP/1.0 need not have a host.
    if request.version() != Version::HTTP_11 {
        return None;
    }
    if request.headers().get_all(header::HOST).iter().count() != 1 {
        return refuse(StatusCode::BAD_REQUEST, "invalid_host", "a request has exactly one Host header");
    }
    let mut encodings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        let message = "of the transfer encodings, only `chunked` is known here";
        return refuse(StatusCode::BAD_REQUEST, "invalid_transfer_encoding", message);
    }
    None
}

/// The response future of [`Strict`].
#[pin_project(project = StrictFutureProj)]
pub(super) enum StrictFuture<F, B> {
    Calling(#[pin] F),
    Refused(Option<Box<Response<AnswerBody<B>>>>),
}

impl<F, B, E> Future for StrictFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<AnswerBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            StrictFutureProj::Calling(future) => {
                ready!(future.poll(cx)).map(|response| response.map(AnswerBody::inner))
            }
            StrictFutureProj::Refused(answer) => Ok(*answer.take().expect("a future is not polled after it is ready")),
        })
    }
}
