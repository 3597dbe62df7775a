//! Which first events are errors, and the status that each of them means.

use bytes::Bytes;
use http::StatusCode;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::body::{ErrorAnswer, Event};

/// An error that a provider sent as the first event of a successful stream.
pub(super) struct ErrorEvent {
    pub(super) status: StatusCode,
    /// JSON: the event's data as it came, if it is an object.
    pub(super) body: Bytes,
}

impl ErrorEvent {
    /// The error that the event is, if it is one.
    pub(super) fn find(event: &Event<'_>) -> Option<Self> {
        let data = event.data();
        if event.kind() != b"error" && !Shape::read(&data)?.is_error() {
            return None;
        }
        let value = serde_json::from_slice(&data)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&data).trim().to_owned()));
        let status = status(event, &value);
        let body = match value {
            Value::Object(_) => Bytes::copy_from_slice(&data),
            Value::String(text) => ErrorAnswer::new(status, "upstream_error", text).to_json(),
            other => ErrorAnswer::new(status, "upstream_error", other.to_string()).to_json(),
        };
        Some(Self { status, body })
    }
}

/// What at least one of is in every error. Most answers have none, and need not be read as JSON.
const SIGNS: [&[u8]; 3] = [b"error", b"failed", b"\"code\""];

/// As much of an event's data as tells an error from an answer. The values stay raw, so as to copy none.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

impl<'a> Shape<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        // A derived reader takes an array for a struct too.
        let object = data.trim_ascii_start().starts_with(b"{");
        let signs = || SIGNS.iter().any(|sign| memmem::find(data, sign).is_some());
        (object && signs()).then(|| serde_json::from_slice(data).ok()).flatten()
    }

    fn is_error(&self) -> bool {
        self.has_error_type() || self.has_error_value() || self.has_error_code()
    }

    /// Anthropic's and OpenAI's Responses API.
    fn has_error_type(&self) -> bool {
        self.r#type.is_some_and(|kind| matches!(kind.get(), r#""error""# | r#""response.failed""#))
    }

    /// OpenAI and those who follow it.
    fn has_error_value(&self) -> bool {
        self.error.is_some_and(|error| is_text(error) || error.get().starts_with('{')) && !self.says_something()
    }

    /// DashScope and vLLM: the error is the object itself.
    fn has_error_code(&self) -> bool {
        let is_error = |code: &RawValue| match serde_json::from_str(code.get()) {
            Ok(Value::String(code)) => match code.parse() {
                Ok(number) => error_status(number).is_some(),
                Err(_) => !code.is_empty(),
            },
            Ok(Value::Number(code)) => code.as_u64().and_then(error_status).is_some(),
            _ => false,
        };
        self.message.is_some_and(is_text)
            && self.choices.is_none()
            && self.output.is_none()
            && self.code.is_some_and(is_error)
    }

    /// Whether there are choices other than those that ended in the error; OpenRouter sends such beside it.
    fn says_something(&self) -> bool {
        #[derive(Deserialize)]
        struct Choice {
            finish_reason: Option<String>,
        }
        self.choices.is_some_and(|choices| match serde_json::from_str::<Vec<Choice>>(choices.get()) {
            Ok(choices) => choices.iter().any(|choice| choice.finish_reason.as_deref() != Some("error")),
            Err(_) => true,
        })
    }
}

/// Whether this is a string with something in it.
fn is_text(raw: &RawValue) -> bool {
    raw.get().starts_with('"') && raw.get() != r#""""#
}

fn error_status(code: u64) -> Option<StatusCode> {
    let status = StatusCode::from_u16(u16::try_from(code).ok()?).ok()?;
    (status.is_client_error() || status.is_server_error()).then_some(status)
}

/// Where providers put a status.
const NUMBERS: &[&str] = &["/status", "/status_code", "/code", "/error/code", "/error/status", "/error/status_code"];

