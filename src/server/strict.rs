use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, uri::Authority};
use http_body::Body;
use pin_project::pin_project;
use pointsman_layers::body::{AnswerBody, BodyEnd, ErrorAnswer, Report, ReportBody};
use tower_service::Service;

use super::{
    MOST_FIELDS,
    heads::Fault,
    refuse::too_large,
    state::{InFlight, State},
};
use crate::gateway::{connection::Cut, error_shape::shaped, request_id::Ids};

/// The longest target of a request, in bytes.
const LONGEST_TARGET: usize = 16 * 1024;

/// Refuses requests that another server could read in another way, and that hyper lets pass; their connection is closed.
/// Counts a request as under way until its answer is over.
#[derive(Clone, Debug)]
pub(super) struct Strict<S> {
    inner: S,
    state: Arc<State>,
    ids: Ids,
}

impl<S> Strict<S> {
    pub(super) fn new(inner: S, state: Arc<State>, ids: Ids) -> Self {
        Self { inner, state, ids }
    }
}

impl<S, Q, B> Service<Request<Q>> for Strict<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<ReportBody<AnswerBody<B>, InFlight>>;
    type Error = S::Error;
    type Future = StrictFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> StrictFuture<S::Future, B> {
        let (in_flight, fault) = self.state.take();
        let stage = match fault.map(faulty).or_else(|| fault_of(&request)) {
            None => {
                // Over HTTP/1 the task that drives the connection polls the future too, and it is the one that cuts.
                let cut = (request.version() > Version::HTTP_11).then(|| self.state.connection().cut());
                request.extensions_mut().insert(self.state.connection().clone());
                Stage::Calling { future: self.inner.call(request), cut }
            }
            Some(answer) => {
                let id = self.ids.of(request.headers());
                tracing::debug!(id = ?id, code = answer.code(), "refused a request: {}", answer.message());
                let answer = answer.header(header::CONNECTION, HeaderValue::from_static("close"));
                Stage::Refused(Some(Box::new(shaped(answer, request.uri().path(), id))))
            }
        };
        StrictFuture { stage, in_flight: Some(in_flight) }
    }
}

pub(super) fn faulty(fault: Fault) -> ErrorAnswer {
    let (code, message) = match fault {
        Fault::BareLineFeed => ("invalid_line_end", "the lines of a request's head end with CR LF"),
        Fault::TwoFramings => ("ambiguous_length", "a request has one Content-Length, or a Transfer-Encoding alone"),
        Fault::TooLarge => return too_large(),
    };
    ErrorAnswer::new(StatusCode::BAD_REQUEST, code, message)
}

fn fault_of<Q>(request: &Request<Q>) -> Option<ErrorAnswer> {
    let (uri, headers) = (request.uri(), request.headers());
    let refuse = |status, code, message| Some(ErrorAnswer::new(status, code, message));
    let bad = |code, message| refuse(StatusCode::BAD_REQUEST, code, message);
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        let refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this is no proxy, and no mirror");
        return refusal.map(|answer| answer.header(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST")));
    }
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target + uri.authority().map_or(0, |authority| authority.as_str().len()) > LONGEST_TARGET {
        return refuse(StatusCode::URI_TOO_LONG, "uri_too_long", "the target of the request is over 16 KiB");
    }
    // Over HTTP/1, hyper has counted them.
    if headers.len() > MOST_FIELDS {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return refuse(status, "too_many_headers", "a request has at most 100 header fields");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    // HTTP/2 has the host in its target, and HTTP/1.0 need not have one.
    if another.is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return bad("invalid_host", "a request has exactly one Host header");
    }
    if let Some(host) = host.map(HeaderValue::as_bytes) {
        if !is_plain_host(host) && !Authority::try_from(host).is_ok_and(|host| is_host(&host)) {
            return bad("invalid_host", "the Host header is no name of a host");
        }
        if uri.authority().is_some_and(|target| !host.eq_ignore_ascii_case(target.as_str().as_bytes())) {
            return bad("invalid_host", "the Host header and the target of the request name two hosts");
        }
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = encodings.next();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if encodings.next().is_some() || first.is_some_and(|encoding| !is_chunked(encoding)) {
        return bad("invalid_transfer_encoding", "of the transfer encodings, only `chunked` is known here, and once");
    }
    None
}

/// Whether it is a name of letters and digits or an IPv4 address, with or without a port: the most usual form of what
/// [`is_host`] takes, found without taking it apart.
fn is_plain_host(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let name = text.iter().take_while(|byte| is_plain(byte)).count();
    match text.split_at(name) {
        ([], _) => false,
        (_, []) => true,
        // The parser of numbers takes a sign.
        (_, [b':', port @ ..]) if port.first().is_some_and(u8::is_ascii_digit) => {
            std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok())
        }
        _ => false,
    }
}

/// A name or an address, with or without a port; nothing that another reader could take apart.
fn is_host(authority: &Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%[]:".contains(&byte);
    !host.is_empty() && host.bytes().all(is_usual) && (text.len() == host.len() || authority.port_u16().is_some())
}

impl Report for InFlight {
    fn report(self, _: BodyEnd) {
        drop(self);
    }
}

/// The response future of [`Strict`].
#[pin_project]
pub(super) struct StrictFuture<F, B> {
    #[pin]
    stage: Stage<F, B>,
    in_flight: Option<InFlight>,
}

#[pin_project(project = StageProj)]
enum Stage<F, B> {
    Calling {
        #[pin]
        future: F,
        #[pin]
        cut: Option<Cut>,
    },
    Refused(Option<Box<Response<AnswerBody<B>>>>),
}

impl<F, B, E> Future for StrictFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ReportBody<AnswerBody<B>, InFlight>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const TWICE: &str = "a future is not polled after it is ready";
        let mut this = self.project();
        let response = match this.stage.as_mut().project() {
            StageProj::Calling { future, cut } => match future.poll(cx) {
                Poll::Ready(response) => response?.map(AnswerBody::inner),
                Poll::Pending => {
                    let is_cut = match cut.as_pin_mut() {
                        Some(cut) => cut.poll(cx).is_ready(),
                        None => this.in_flight.as_ref().is_some_and(InFlight::is_cut),
                    };
                    if !is_cut {
                        return Poll::Pending;
                    }
                    stopping().into_response()
                }
            },
            StageProj::Refused(answer) => *answer.take().expect(TWICE),
        };
        // What was cut ends here, and not when the answer is written.
        this.stage.set(Stage::Refused(None));
        let in_flight = this.in_flight.take().expect(TWICE);
        Poll::Ready(Ok(response.map(|body| ReportBody::new(body, in_flight))))
    }
}

/// The answer to a request that could not be answered before the server had to stop.
fn stopping() -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "server_stopping", "the gateway stops; send the request again")
        .retry_after(Duration::from_secs(1))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
}
