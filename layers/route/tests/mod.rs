//! What the tests of the router share: a scripted provider, its errors, and its bodies.

mod attempts;
mod body;
mod choice;
mod multipart;
mod reference;
mod segments;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::{Route, RouteBody, RouteLayer, Routes, Target};
use crate::{
    body::{AnswerBody, ReplayBody},
    ext::{Candidate, EarlyFailure, Failure, GateClosed, Trail},
};

/// An error of the provider that says of itself what it means.
#[derive(Clone, Copy, Debug)]
struct Failed(Failure);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed")
    }
}

/// What a body does next.
#[derive(Debug)]
enum Step {
    Data(&'static str),
    Trailers(HeaderMap),
    Break,
    Hang,
}

/// A provider's body: it takes its steps, then ends.
#[derive(Debug, Default)]
struct TestBody {
    steps: VecDeque<Step>,
    hint: SizeHint,
    /// Shared with the test, which sees by the count when the body is dropped.
    #[expect(dead_code, reason = "only counted")]
    alive: Option<Arc<()>>,
}

impl TestBody {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        match self.steps.front() {
            Some(Step::Hang) => return Poll::Pending,
            None => return Poll::Ready(None),
            _ => {}
        }
        Poll::Ready(self.steps.pop_front().map(|step| match step {
            Step::Data(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Step::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Step::Break | Step::Hang => Err(Failed(Failure::BROKEN)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// What a candidate does with its request.
#[derive(Clone, Debug)]
enum Act {
    /// Its gate is closed; with a `Retry-After` in seconds.
    Skip(Option<u64>),
    /// It answers with this status.
    Answer(u16),
    /// It says success, and then this.
    Early(u16, Failure),
    /// It gives no answer.
    Fail(Failure),
    /// It never answers.
    Hang,
}

impl Act {
    async fn run(self) -> Result<Response<TestBody>, Failed> {
        let mut response = Response::new(TestBody::new([Step::Data("from the provider")]));
        match self {
            Self::Skip(retry_after) => {
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                }
                response.extensions_mut().insert(GateClosed::new("closed: balance > 0"));
            }
            Self::Answer(code) => *response.status_mut() = status(code),
            Self::Early(code, failure) => {
                *response.status_mut() = status(code);
                response.extensions_mut().insert(EarlyFailure(failure));
            }
            Self::Fail(failure) => return Err(Failed(failure)),
            Self::Hang => std::future::pending().await,
        }
        Ok(response)
    }
}

fn status(code: u16) -> http::StatusCode {
    http::StatusCode::from_u16(code).unwrap()
}

/// A route `fast` with this many candidates: providers `0`, `1`, ... with models `m0`, `m1`, ...
fn route(candidates: usize) -> Route {
    (0..candidates).fold(Route::new("fast"), |route, i| route.candidate(Target::new(i.to_string(), format!("m{i}"))))
}

fn request() -> Request<ReplayBody> {
    Request::post("/v1/chat/completions").body(r#"{"model": "fast"}"#.into()).unwrap()
}

/// The layer around `inner` for this one route.
fn layered<S>(route: Route, inner: S) -> super::Router<S, Routes, fn(&Failed) -> Failure> {
    let classify: fn(&Failed) -> Failure = |failed| failed.0;
    RouteLayer::new(Routes::from_iter([route])).classify(classify).layer(inner)
}

type Answer = Response<RouteBody<AnswerBody<TestBody>>>;

/// What came of one request, and the candidates' requests.
struct Ran {
    response: Answer,
    requests: Vec<Request<ReplayBody>>,
    took: Duration,
}

/// Sends one request through `route`, whose candidates act, each after its delay.
async fn run_timed(route: Route, acts: Vec<(Duration, Act)>) -> Ran {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let providers = service_fn(move |request: Request<ReplayBody>| {
        let index: usize = request.extensions().get::<Candidate>().unwrap().provider.parse().unwrap();
        seen.lock().unwrap().push(request);
        let (delay, act) = acts[index].clone();
        async move {
            tokio::time::sleep(delay).await;
            act.run().await
        }
    });
    let start = tokio::time::Instant::now();
    let Ok(response) = layered(route, providers).oneshot(request()).await;
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    Ran { response, requests, took: start.elapsed() }
}

async fn run(route: Route, acts: impl IntoIterator<Item = Act>) -> Ran {
    run_timed(route, acts.into_iter().map(|act| (Duration::ZERO, act)).collect()).await
}

impl Ran {
    fn trail(&self) -> &Trail {
        self.response.extensions().get().expect("a trail")
    }

    /// The providers that were called, in order.
    fn called(&self) -> Vec<&str> {
        self.candidates().map(|candidate| &*candidate.provider).collect()
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.requests.iter().map(|request| request.extensions().get::<Candidate>().unwrap())
    }

    fn answered(&self) -> Option<&str> {
        self.trail().answered().map(|attempt| &*attempt.provider)
    }

    /// Each outcome of the trail as its `Debug` text.
    fn outcomes(&self) -> Vec<String> {
        self.trail().attempts().iter().map(|attempt| format!("{:?}", attempt.outcome)).collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// The status, code and message of an error of the router's own.
    async fn error(self) -> (u16, String, String) {
        let status = self.response.status().as_u16();
        let body = self.response.into_body().collect().await.unwrap().to_bytes();
        let error: Value = serde_json::from_slice(&body).unwrap();
        let text = |key: &str| error["error"][key].as_str().unwrap().to_owned();
        (status, text("code"), text("message"))
    }
}