/// Where providers put words for what happened, the most exact first. The empty one is the value itself.
const WORDS: &[&str] = &[
    "/code",
    "/error/code",
    "/response/error/code",
    "/error/status",
    "/error/type",
    "/type",
    "",
    "/error",
    "/message",
    "/error/message",
    "/response/error/message",
];

/// What the words mean. Matched in this order, with everything but letters and digits left out of both, so that
/// `rate_limit_exceeded`, `RateLimit` and `Rate limit reached` are one.
const MEANINGS: &[(StatusCode, &[&str])] = &[
    (StatusCode::TOO_MANY_REQUESTS, &["ratelimit", "throttl", "toomanyrequests", "quota", "resourceexhausted"]),
    (StatusCode::SERVICE_UNAVAILABLE, &["overloaded", "unavailable"]),
    (StatusCode::UNAUTHORIZED, &["authentication", "invalidapikey", "incorrectapikey", "unauthorized"]),
    (StatusCode::FORBIDDEN, &["permission", "forbidden", "accessdenied"]),
    (StatusCode::NOT_FOUND, &["notfound"]),
    (StatusCode::PAYMENT_REQUIRED, &["billing", "insufficient", "arrearage"]),
    (StatusCode::GATEWAY_TIMEOUT, &["timeout", "timedout"]),
    (StatusCode::BAD_REQUEST, &["invalidrequest", "invalidparameter"]),
];

