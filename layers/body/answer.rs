use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use serde::Serialize;

/// A response body that is either the inner service's or a small one that a layer made itself.
///
/// Every layer that can answer without calling further down has this response body. It forwards frames, trailers,
/// `size_hint` and `is_end_stream`, and its error is the inner body's.
#[pin_project]
#[derive(Debug)]
pub struct AnswerBody<B> {
    #[pin]
    kind: Kind<B>,
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B> {
    Inner(#[pin] B),
    Own(Bytes),
}

impl<B> AnswerBody<B> {
    /// The inner service's body.
    pub fn inner(body: B) -> Self {
        Self { kind: Kind::Inner(body) }
    }

    /// A body of the layer's own.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Own(bytes.into()) }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner(body) => body.poll_frame(cx),
            KindProj::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            KindProj::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Own(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner(body) => body.size_hint(),
            Kind::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// An error answer of a layer's own, in the shape that OpenAI's API gives its errors:
/// `{"error": {"message", "type", "param", "code"}}`, all four keys always there.
///
/// The answer travels on the response as an extension too, so that an outer layer can say the same in another API's
/// shape.
///
/// ```
/// use http::StatusCode;
/// use pointsman_layers::body::ErrorAnswer;
///
/// let response = ErrorAnswer::new(StatusCode::NOT_FOUND, "model_not_found", "there is no model `gpt-5o`")
///     .param("model")
///     .into_response::<String>();
/// assert_eq!(response.status(), 404);
/// assert_eq!(response.extensions().get::<ErrorAnswer>().unwrap().code(), "model_not_found");
/// ```
#[derive(Clone, Debug)]
pub struct ErrorAnswer {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: Cow<'static, str>,
    param: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ErrorAnswer {
    /// An error with a stable `code` for programs and a message for people.
    ///
    /// The `type` follows from the status: `authentication_error`, `permission_error`, `rate_limit_error`,
    /// `invalid_request_error` for the other 4xx, `api_error` for 5xx.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let kind = match status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        };
        Self { status, kind, code, message: message.into(), param: None, headers: Vec::new() }
    }

    /// Names the part of the request that is at fault.
    #[must_use]
    pub fn param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says when to come back, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The `type` of the error.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The `code` of the error.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The message of the error.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The headers that were added to the answer.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The JSON text of the error.
    pub fn to_json(&self) -> Bytes {
        #[derive(Serialize)]
        struct Shape<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            r#type: &'a str,
            param: Option<&'a str>,
            code: &'a str,
        }
        let error = Inner { message: &self.message, r#type: self.kind, param: self.param, code: self.code };
        serde_json::to_vec(&Shape { error }).expect("strings and options of strings always serialize").into()
    }

    /// The whole response, with the answer itself as an extension.
    pub fn into_response<B>(self) -> Response<AnswerBody<B>> {
        let mut response = Response::new(AnswerBody::own(self.to_json()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(self);
        response
    }
}
