use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Gate, Received};

/// One thing that an [`Upstream`](super::Upstream) does to answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends the status line and the header fields.
    Head,
    /// Sends a part of the body: a chunk if the head says chunked, the bare bytes otherwise.
    Data(Bytes),
    /// Sends the last chunk, with trailer fields.
    End(Vec<(String, String)>),
    /// Sends bytes as they are.
    Raw(Bytes),
    /// Waits to be let through by the test.
    Gate(Gate),
    /// Waits. Where a test depends on the order of things, use a gate.
    Pause(Duration),
    /// Does nothing more until the peer closes.
    Stall,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
}

/// How an [`Upstream`](super::Upstream) answers one request: a head, and steps in order.
///
/// After the last step the connection waits for the next request. Nothing is added and nothing is checked, so a reply
/// can lie: a chunked body without [`end`](Self::end) stays open, and a `content-length` may be any number.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
    pub(super) trickle: Option<Duration>,
}

/// Where a reply begins.
impl Reply {
    /// A head with no fields.
    pub fn new(status: u16) -> Self {
        Self { steps: vec![Step::Head], status, ..Self::nothing() }
    }

    /// No answer at all, to be followed by a stall, a reset or a close.
    pub fn nothing() -> Self {
        Self { status: 200, headers: Vec::new(), steps: Vec::new(), trickle: None }
    }

    /// Bytes instead of an answer.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::nothing().step(Step::Raw(bytes.into()))
    }

    /// Bytes that are not HTTP, and then the end of the connection.
    pub fn garbage() -> Self {
        Self::raw("\u{0}\u{1}not http at all\r\n\r\n").close()
    }

    /// A whole body with its length.
    pub fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::new(status)
            .header("content-type", content_type)
            .header("content-length", &body.len().to_string())
            .data(body)
    }

    /// A JSON body with its length.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::body(status, "application/json", body.to_string())
    }

    /// The head of an event stream; see [`event`](Self::event) and [`end`](Self::end).
    pub fn sse() -> Self {
        Self::new(200).header("content-type", "text/event-stream").header("transfer-encoding", "chunked")
    }

    /// A redirect without a body.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status).header("location", location).header("content-length", "0")
    }

    /// Says what was asked, without the header fields, where the secrets are.
    pub fn echo(request: &Received) -> Self {
        let path = request.path();
        Self::json(200, &json!({ "method": request.method, "path": path, "length": request.body.len() }))
    }
}

/// What a provider with OpenAI's API says.
impl Reply {
    /// A chat completion.
    pub fn chat(text: &str) -> Self {
        let message = json!({ "role": "assistant", "content": text });
        Self::json(
            200,
            &json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "upstream-model",
                "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
            }),
        )
    }

    /// A streamed chat completion: one event per text, one with the finish reason, `[DONE]`.
    pub fn chat_stream<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut reply = Self::sse();
        for text in texts {
            reply = reply.chat_event(text);
        }
        reply.event(&chat_chunk(&json!({}), Some("stop"))).done()
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let error = json!({ "message": message, "type": "api_error", "param": null, "code": code });
        Self::json(status, &json!({ "error": error }))
    }

    /// The answer of a quota endpoint.
    pub fn quota(quota: &Value) -> Self {
        Self::json(200, quota)
    }
}

/// What a reply goes on with.
impl Reply {
    /// A header field, after those that are there.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Header fields of about `bytes` bytes altogether, 1 KiB each.
    #[must_use]
    pub fn huge_headers(mut self, bytes: usize) -> Self {
        for n in 0..bytes.div_ceil(1024) {
            self = self.header(&format!("x-filler-{n}"), &"x".repeat(1000));
        }
        self
    }

    /// One more step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// A step before the head.
    #[must_use]
    pub fn before_head(mut self, step: Step) -> Self {
        let head = self.steps.iter().position(|step| matches!(step, Step::Head)).expect("the reply has a head");
        self.steps.insert(head, step);
        self
    }

    /// An informational answer before the head, such as 103.
    #[must_use]
    pub fn informational(self, status: u16) -> Self {
        let line = format!("HTTP/1.1 {status} {}\r\n\r\n", reason(status));
        self.before_head(Step::Raw(line.into()))
    }

    /// A part of the body.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.step(Step::Data(data.into()))
    }

    /// The same part of the body over and over, to fill every buffer on the way.
    #[must_use]
    pub fn flood(mut self, data: impl Into<Bytes>, times: usize) -> Self {
        let data = data.into();
        self.steps.extend(std::iter::repeat_n(Step::Data(data), times));
        self
    }

    /// An event of a stream.
    #[must_use]
    pub fn event(self, data: &str) -> Self {
        self.data(format!("data: {data}\n\n"))
    }

    /// An event with a piece of a chat completion.
    #[must_use]
    pub fn chat_event(self, text: &str) -> Self {
        self.event(&chat_chunk(&json!({ "content": text }), None))
    }

    /// `[DONE]`, and the end of the stream.
    #[must_use]
    pub fn done(self) -> Self {
        self.event("[DONE]").end()
    }

    /// The last chunk.
    #[must_use]
    pub fn end(self) -> Self {
        self.step(Step::End(Vec::new()))
    }

    /// The last chunk, with one trailer field.
    #[must_use]
    pub fn end_with(self, name: &str, value: &str) -> Self {
        self.step(Step::End(vec![(name.to_owned(), value.to_owned())]))
    }

    /// Waits at a gate before what follows.
    #[must_use]
    pub fn gate(self, gate: &Gate) -> Self {
        self.step(Step::Gate(gate.clone()))
    }

    /// Waits at a gate before the head.
    #[must_use]
    pub fn held_by(self, gate: &Gate) -> Self {
        self.before_head(Step::Gate(gate.clone()))
    }

    /// Waits at a gate before each part of the body.
    #[must_use]
    pub fn gated(self, gate: &Gate) -> Self {
        self.before_data(&Step::Gate(gate.clone()))
    }

    /// Waits so long before each part of the body.
    #[must_use]
    pub fn paced(self, pause: Duration) -> Self {
        self.before_data(&Step::Pause(pause))
    }

    /// Sends everything one byte at a time, with a pause between.
    #[must_use]
    pub fn trickled(mut self, pause: Duration) -> Self {
        self.trickle = Some(pause);
        self
    }

    /// Says nothing more, and leaves the connection open.
    #[must_use]
    pub fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Closes the connection.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Resets the connection.
    #[must_use]
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    fn before_data(mut self, wait: &Step) -> Self {
        let steps = std::mem::take(&mut self.steps);
        for step in steps {
            if matches!(step, Step::Data(_)) {
                self.steps.push(wait.clone());
            }
            self.steps.push(step);
        }
        self
    }

    /// The bytes of a step that sends some.
    pub(super) fn bytes(&self, step: &Step) -> Option<Bytes> {
        let chunked = self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
        });
        match step {
            Step::Head => {
                let start = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
                Some(format!("{start}{}\r\n", fields(&self.headers)).into())
            }
            Step::Data(data) if chunked => {
                Some([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat().into())
            }
            Step::Data(data) | Step::Raw(data) => Some(data.clone()),
            Step::End(trailers) => Some(format!("0\r\n{}\r\n", fields(trailers)).into()),
            Step::Gate(_) | Step::Pause(_) | Step::Stall | Step::Close | Step::Reset => None,
        }
    }
}

fn chat_chunk(delta: &Value, finish_reason: Option<&str>) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "upstream-model",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    })
    .to_string()
}

fn fields(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}
