use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::body::ErrorAnswer;

/// The response body of [`Router`](super::Router): the provider's, and, if it is an event stream that breaks, one error
/// event in its place.
///
/// A body that breaks and is not an event stream passes its error on, so that the server cuts the connection. Neither
/// looks like a complete answer.
#[pin_project]
#[derive(Debug)]
pub struct RouteBody<B> {
    #[pin]
    inner: B,
    on_break: OnBreak,
}

#[derive(Debug)]
enum OnBreak {
    /// Pass the error on.
    PassError,
    /// Say so in the stream.
    SendEvent { dialect: Dialect, provider: Arc<str> },
    /// It was said; the stream is over.
    Over,
}

/// How the API of a path writes an error into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Chat completions and whatever is like them: an unnamed event with an `error` object.
    ChatCompletions,
    /// OpenAI's Responses: an event named and typed `error`.
    Responses,
    /// Anthropic's Messages: the same with the error nested.
    Messages,
}

impl Dialect {
    pub(super) fn of(path: &str) -> Self {
        if path.ends_with("/responses") {
            Self::Responses
        } else if path.ends_with("/messages") {
            Self::Messages
        } else {
            Self::ChatCompletions
        }
    }

    /// The event; it starts with a blank line, which ends a half-sent event and is nothing between two events.
    fn event(self, error: &ErrorAnswer) -> Bytes {
        let text = match self {
            Self::ChatCompletions => {
                let json = error.to_json();
                let mut event = Vec::with_capacity(json.len() + 10);
                event.extend_from_slice(b"\n\ndata: ");
                event.extend_from_slice(&json);
                event.extend_from_slice(b"\n\n");
                return event.into();
            }
            Self::Responses => serde_json::json!({
                // Typed clients want a number; which one it would be is not known here.
                "type": "error", "code": error.code(), "message": error.message(), "param": null, "sequence_number": 0
            }),
            Self::Messages => serde_json::json!({
                "type": "error", "error": {"type": error.kind(), "message": error.message()}
            }),
        };
        format!("\n\nevent: error\ndata: {text}\n\n").into()
    }
}

impl<B> RouteBody<B> {
    /// A body that is passed on as it is.
    pub(super) fn plain(inner: B) -> Self {
        Self { inner, on_break: OnBreak::PassError }
    }

    /// A provider's body, with the headers that came with it and the dialect of the request's path.
    pub(super) fn committed(inner: B, headers: &HeaderMap, dialect: Dialect, provider: &Arc<str>) -> Self
    where
        B: Body,
    {
        // An event can be added neither to an encoded stream nor to one whose length is announced; a server announces
        // the length that the body says it has.
        let takes_events = is_event_stream(headers)
            && !headers.contains_key(header::CONTENT_ENCODING)
            && !headers.contains_key(header::CONTENT_LENGTH)
            && inner.size_hint().exact().is_none();
        let on_break = if takes_events {
            OnBreak::SendEvent { dialect, provider: Arc::clone(provider) }
        } else {
            OnBreak::PassError
        };
        Self { inner, on_break }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().split(|byte| *byte == b';').next())
        .is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

impl<B> Body for RouteBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if matches!(this.on_break, OnBreak::Over) {
            return Poll::Ready(None);
        }
        match ready!(this.inner.poll_frame(cx)) {
            Some(Err(error)) => match std::mem::replace(this.on_break, OnBreak::Over) {
                OnBreak::SendEvent { dialect, provider } => {
                    tracing::warn!(%provider, %error, "the stream broke after its first event");
                    let message = format!("the stream from {provider} broke before its end; the answer is incomplete");
                    let answer = ErrorAnswer::new(StatusCode::BAD_GATEWAY, "upstream_stream_broken", message);
                    Poll::Ready(Some(Ok(Frame::data(dialect.event(&answer)))))
                }
                OnBreak::PassError | OnBreak::Over => Poll::Ready(Some(Err(error))),
            },
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.on_break, OnBreak::Over) || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.on_break {
            OnBreak::Over => SizeHint::with_exact(0),
            _ => self.inner.size_hint(),
        }
    }
}
