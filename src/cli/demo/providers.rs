//! The scripted providers: small servers on this machine that speak OpenAI's API, drain and fail.

use std::{
    borrow::Cow,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::channel::Channel;
use pointsman::server::{Limits, Server};
use pointsman_layers::body::{AnswerBody, CollectLayer, ErrorAnswer, ReplayBody};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::service_fn;
use tower_layer::Layer as _;

/// The time between two events of a stream, enough for the eye.
const PACE: Duration = Duration::from_millis(25);

/// How a provider behaves. All that happens to it is in here; there is no chance in it.
pub(super) struct Script {
    /// As the configuration calls it.
    pub(super) name: &'static str,
    /// What the configuration calls its address.
    variable: &'static str,
    /// In words, for the reader.
    pub(super) about: &'static str,
    /// The path of its API.
    api: &'static str,
    key: &'static str,
    /// How many requests it answers.
    credit: u32,
    /// What it says from then on.
    used_up: (StatusCode, &'static str, &'static str),
    quota: Option<Quota>,
    /// Its streams, in turn.
    streams: &'static [Stream],
    /// Whether it takes tokens from a login that has to be renewed, instead of the key.
    login: bool,
    /// Which requests it answers with a 429, by their number, and the seconds that it asks to wait.
    throttled: &'static [(u32, u32)],
}

/// Where the rest of the credit can be read, and how it is written.
struct Quota {
    path: &'static str,
    json: fn(u32) -> Value,
}

#[derive(Clone, Copy)]
enum Stream {
    Whole,
    /// A 200, and an error as the first event.
    FailsAtOnce,
    /// One event, and the connection is cut.
    Breaks,
}

const NO_CREDIT: (StatusCode, &str, &str) = (StatusCode::PAYMENT_REQUIRED, "insufficient_credits", "no credits left");

const USUAL: Script = Script {
    name: "",
    variable: "",
    about: "",
    api: "/v1",
    key: "",
    credit: 1_000_000,
    used_up: NO_CREDIT,
    quota: None,
    streams: &[Stream::Whole],
    login: false,
    throttled: &[],
};

pub(super) static SCRIPTS: [Script; 6] = [
    Script {
        name: "OpenaiAccount",
        variable: "OPENAI_ACCOUNT",
        about: "has a balance of 1; a request costs 1. Then it answers 429.",
        key: "demo-key-1",
        credit: 1,
        used_up: (
            StatusCode::TOO_MANY_REQUESTS,
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        quota: Some(Quota { path: "/balance", json: |left| json!({ "balance": left }) }),
        ..USUAL
    },
    Script {
        name: "PollinationsAI",
        variable: "POLLINATIONS_AI",
        about: "always answers.",
        key: "demo-key-2",
        quota: Some(Quota { path: "/account/balance", json: |left| json!({ "balance": left }) }),
        ..USUAL
    },
    Script {
        name: "Yupp",
        variable: "YUPP",
        about: "has 5 credits. Its streams, in turn: whole, failed, broken.",
        key: "demo-key-3",
        credit: 5,
        quota: Some(Quota {
            path: "/api/trpc/credits.getCredits",
            json: |left| json!([{ "result": { "data": { "json": left } } }]),
        }),
        streams: &[Stream::Whole, Stream::FailsAtOnce, Stream::Breaks],
        ..USUAL
    },
    Script {
        name: "Groq",
        variable: "GROQ",
        about: "answers once. Then it is over capacity, and answers 503.",
        api: "/openai/v1",
        key: "demo-key-4",
        credit: 1,
        used_up: (StatusCode::SERVICE_UNAVAILABLE, "over_capacity", "llama-3.3-70b is currently over capacity."),
        ..USUAL
    },
    Script {
        name: "DeepInfra",
        variable: "DEEP_INFRA",
        about: "always answers.",
        api: "/v1/openai",
        key: "demo-key-5",
        ..USUAL
    },
    Script {
        name: "Coder",
        variable: "CODER",
        about: "takes tokens of a login. Its requests 2 and 4 get a 429.",
        login: true,
        throttled: &[(2, 1), (4, 2)],
        ..USUAL
    },
];

/// The providers at work, until the runtime stops.
pub(super) struct Providers {
    started: Vec<(&'static Script, SocketAddr)>,
    /// Where the login of one of them is kept, as by a program of its vendor's.
    folder: TempDir,
}

impl Providers {
    /// Starts each of them on a free port.
    pub(super) async fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        // A token that is no good any more, and what it can be renewed with.
        let login = json!({ "access_token": access_token(0), "refresh_token": refresh_token(0), "expiry_date": 0 });
        std::fs::write(credentials(&folder), login.to_string())?;
        let mut started = Vec::new();
        for script in &SCRIPTS {
            let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), Limits::default()).await?;
            started.push((script, server.local_addr()?));
            let state = State { left: script.credit, streams: 0, requests: 0, renewals: 0 };
            let provider = Arc::new(Provider { script, state: Mutex::new(state) });
            let service = service_fn(move |request: Request<ReplayBody>| {
                std::future::ready(Ok::<_, Infallible>(provider.answer(&request)))
            });
            tokio::spawn(server.serve(CollectLayer::new(1024 * 1024).layer(service), std::future::pending()));
        }
        Ok(Self { started, folder })
    }

    /// The value of a variable of the demo's configuration.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        if name == "CODER_CREDENTIALS" {
            return Some(credentials(&self.folder).to_string_lossy().into_owned());
        }
        let script = self.started.iter().find(|(script, _)| script.variable == name);
        script.map(|(_, address)| format!("http://{address}"))
    }
}

