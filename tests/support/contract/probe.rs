use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pointsman_layers::body::ReplayBody;
use tower_service::Service;

/// The error of a [`Probe`] and of its bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeError(pub u32);

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "probe error {}", self.0)
    }
}

impl std::error::Error for ProbeError {}

/// What a [`Probe`] and all that came of it have seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub requests: Mutex<Vec<Request<ReplayBody>>>,
    pub future_polls: AtomicUsize,
    pub futures_alive: AtomicUsize,
    pub bodies_alive: AtomicUsize,
}

impl Seen {
    pub fn calls(&self) -> usize {
        self.requests.lock().expect("nothing panics under the lock").len()
    }
}

/// What a [`Probe`] does when it is called.
#[derive(Clone, Debug)]
pub enum Plan {
    Answer(Script),
    Fail(ProbeError),
    Hang,
}

/// An answer: the head, and the parts of the body.
#[derive(Clone, Debug)]
pub struct Script {
    pub status: u16,
    pub content_type: &'static str,
    pub parts: &'static [Part],
    /// Whether the body knows its length.
    pub sized: bool,
}

/// A part of a body.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Data(&'static str),
    Trailer(&'static str),
    Error(ProbeError),
    /// Nothing more ever comes.
    Hang,
}

impl Part {
    /// How many bytes of data it is.
    pub fn length(self) -> u64 {
        if let Self::Data(data) = self { data.len() as u64 } else { 0 }
    }
}

/// The innermost service: it watches how the layer above treats it.
///
/// Readiness belongs to the instance and is not inherited by a clone, so a call on a clone of the instance that was
/// polled panics. Everything takes two polls, so a layer that forgets to wake, or to poll again, hangs.
#[derive(Debug)]
pub struct Probe {
    plan: Plan,
    seen: Arc<Seen>,
    ready: Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    No,
    Soon,
    Yes,
}

impl Probe {
    pub(super) fn new(plan: Plan, seen: Arc<Seen>) -> Self {
        Self { plan, seen, ready: Ready::No }
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self::new(self.plan.clone(), self.seen.clone())
    }
}

impl Service<Request<ReplayBody>> for Probe {
    type Response = Response<ProbeBody>;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        match self.ready {
            Ready::No => {
                self.ready = Ready::Soon;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ready::Soon | Ready::Yes => {
                self.ready = Ready::Yes;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: Request<ReplayBody>) -> ProbeFuture {
        assert_eq!(self.ready, Ready::Yes, "called an instance that was not polled ready");
        self.ready = Ready::No;
        self.seen.requests.lock().expect("nothing panics under the lock").push(request);
        self.seen.futures_alive.fetch_add(1, SeqCst);
        ProbeFuture { plan: self.plan.clone(), seen: self.seen.clone(), polled: false }
    }
}

/// The response future of a [`Probe`].
#[derive(Debug)]
pub struct ProbeFuture {
    plan: Plan,
    seen: Arc<Seen>,
    polled: bool,
}

impl Future for ProbeFuture {
    type Output = Result<Response<ProbeBody>, ProbeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.seen.future_polls.fetch_add(1, SeqCst);
        if !std::mem::replace(&mut self.polled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &self.plan {
            Plan::Answer(script) => Poll::Ready(Ok(script.response(Some(self.seen.clone())))),
            Plan::Fail(error) => Poll::Ready(Err(*error)),
            Plan::Hang => Poll::Pending,
        }
    }
}

impl Drop for ProbeFuture {
    fn drop(&mut self) {
        self.seen.futures_alive.fetch_sub(1, SeqCst);
    }
}

/// What travels as an extension, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

impl Script {
    /// The response as the probe gives it; or, without `seen`, one to compare with.
    pub fn response(&self, seen: Option<Arc<Seen>>) -> Response<ProbeBody> {
        if let Some(seen) = &seen {
            seen.bodies_alive.fetch_add(1, SeqCst);
        }
        let body = ProbeBody { parts: self.parts.iter().copied().collect(), sized: self.sized, polled: false, seen };
        Response::builder()
            .status(self.status)
            .header("content-type", self.content_type)
            .header("x-probe", "one")
            .header("x-probe", "two")
            .extension(Mark(2))
            .body(body)
            .expect("a response of constants")
    }
}

/// The response body of a [`Probe`].
#[derive(Debug)]
pub struct ProbeBody {
    parts: VecDeque<Part>,
    sized: bool,
    polled: bool,
    seen: Option<Arc<Seen>>,
}

impl Body for ProbeBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        if let Some(Part::Hang) = self.parts.front() {
            return Poll::Pending;
        }
        self.polled = !self.polled;
        if self.polled {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.parts.pop_front().map(|part| match part {
            Part::Data(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
            Part::Trailer(value) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-trailer", HeaderValue::from_static(value));
                Ok(Frame::trailers(trailers))
            }
            Part::Error(error) => Err(error),
            Part::Hang => unreachable!("handled above"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.parts.iter().map(|part| part.length()).sum();
        if self.sized { SizeHint::with_exact(left) } else { SizeHint::default() }
    }
}

impl Drop for ProbeBody {
    fn drop(&mut self) {
        if let Some(seen) = &self.seen {
            seen.bodies_alive.fetch_sub(1, SeqCst);
        }
    }
}
