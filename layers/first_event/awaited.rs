use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;

use super::{FirstEventBody, early::Early, error_event::ErrorEvent};
use crate::{
    body::EventCollector,
    ext::{ClassifyFailure, Failure},
};

/// What has to come before a response is handed up.
pub(super) enum Awaited {
    Event(EventCollector),
    Byte,
}

impl Awaited {
    /// What a response has to wait for, if for anything.
    pub(super) fn of<B>(response: &Response<B>, passes: bool, hold_limit: usize) -> Option<Self> {
        let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if passes || bodiless || !response.status().is_success() {
            return None;
        }
        let events = is_event_stream(response.headers()) && !is_encoded(response.headers());
        Some(if events { Self::Event(EventCollector::new(hold_limit)) } else { Self::Byte })
    }

    /// Ready when the response may be handed up, or with what has to be said in its place.
    pub(super) fn poll<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut FirstEventBody<B>,
        cx: &mut Context<'_>,
        hold_limit: usize,
        classify: &impl ClassifyFailure<B::Error>,
    ) -> Poll<Result<(), Early>> {
        loop {
            let data = match ready!(body.poll_below(cx)) {
                Some(Ok(frame)) => frame.into_data().ok(),
                Some(Err(error)) => return Poll::Ready(Err(self.broken(classify.classify(&error)))),
                None => None,
            };
            // Trailers are the end as well.
            let Some(data) = data else { return Poll::Ready(Err(self.ended())) };
            if data.is_empty() {
                continue;
            }
            let event = match self {
                Self::Byte => Some(None),
                // One over the limit is no error that anybody would send.
                Self::Event(events) => events.read(&mut &data[..]).map(|event| ErrorEvent::find(&event.ok()?)),
            };
            body.hold(data);
            match event {
                Some(Some(error)) => return Poll::Ready(Err(Early::Event(error))),
                Some(None) => return Poll::Ready(Ok(())),
                None if body.held_memory() > hold_limit => return Poll::Ready(Ok(())),
                None => {}
            }
        }
    }

    fn ended(&mut self) -> Early {
        match self {
            Self::Byte => Early::empty("upstream_empty_answer", "the provider's answer has no content"),
            Self::Event(events) => match events.read_unfinished().and_then(|event| ErrorEvent::find(&event.ok()?)) {
                Some(error) => Early::Event(error),
                None => Early::empty("upstream_empty_stream", "the provider's stream ended before its first event"),
            },
        }
    }

    fn broken(&self, failure: Failure) -> Early {
        let message = match self {
            Self::Byte => "the provider's answer broke before its first byte",
            Self::Event(_) => "the provider's stream broke before its first event",
        };
        Early::broken(failure, message)
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let plain = |coding: &[u8]| coding.trim_ascii().is_empty() || coding.trim_ascii().eq_ignore_ascii_case(b"identity");
    let mut lists = headers.get_all(header::CONTENT_ENCODING).iter();
    lists.any(|list| !list.as_bytes().split(|byte| *byte == b',').all(plain))
}
