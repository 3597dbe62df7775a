//! The first model at work.

use std::{fmt, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use pointsman_layers::{
    body::{ErrorAnswer, EventCollector},
    ext::Trail,
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    reasoning::{MAX_CHARS, Reasoning},
    response::{Kind, kind},
};

/// An event, or a whole answer, of more bytes than this is not read.
const LONGEST: usize = 4 << 20;

/// How long the rest of a stream may take after its finish reason: the usage comes there, and a stream that is read to
/// its end leaves its connection to the next request.
const REST: Duration = Duration::from_millis(250);

/// What the first model says, as it comes. The model is stopped as soon as its reasoning is complete.
pub(super) struct Thinking<B> {
    reasoning: Reasoning,
    /// None once nothing more is wanted.
    source: Option<Source<B>>,
    deadline: Instant,
    reads_rest: bool,
    has_run_out: bool,
    trail: Option<Trail>,
}

struct Source<B> {
    body: Pin<Box<B>>,
    form: Form,
}

enum Form {
    Events(EventCollector),
    /// Some answer in one piece although they were asked for a stream.
    Whole(BytesMut),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Thought {
    /// The reasoning; empty if the model showed none.
    pub(super) text: String,
    /// What the model used, as far as it was told.
    pub(super) usage: Option<Value>,
    /// Who was asked.
    pub(super) trail: Option<Trail>,
}

impl<B> Thinking<B>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    /// Reads this answer until `deadline`.
    pub(super) fn new(response: Response<B>, deadline: Instant) -> Self {
        let (parts, body) = response.into_parts();
        let form = match kind(&parts) {
            Kind::Events => Form::Events(EventCollector::new(LONGEST)),
            Kind::Json | Kind::Other => Form::Whole(BytesMut::new()),
        };
        Self {
            reasoning: Reasoning::new(MAX_CHARS),
            source: Some(Source { body: Box::pin(body), form }),
            deadline,
            reads_rest: false,
            has_run_out: false,
            trail: parts.extensions.get::<Trail>().cloned(),
        }
    }

    /// Who was asked.
    pub(super) fn trail(&self) -> Option<&Trail> {
        self.trail.as_ref()
    }

    /// The next piece of the reasoning; `None` when it is complete.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(new) = self.reasoning.take_new() {
                return Some(new);
            }
            let source = self.source.as_mut()?;
            // A stream that never pauses would leave the timer no turn.
            let frame = match Instant::now() < self.deadline {
                true => timeout_at(self.deadline, source.body.frame()).await.ok(),
                false => None,
            };
            match frame {
                Some(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read(&data);
                    }
                }
                Some(Some(Err(error))) => self.reasoning.fail(error.to_string()),
                Some(None) => self.read_end(),
                None if self.reads_rest => self.source = None,
                None => {
                    self.has_run_out = true;
                    self.reasoning.end();
                }
            }
            if self.reasoning.is_finished() && !self.reads_rest {
                self.reads_rest = true;
                self.deadline = self.deadline.min(Instant::now() + REST);
            }
            if self.reasoning.is_over() && !self.reads_rest {
                // Stops the model.
                self.source = None;
            }
        }
    }

    fn read(&mut self, mut data: &[u8]) {
        let Some(source) = &mut self.source else { return };
        match &mut source.form {
            Form::Events(events) => {
                while let Some(event) = events.read(&mut data) {
                    // What is no chunk, as `[DONE]`, has nothing to say.
                    if let Some(chunk) = event.ok().and_then(|event| serde_json::from_slice(&event.data()).ok()) {
                        self.reasoning.read(&chunk);
                    }
                }
            }
            Form::Whole(read) if read.len() + data.len() > LONGEST => {
                self.reasoning.fail("the answer of the reasoning model is too long");
            }
            Form::Whole(read) => read.extend_from_slice(data),
        }
    }

    fn read_end(&mut self) {
        if let Some(Source { form: Form::Whole(read), .. }) = self.source.take() {
            match serde_json::from_slice::<Value>(&read) {
                Ok(answer) => self.reasoning.read(&answer),
                Err(_) => self.reasoning.fail("the answer of the reasoning model is not one of a chat completion"),
            }
        }
        self.reasoning.end();
    }

    /// What came of it. Reasoning that was cut short counts as far as it went.
    ///
    /// # Errors
    ///
    /// What to answer if there is none because the model failed.
    pub(super) fn finish(self) -> Result<Thought, ErrorAnswer> {
        let text = self.reasoning.text().to_owned();
        let bad = |status, code, message| ErrorAnswer::new(status, code, message);
        let failure = if self.has_run_out {
            let message = "no reasoning in time, from the model that was to reason";
            Some(bad(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message.to_owned()))
        } else {
            let message = self.reasoning.error().map(|error| format!("the model that was to reason failed: {error}"));
            message.map(|message| bad(StatusCode::BAD_GATEWAY, "upstream_stream_broken", message))
        };
        match failure {
            Some(answer) if text.is_empty() => return Err(answer),
            Some(answer) => tracing::warn!("the reasoning was cut short: {}", answer.message()),
            None => {}
        }
        Ok(Thought { text, usage: self.reasoning.usage().cloned(), trail: self.trail })
    }
}
