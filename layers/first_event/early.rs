use http::{HeaderName, HeaderValue, Response, header};

use super::error_event::ErrorEvent;
use crate::{
    body::{AnswerBody, ErrorAnswer},
    ext::{EarlyFailure, Failure, FailureKind},
};

/// What came in place of the beginning of an answer.
pub(super) enum Early {
    Event(ErrorEvent),
    Failed(Failure, ErrorAnswer),
}

impl Early {
    pub(super) fn empty(code: &'static str, message: &'static str) -> Self {
        Self::Failed(Failure::EMPTY, ErrorAnswer::new(Failure::EMPTY.status(), code, message))
    }

    pub(super) fn broken(failure: Failure, message: &'static str) -> Self {
        let (code, message) = match failure.kind {
            FailureKind::Timeout => ("upstream_timeout", "nothing of the provider's answer came in time"),
            _ => ("upstream_stream_broken", message),
        };
        Self::Failed(failure, ErrorAnswer::new(failure.status(), code, message))
    }

    /// The answer in place of a response that began as a success; the body of that one is dropped.
    pub(super) fn replace<A, B>(self, response: Response<A>) -> Response<AnswerBody<B>> {
        let (mut parts, _) = response.into_parts();
        for name in OF_THE_BODY {
            parts.headers.remove(name);
        }
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (failure, status, body) = match self {
            Self::Event(error) => (Failure::ERROR_EVENT, error.status, error.body),
            Self::Failed(failure, answer) => {
                let (status, body) = (answer.status(), answer.to_json());
                parts.extensions.insert(answer);
                (failure, status, body)
            }
        };
        parts.status = status;
        parts.extensions.insert(EarlyFailure(failure));
        Response::from_parts(parts, AnswerBody::own(body))
    }
}

/// The headers that speak of the body that is no longer there. The others, request ids and limits among them, stay.
const OF_THE_BODY: [HeaderName; 9] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
];
