//! Both models are scripted, the router between is real, and the clock is paused.

mod deadlines;
mod failures;
mod rules;
mod streams;
mod whole;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use pointsman_layers::{
    body::ReplayBody,
    ext::Candidate,
    route::{Route, RouteLayer, Target},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{Layer as _, service_fn};

use super::{HybridBody, Hybrids, Sides, driven::DrivenBody};
use crate::config;

/// What a scripted model answers.
type Said = Response<DrivenBody<String>>;

/// What a scripted model does next.
#[derive(Clone, Debug)]
enum Step {
    Data(String),
    Wait(Duration),
    Break,
    Hang,
}

/// A stream of these steps, and then its end. `held` is dropped with it.
fn stream_of(steps: Vec<Step>, held: Arc<()>) -> Said {
    let body = DrivenBody::new(|frames| async move {
        let _held = held;
        for step in steps {
            match step {
                Step::Data(data) => frames.data(data.into()).await,
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Break => return frames.send(Err("broken".to_owned())).await,
                Step::Hang => std::future::pending().await,
            }
        }
    });
    Response::builder().header(header::CONTENT_TYPE, "text/event-stream").body(body).expect("a response")
}

fn stream(steps: impl IntoIterator<Item = Step>) -> Said {
    stream_of(steps.into_iter().collect(), Arc::default())
}

fn whole(status: u16, body: &Value) -> Said {
    let text = body.to_string();
    let body = DrivenBody::new(|frames| async move { frames.data(text.into()).await });
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(body).expect("a response")
}

fn event(data: &Value) -> Step {
    Step::Data(format!("data: {data}\n\n"))
}

/// A chunk of the model `id`.
fn chunk(id: &str, delta: Value, finish_reason: Option<&str>) -> Step {
    event(&json!({ "id": id, "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }] }))
}

fn thinks(text: &str) -> Step {
    chunk("first", json!({ "reasoning_content": text }), None)
}

fn says(text: &str) -> Step {
    chunk("second", json!({ "content": text }), None)
}

fn usage(total: u32) -> Step {
    event(&json!({ "id": "any", "choices": [], "usage": { "total_tokens": total } }))
}

fn done() -> Step {
    Step::Data("data: [DONE]\n\n".to_owned())
}

/// The stream of a model that says this, to its end.
fn answers(text: &str) -> Said {
    stream([says(text), chunk("second", json!({}), Some("stop")), usage(2), done()])
}

/// A completion with this text.
fn completes(text: &str) -> Said {
    let message = json!({ "role": "assistant", "content": text });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    whole(200, &json!({ "id": "second", "choices": choices, "usage": { "total_tokens": 2 } }))
}

/// What a model was asked, and when.
#[derive(Clone, Debug)]
struct Asked {
    provider: String,
    body: Value,
    at: Instant,
}

/// What each model says, by its name.
type Script = dyn Fn(&str) -> Option<Said> + Send + Sync;

/// A hybrid of the scripted models `a`, which thinks, and `b`, which answers.
#[derive(Clone)]
struct Lab {
    hybrids: Arc<Hybrids>,
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
    sides: Sides,
}

impl Lab {
    /// Models that answer by their names; one without an answer never answers.
    fn new(script: impl Fn(&str) -> Option<Said> + Send + Sync + 'static) -> Self {
        let side = |name: &str| Arc::new(Route::new(name).candidate(Target::new(name, format!("model-{name}"))));
        Self {
            hybrids: Arc::new(Hybrids::new(config::Hybrid::default(), fastrand::Rng::with_seed(7))),
            script: Arc::new(script),
            asked: Arc::default(),
            sides: Sides { reasoning: side("a"), execution: side("b"), execution_takes_system_messages: true },
        }
    }

    /// The same with other settings.
    fn with(mut self, change: impl FnOnce(&mut config::Hybrid)) -> Self {
        let mut settings = config::Hybrid::default();
        change(&mut settings);
        self.hybrids = Arc::new(Hybrids::new(settings, fastrand::Rng::with_seed(7)));
        self
    }

    /// Sends a body to a path.
    async fn post(&self, path: &str, body: &Value) -> Response<HybridBody<String>> {
        let (script, asked) = (Arc::clone(&self.script), Arc::clone(&self.asked));
        let models = service_fn(move |request: Request<ReplayBody>| {
            let provider = request.extensions().get::<Candidate>().expect("a candidate").provider.to_string();
            let body = serde_json::from_slice(&request.body().to_bytes()).expect("JSON");
            asked.lock().unwrap().push(Asked { provider: provider.clone(), body, at: Instant::now() });
            let said = script(&provider);
            async move {
                match said {
                    Some(said) => Ok::<_, Infallible>(said),
                    None => std::future::pending().await,
                }
            }
        });
        let router = RouteLayer::new(()).layer(models);
        let request = Request::post(path).body(ReplayBody::from(body.to_string())).expect("a request");
        let send = move |request, resolved| router.send(request, Ok(resolved));
        Arc::clone(&self.hybrids).answer(send, request, self.sides.clone()).await
    }

    /// Asks for a chat completion.
    async fn chat(&self, mut body: Value) -> Response<HybridBody<String>> {
        body["model"] = "hybrid:[a,b]".into();
        if body["messages"].is_null() {
            body["messages"] = json!([{ "role": "user", "content": "Hi" }]);
        }
        self.post("/v1/chat/completions", &body).await
    }

    /// Asks for a chat completion, and reads it to its end.
    async fn read(&self, body: Value) -> Read {
        let (parts, body) = self.chat(body).await.into_parts();
        let header = |name| parts.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        let (hybrid, retry_after) = (header("x-pointsman-hybrid"), header("retry-after"));
        Read { status: parts.status.as_u16(), hybrid, retry_after, body: collected(body).await }
    }

    /// Everything that was asked so far.
    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Who was asked so far.
    fn providers(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.provider).collect()
    }
}

async fn collected(body: HybridBody<String>) -> String {
    let body: Bytes = body.collect().await.expect("no break").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

/// An answer, read to its end.
#[derive(Debug)]
struct Read {
    status: u16,
    hybrid: Option<String>,
    retry_after: Option<String>,
    body: String,
}

impl Read {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// The data of the events, `[DONE]` left out.
    fn chunks(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).expect(data)).collect()
    }

    fn is_done(&self) -> bool {
        self.body.ends_with("data: [DONE]\n\n")
    }

    /// The pieces of a text in the chunks, put together.
    fn said(&self, key: &str) -> String {
        let chunks = self.chunks();
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str()).collect()
    }

    fn error(&self) -> Value {
        let last = self.chunks().pop().expect("an event");
        assert!(last["error"].is_object() && !self.is_done(), "{}", self.body);
        last["error"].clone()
    }

    fn outcome(&self) -> &str {
        self.hybrid.as_deref().expect("a header")
    }
}

/// What the second model is told in the first message.
fn told(asked: &Asked) -> &str {
    asked.body["messages"][0]["content"].as_str().expect("a text")
}