fn credentials(folder: &TempDir) -> PathBuf {
    folder.path().join("credentials.json")
}

fn access_token(renewals: u32) -> String {
    format!("demo-access-token-{renewals}")
}

/// Good for one renewal.
fn refresh_token(renewals: u32) -> String {
    format!("demo-refresh-token-{renewals}")
}

struct Provider {
    script: &'static Script,
    state: Mutex<State>,
}

struct State {
    /// What is left of the credit.
    left: u32,
    /// The streams so far.
    streams: usize,
    /// The requests so far.
    requests: u32,
    /// How often the login was renewed.
    renewals: u32,
}

type ProviderResponse = Response<AnswerBody<Channel<Bytes, io::Error>>>;

impl Provider {
    fn answer(&self, request: &Request<ReplayBody>) -> ProviderResponse {
        let path = request.uri().path();
        if self.script.login && path == "/oauth/token" {
            return self.renew(&request.body().to_bytes());
        }
        if !self.knows(request.headers()) {
            return error(StatusCode::UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided.");
        }
        match (request.method(), path.strip_prefix(self.script.api)) {
            (&Method::POST, Some("/chat/completions")) => self.chat(&request.body().to_bytes()),
            (&Method::GET, _) => match &self.script.quota {
                Some(quota) if quota.path == path => json_answer(&(quota.json)(self.left())),
                _ => unknown_path(),
            },
            _ => unknown_path(),
        }
    }

    /// Whether the key is this provider's own, in whichever form it travels.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let credentials = headers.get_all(header::AUTHORIZATION).into_iter().chain(headers.get_all(header::COOKIE));
        let key = match self.script.login {
            // The first one is too old.
            true => access_token(self.state().renewals.max(1)).into(),
            false => Cow::Borrowed(self.script.key),
        };
        let is_key = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.ends_with(&*key));
        credentials.into_iter().any(is_key)
    }

    /// Gives the next token for a refresh token, which is good for one time.
    fn renew(&self, form: &[u8]) -> ProviderResponse {
        let mut state = self.state();
        let wanted = refresh_token(state.renewals);
        if !form_urlencoded::parse(form).any(|(name, value)| name == "refresh_token" && value == wanted) {
            return error(StatusCode::BAD_REQUEST, "invalid_grant", "The refresh token was used before.");
        }
        state.renewals += 1;
        let (access, refresh) = (access_token(state.renewals), refresh_token(state.renewals));
        json_answer(&json!({ "access_token": access, "refresh_token": refresh, "expires_in": 3600 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> u32 {
        self.state().left
    }

    fn chat(&self, body: &[u8]) -> ProviderResponse {
        let request: Value = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(_) => return error(StatusCode::BAD_REQUEST, "invalid_json", "The body is not valid JSON."),
        };
        let Some(model) = request["model"].as_str() else {
            return error(StatusCode::BAD_REQUEST, "missing_model", "You must provide a model parameter.");
        };
        if !request["messages"].is_array() {
            return error(StatusCode::BAD_REQUEST, "missing_messages", "Missing required parameter: 'messages'.");
        }
        let streamed = request["stream"].as_bool().unwrap_or_default();
        if let Some(refusal) = self.throttle() {
            return refusal;
        }
        match self.spend(streamed) {
            Err((status, code, message)) => error(status, code, message),
            Ok(stream) if streamed => stream_answer(model, &self.text(model), stream),
            Ok(_) => json_answer(&json!({
                "id": "chatcmpl-demo", "object": "chat.completion", "created": 0, "model": model,
                "choices": [{
                    "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.text(model)},
                }],
                "usage": {"prompt_tokens": 1, "completion_tokens": 8, "total_tokens": 9},
            })),
        }
    }

    /// Counts a request; the answer if it meets the rate limit.
    fn throttle(&self) -> Option<ProviderResponse> {
        let mut state = self.state();
        state.requests += 1;
        let (_, seconds) = self.script.throttled.iter().find(|(number, _)| *number == state.requests)?;
        let refusal = ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "Slow down, please.");
        Some(refusal.header(header::RETRY_AFTER, (*seconds).into()).into_response())
    }

    /// Takes a request's price, and says how the stream goes, if it is one.
    fn spend(&self, streamed: bool) -> Result<Stream, (StatusCode, &'static str, &'static str)> {
        let mut state = self.state();
        state.left = state.left.checked_sub(1).ok_or(self.script.used_up)?;
        let stream = self.script.streams[state.streams % self.script.streams.len()];
        state.streams += usize::from(streamed);
        Ok(stream)
    }

    fn text(&self, model: &str) -> String {
        let name = self.script.name;
        match self.script.login {
            false => format!("Hello, this is {model} at {name}."),
            // What only this side of the wire knows.
            true => {
                let State { renewals, requests, .. } = *self.state();
                format!("Hello, this is {model} at {name}. Tokens renewed: {renewals}. Requests: {requests}.")
            }
        }
    }
}

fn json_answer(json: &Value) -> ProviderResponse {
    answer("application/json", AnswerBody::own(format!("{json}\n")))
}

fn answer(content_type: &'static str, body: AnswerBody<Channel<Bytes, io::Error>>) -> ProviderResponse {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn error(status: StatusCode, code: &'static str, message: &'static str) -> ProviderResponse {
    ErrorAnswer::new(status, code, message).into_response()
}

fn unknown_path() -> ProviderResponse {
    error(StatusCode::NOT_FOUND, "unknown_url", "Unknown request URL.")
}

/// The text as a stream, an event for each word.
fn stream_answer(model: &str, text: &str, stream: Stream) -> ProviderResponse {
    let chunk = |delta: Value, finish_reason: Value| {
        json!({
            "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        })
        .to_string()
    };
    let mut events: Vec<String> =
        text.split_inclusive(' ').map(|word| chunk(json!({ "content": word }), Value::Null)).collect();
    match stream {
        Stream::Whole => events.extend([chunk(json!({}), json!("stop")), "[DONE]".to_owned()]),
        Stream::FailsAtOnce => {
            let message = "The server is overloaded, please try again later.";
            events = vec![json!({"error": {"message": message, "type": "overloaded", "code": 503}}).to_string()];
        }
        Stream::Breaks => events.truncate(1),
    }
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        for event in events {
            if sender.send_data(format!("data: {event}\n\n").into()).await.is_err() {
                // The reader left.
                return;
            }
            tokio::time::sleep(PACE).await;
        }
        if matches!(stream, Stream::Breaks) {
            sender.abort(io::ErrorKind::ConnectionReset.into());
        }
    });
    answer("text/event-stream", AnswerBody::inner(body))
}
