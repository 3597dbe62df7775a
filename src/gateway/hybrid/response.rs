//! What kind of answer it is, and reading it whole.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header, response::Parts};
use http_body::Body;
use http_body_util::BodyExt as _;
use pointsman_layers::body::ErrorAnswer;
use serde_json::{Value, json};

/// A whole answer of more bytes than this is not read.
const LONGEST: usize = 32 << 20;

/// An error of more bytes than this is not handed on.
const LONGEST_ERROR: usize = 64 << 10;

/// What can be done with the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Events,
    Json,
    /// Encoded, or something else.
    Other,
}

pub(super) fn kind(parts: &Parts) -> Kind {
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoding = text(header::CONTENT_ENCODING).trim();
    let essence = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        Kind::Other
    } else if essence.eq_ignore_ascii_case("text/event-stream") {
        Kind::Events
    } else if essence.eq_ignore_ascii_case("application/json") {
        Kind::Json
    } else {
        Kind::Other
    }
}

/// The whole body of an answer.
///
/// # Errors
///
/// What to answer if it breaks, or goes on and on.
pub(super) async fn collect<B>(body: B) -> Result<Bytes, ErrorAnswer>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    collect_up_to(LONGEST, body).await
}

async fn collect_up_to<B>(limit: usize, body: B) -> Result<Bytes, ErrorAnswer>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let bad = |code, message: String| ErrorAnswer::new(StatusCode::BAD_GATEWAY, code, message);
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| bad("upstream_stream_broken", format!("the answer broke: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(bad("upstream_answer_too_large", format!("the answer has more than {limit} bytes")));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The event that says in a stream what this answer, which is no success, says.
pub(super) async fn error_event<B>(status: StatusCode, body: B) -> Bytes
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let answer = collect_up_to(LONGEST_ERROR, body).await.ok();
    let answer = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer).ok());
    match answer.as_ref().and_then(|answer| answer.get("error")).filter(|error| !error.is_null()) {
        Some(error) => event(&json!({ "error": error })),
        None => {
            let message = format!("the model that was to answer did not: {status}");
            own_error_event(&ErrorAnswer::new(StatusCode::BAD_GATEWAY, "upstream_error", message))
        }
    }
}

/// The event for an error of the gateway's own.
pub(super) fn own_error_event(error: &ErrorAnswer) -> Bytes {
    [&b"data: "[..], &error.to_json(), b"\n\n"].concat().into()
}

/// An event with this data.
pub(super) fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}
