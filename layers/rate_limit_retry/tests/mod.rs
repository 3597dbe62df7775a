mod contract;
mod hint;
mod hold;
mod logs;
mod peek;
mod waiters;

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Duration, Instant};
use tower::{Layer as _, ServiceExt as _};
use tower_service::Service;

use super::{Backoff, PeekedBody, Policy, RateLimitRetryLayer};
use crate::body::{AnswerBody, ReplayBody};

type Answered = Response<AnswerBody<PeekedBody<Script>>>;

/// A body that does as it is told, and says when it is gone.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    alive: Arc<()>,
}

#[derive(Debug)]
enum Step {
    Frame(Frame<Bytes>),
    Break,
    Stall,
}

fn data(text: &str) -> Step {
    Step::Frame(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

#[derive(Debug, PartialEq)]
struct Broken;

impl From<Vec<Step>> for Script {
    fn from(steps: Vec<Step>) -> Self {
        Self { steps: steps.into(), alive: Arc::default() }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.steps.pop_front() {
            Some(Step::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Step::Break) => Poll::Ready(Some(Err(Broken))),
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.steps.iter().map(|step| match step {
            Step::Frame(frame) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Step::Break | Step::Stall => 0,
        });
        SizeHint::with_exact(frames.sum())
    }
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Response<Script> {
    let mut response = Response::new(Script::from(vec![data(body)]));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().extend(headers.iter().map(|&(name, value)| {
        let name = HeaderName::from_static(name);
        (name, value.parse().unwrap())
    }));
    response
}

fn ok() -> Response<Script> {
    answer(200, &[], "fine")
}

fn limited(retry_after: &'static str) -> Response<Script> {
    answer(429, &[("retry-after", retry_after)], "slow down")
}

type Sent = (Instant, Request<ReplayBody>);

/// An upstream that gives its answers in order, then 200, and keeps what it was sent and when.
#[derive(Clone, Default)]
struct Upstream {
    answers: Arc<Mutex<VecDeque<Response<Script>>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    latency: Duration,
}

impl Upstream {
    fn new(answers: impl IntoIterator<Item = Response<Script>>) -> Self {
        let upstream = Self::default();
        upstream.answers.lock().unwrap().extend(answers);
        upstream
    }

    fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    fn sent(&self) -> Vec<Request<ReplayBody>> {
        self.sent.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// When the requests came, in milliseconds since `start`.
    fn sent_at(&self, start: Instant) -> Vec<u128> {
        self.sent.lock().unwrap().iter().map(|(at, _)| (*at - start).as_millis()).collect()
    }

    fn calls(&self) -> usize {
        self.sent.lock().unwrap().len()
    }
}

impl Service<Request<ReplayBody>> for Upstream {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Script>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody>) -> Self::Future {
        self.sent.lock().unwrap().push((Instant::now(), request));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(ok);
        let latency = self.latency;
        Box::pin(async move {
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            Ok(answer)
        })
    }
}

fn layer() -> RateLimitRetryLayer {
    RateLimitRetryLayer::new(Policy::default(), Backoff::new()).random(|| 0.5)
}

fn request() -> Request<ReplayBody> {
    Request::new("{}".into())
}

async fn send(layer: &RateLimitRetryLayer, upstream: &Upstream, request: Request<ReplayBody>) -> Answered {
    layer.layer(upstream.clone()).oneshot(request).await.unwrap()
}

async fn text(response: Answered) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
