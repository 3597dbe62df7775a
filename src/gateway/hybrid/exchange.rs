//! One request: who is asked when, and what the client gets of it.

use std::{convert::Infallible, fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use pointsman_layers::{
    body::{ErrorAnswer, ReplayBody},
    ext::Trail,
    route::{ModelField, Resolved, Route, Target},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    HybridBody, Outcome, Sides,
    answer::{AnswerEvents, Edits, as_stream},
    conversation::{Conversation, Telling},
    driven::{DrivenBody, Frames},
    response::{self, Kind, collect, error_event, kind, own_error_event},
    thinking::{Thinking, Thought},
};
use crate::{
    config::{self, OnReasoningFailure},
    gateway::report,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request to a hybrid; `send` takes one along a route.
pub(super) struct Exchange<F> {
    pub(super) settings: Arc<config::Hybrid>,
    pub(super) send: F,
    pub(super) head: request::Parts,
    pub(super) conversation: Conversation,
    pub(super) sides: Sides,
    /// The id of a stream in which both have their say.
    pub(super) id: String,
}

impl<F, A, B> Exchange<F>
where
    F: Fn(Request<ReplayBody>, Resolved) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Response<B>, Infallible>> + Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display + Send + 'static,
{
    /// The second model alone answers.
    pub(super) async fn without_reasoning(self) -> Result<Response<HybridBody<B::Error>>, ErrorAnswer> {
        let response = self.execute("").await?;
        Ok(Outcome::Skipped.on(response.map(BodyExt::boxed_unsync)))
    }

    /// The first model thinks, the second answers.
    pub(super) async fn run(self) -> Result<Response<HybridBody<B::Error>>, ErrorAnswer> {
        let mut thinking = match self.think().await? {
            Ok(thinking) => thinking,
            Err(refusal) => return self.go_on_after(refusal).await,
        };
        let first = thinking.next().await;
        match first {
            Some(first) if self.conversation.streams() => return Ok(self.stream(thinking, first)),
            Some(_) => while thinking.next().await.is_some() {},
            None => {}
        }
        let trail = thinking.trail().cloned();
        match thinking.finish() {
            Ok(thought) => {
                let response = self.execute(&thought.text).await?;
                self.finish(response, thought).await
            }
            Err(answer) => {
                let mut refusal = answer.into_response::<B>();
                if let Some(trail) = trail {
                    refusal.extensions_mut().insert(trail);
                }
                self.go_on_after(refusal.map(BodyExt::boxed_unsync)).await
            }
        }
    }

    /// Sends the conversation to the first model; its answer if that is no success.
    async fn think(&self) -> Result<Result<Thinking<B>, Response<HybridBody<B::Error>>>, ErrorAnswer> {
        let timeout = self.settings.hybrid_reasoning_model_timeout;
        let deadline =
            Instant::now().checked_add(timeout).unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 32));
        let mut head = self.head.clone();
        // Names the client's own request, and this is another one.
        head.headers.remove(IDEMPOTENCY_KEY);
        let response = self.ask(&self.sides.reasoning, timeout, head, self.conversation.for_reasoning()).await?;
        if !response.status().is_success() {
            return Ok(Err(response.map(BodyExt::boxed_unsync)));
        }
        Ok(Ok(Thinking::new(response, deadline)))
    }

    /// Sends the client's request to the second model, with this reasoning unless it is empty.
    async fn execute(&self, reasoning: &str) -> Result<Response<B>, ErrorAnswer> {
        let telling = Telling {
            by_user: !self.sides.execution_takes_system_messages,
            repeated: self.settings.hybrid_backend_repeat_messages,
        };
        let body = match reasoning {
            "" => self.conversation.unchanged(),
            reasoning => self.conversation.with_reasoning(reasoning, telling),
        };
        let timeout = self.settings.hybrid_execution_model_timeout;
        self.ask(&self.sides.execution, timeout, self.head.clone(), body).await
    }

    async fn ask(
        &self,
        route: &Route,
        timeout: Duration,
        mut head: request::Parts,
        body: ReplayBody,
    ) -> Result<Response<B>, ErrorAnswer> {
        // Both answers are to be read here.
        head.headers.remove(header::ACCEPT_ENCODING);
        let model = Some(ModelField::find(&body.to_bytes())?.span);
        let route = Arc::new(route.clone().total_timeout(timeout));
        match (self.send)(Request::from_parts(head, body), Resolved { route, model }).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    /// The answer after the first model has failed with this one.
    async fn go_on_after(
        self,
        refusal: Response<HybridBody<B::Error>>,
    ) -> Result<Response<HybridBody<B::Error>>, ErrorAnswer> {
        tracing::warn!(status = refusal.status().as_u16(), "the reasoning model failed");
        if self.settings.hybrid_on_reasoning_failure == OnReasoningFailure::Fail {
            return Ok(Outcome::Failed.on(refusal));
        }
        let trail = refusal.extensions().get::<Trail>().cloned();
        drop(refusal);
        let mut response = self.execute("").await?;
        put_before(trail, &mut response);
        Ok(Outcome::Failed.on(response.map(BodyExt::boxed_unsync)))
    }

    /// The second model's answer to a client that has seen nothing of the first one yet.
    async fn finish(
        self,
        mut response: Response<B>,
        thought: Thought,
    ) -> Result<Response<HybridBody<B::Error>>, ErrorAnswer> {
        put_before(thought.trail, &mut response);
        let outcome = if thought.text.is_empty() { Outcome::Nothing } else { Outcome::Reasoned };
        let reasoning = (!thought.text.is_empty()).then_some(thought.text);
        let edits = Edits { id: None, usage: thought.usage, reasoning };
        let (mut parts, body) = response.into_parts();
        let body = match kind(&parts) {
            Kind::Json if parts.status.is_success() && !edits.is_empty() => {
                let answer = edits.apply(&collect(body).await?);
                parts.headers.insert(header::CONTENT_LENGTH, answer.len().into());
                Full::new(answer).map_err(|never| match never {}).boxed_unsync()
            }
            Kind::Events if parts.status.is_success() && !edits.is_empty() => {
                parts.headers.remove(header::CONTENT_LENGTH);
                DrivenBody::new(async move |frames| relay(body, edits, &frames).await).boxed_unsync()
            }
            _ => body.boxed_unsync(),
        };
        Ok(outcome.on(Response::from_parts(parts, body)))
    }

    /// The stream of a client that sees the first model think. Its head is committed.
    fn stream(self, mut thinking: Thinking<B>, first: String) -> Response<HybridBody<B::Error>> {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Who will answer is certain only if there is nobody else.
        if let [only] = self.sides.execution.candidates() {
            report::name(only.provider(), only.model(), &mut headers);
        }
        if let Some(trail) = thinking.trail() {
            report::timing(trail, &mut headers);
        }
        let body = DrivenBody::new(async move |frames: Frames<B::Error>| {
            let mut next = Some(first);
            while let Some(text) = next {
                frames.data(self.reasoning_event(&text)).await;
                next = thinking.next().await;
            }
            match thinking.finish() {
                Ok(thought) => self.answer_in_stream(thought, &frames).await,
                Err(answer) => frames.data(own_error_event(&answer)).await,
            }
        });
        let mut response = Response::new(body.boxed_unsync());
        *response.headers_mut() = headers;
        Outcome::Reasoned.on(response)
    }

    /// A chunk with a piece of the reasoning.
    fn reasoning_event(&self, text: &str) -> Bytes {
        let model = self.sides.execution.candidates().first().map(Target::model);
        let created = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs());
        response::event(&json!({
            "id": self.id, "object": "chat.completion.chunk", "created": created, "model": model,
            // No role: clients that add the pieces up would have it twice.
            "choices": [{ "index": 0, "delta": { "reasoning_content": text }, "finish_reason": null }],
        }))
    }

    async fn answer_in_stream(&self, thought: Thought, frames: &Frames<B::Error>) {
        let mut response = match self.execute(&thought.text).await {
            Ok(response) => response,
            Err(answer) => return frames.data(own_error_event(&answer)).await,
        };
        put_before(thought.trail, &mut response);
        let (parts, body) = response.into_parts();
        if let Some(trail) = parts.extensions.get::<Trail>() {
            // The head went out before this was known.
            report::log(trail, parts.status);
        }
        let edits = Edits { id: Some(self.id.clone()), usage: thought.usage, reasoning: None };
        match kind(&parts) {
            _ if !parts.status.is_success() => frames.data(error_event(parts.status, body).await).await,
            Kind::Events => relay(body, edits, frames).await,
            Kind::Json | Kind::Other => {
                let said = collect(body).await.and_then(|answer| {
                    as_stream(&answer, &edits, self.conversation.wants_usage()).ok_or_else(|| {
                        let message = "the answer is not one of a chat completion";
                        ErrorAnswer::new(StatusCode::BAD_GATEWAY, "upstream_invalid_answer", message)
                    })
                });
                frames.data(said.map_or_else(|error| own_error_event(&error), Bytes::from)).await;
            }
        }
    }
}

/// Hands on the second model's stream.
async fn relay<B: Body<Data = Bytes>>(body: B, edits: Edits, frames: &Frames<B::Error>) {
    let mut body = std::pin::pin!(body);
    let mut events = AnswerEvents::new(edits);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => frames.data(events.read(&data)).await,
            Ok(Err(trailers)) => frames.send(Ok(trailers)).await,
            Err(error) => {
                frames.data(events.finish()).await;
                return frames.send(Err(error)).await;
            }
        }
    }
    frames.data(events.finish()).await;
}

/// Puts the attempts of the first model before those of the second one.
fn put_before<B>(first: Option<Trail>, response: &mut Response<B>) {
    let (Some(first), Some(second)) = (first, response.extensions().get::<Trail>()) else { return };
    let mut both = Trail::default();
    for attempt in first.attempts().iter().chain(second.attempts()) {
        both.push(attempt.clone());
    }
    let answered = second.answered();
    if let Some(index) =
        second.attempts().iter().position(|attempt| answered.is_some_and(|it| std::ptr::eq(it, attempt)))
    {
        both.set_answered(first.attempts().len() + index);
    }
    response.extensions_mut().insert(both);
}