/// The status that an error means: a number if it has one, else what its words say, else 502.
fn status(event: &Event<'_>, value: &Value) -> StatusCode {
    // DashScope: a comment `:HTTP_STATUS/429` in the same event.
    let comments = event.comments().filter_map(|comment| comment.strip_prefix(b"HTTP_STATUS/"));
    let comments = comments.filter_map(|status| str::from_utf8(status).ok()?.trim().parse().ok());
    let numbers = NUMBERS.iter().filter_map(|at| match value.pointer(at)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let by_number = comments.chain(numbers).find_map(error_status);
    let by_words = || WORDS.iter().filter_map(|at| value.pointer(at)?.as_str()).find_map(meaning);
    by_number.or_else(by_words).unwrap_or(StatusCode::BAD_GATEWAY)
}

fn meaning(words: &str) -> Option<StatusCode> {
    let mut words = words.to_ascii_lowercase();
    words.retain(|character| character.is_ascii_alphanumeric());
    let means = |(_, known): &&(StatusCode, &[&str])| known.iter().any(|known| words.contains(known));
    MEANINGS.iter().find(means).map(|(status, _)| *status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and body of an event of these lines.
    fn found(lines: &str) -> Option<(u16, String)> {
        let error = ErrorEvent::find(&Event::new(lines.as_bytes()))?;
        Some((error.status.as_u16(), String::from_utf8(error.body.to_vec()).expect("JSON")))
    }

    #[test]
    fn errors_of_every_dialect_have_a_status() {
        let cases = [
            // OpenAI
            (
                429,
                r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            ),
            (401, r#"{"error":{"message":"no","type":"invalid_request_error","code":"invalid_api_key"}}"#),
            (401, r#"{"error":{"message":"Incorrect API key provided"}}"#),
            (
                400,
                r#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            ),
            (404, r#"{"error":{"message":"no","type":"invalid_request_error","code":"model_not_found"}}"#),
            (502, r#"{"error":{"message":"The server had an error","type":"server_error","code":null}}"#),
            (
                429,
                r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":""}}}"#,
            ),
            (502, r#"{"type":"response.failed"}"#),
            (502, r#"{"type":"error","code":"server_error","message":"oh","param":null}"#),
            // Anthropic
            (503, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
            (401, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#),
            (403, r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#),
            (402, r#"{"type":"error","error":{"type":"billing_error","message":"pay"}}"#),
            (504, r#"{"type":"error","error":{"type":"timeout_error","message":"slow"}}"#),
            (502, r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#),
            // OpenRouter, Google, vLLM
            (429, r#"{"error":{"code":429,"message":"Provider returned error"}}"#),
            (
                502,
                r#"{"error":{"code":"server_error","message":"gone"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#,
            ),
            (503, r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#),
            (429, r#"{"error":{"message":"no","status":"RESOURCE_EXHAUSTED"}}"#),
            (400, r#"{"object":"error","message":"bad","type":"BadRequestError","param":null,"code":400}"#),
            // DashScope
            (429, r#"{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded","request_id":"1"}"#),
            (401, r#"{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"1"}"#),
            (402, r#"{"code":"Arrearage","message":"Access denied","request_id":"1"}"#),
            // Others
            (503, r#"{"error":"Model is overloaded"}"#),
            (502, r#"{"error":"something"}"#),
            (418, r#"{"error":"something","status":"418"}"#),
            (429, r#"{"error":"something","status":200,"code":"429"}"#),
            (404, r#"{"choices":[],"error":{"message":"Not Found"}}"#),
        ];
        for (status, json) in cases {
            let lines = format!("data: {json}\n");
            assert_eq!(found(&lines), Some((status, json.to_owned())), "{json}");
        }
    }

    #[test]
    fn answers_are_not_errors() {
        let cases = [
            r#"{"choices":[{"delta":{"content":"error"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"error":null}"#,
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"error":{"message":"odd"}}"#,
            r#"{"error":null}"#,
            r#"{"error":""}"#,
            r#"{"error":false}"#,
            r#"{"type":"message_start","message":{"type":"message"}}"#,
            r#"{"type":"response.created","response":{"error":null}}"#,
            r#"{"code":"","message":"","output":{"text":"a"}}"#,
            r#"{"code":"","message":"fine"}"#,
            r#"{"code":"0","message":"fine"}"#,
            r#"{"code":200,"message":"fine"}"#,
            r#"{"code":"Success","message":"fine","output":{"text":"a"}}"#,
            r#"{"code":"python","message":{"role":"assistant"}}"#,
            r#"[{"error":{"message":"in a list"}}]"#,
            r#""error""#,
            r#"{"error":{"message":"cut o"#,
            "[DONE]",
            "error",
            "",
        ];
        for data in cases {
            assert_eq!(found(&format!("data: {data}\n")), None, "{data}");
        }
    }

    #[test]
    fn the_type_and_comments_of_an_event_count() {
        let json = r#"{"code":"Unknown","message":"?"}"#;
        let lines = format!("id:1\nevent:error\n:HTTP_STATUS/429\ndata:{json}\n");
        assert_eq!(found(&lines), Some((429, json.to_owned())));
        let lines = "event: error\n:HTTP_STATUS/429\ndata: {\"status\":503}\n";
        assert_eq!(found(lines).map(|(status, _)| status), Some(429));
        let lines = "event: error\n:HTTP_STATUS/200\ndata: {\"status\":503}\n";
        assert_eq!(found(lines), Some((503, r#"{"status":503}"#.to_owned())));
    }

    #[test]
    fn an_error_that_is_not_an_object_becomes_one() {
        let wrapped = |message: &str| {
            format!(
                r#"{{"error":{{"message":"{message}","type":"rate_limit_error","param":null,"code":"upstream_error"}}}}"#
            )
        };
        assert_eq!(found("event: error\ndata: Too many requests\n"), Some((429, wrapped("Too many requests"))));
        assert_eq!(found("event: error\ndata: \"throttled\"\n"), Some((429, wrapped("throttled"))));
        assert_eq!(found("event: error\ndata: [1]\n").map(|(status, _)| status), Some(502));
        assert_eq!(found("event: error\ndata\n").map(|(status, _)| status), Some(502));
    }

    #[test]
    fn data_over_several_lines_is_read_as_one() {
        assert_eq!(found("data: {\"error\":\ndata: \"quota\"}\n"), Some((429, "{\"error\":\n\"quota\"}".to_owned())));
    }
}
