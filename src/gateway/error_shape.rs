use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use pointsman_layers::body::{AnswerBody, ErrorAnswer};
use serde_json::json;
use tower_http::request_id::RequestId;
use tower_layer::Layer;
use tower_service::Service;

use super::{api, request_id::REQUEST_ID};

/// Says the gateway's own errors in the shape of the API that the path belongs to: below `/v1/messages` that is
/// Anthropic's, everywhere else OpenAI's, in which they come. What a provider says is not touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorShapeLayer;

impl<S> Layer<S> for ErrorShapeLayer {
    type Service = ErrorShape<S>;

    fn layer(&self, inner: S) -> ErrorShape<S> {
        ErrorShape { inner }
    }
}

/// The service of [`ErrorShapeLayer`].
#[derive(Clone, Debug)]
pub(super) struct ErrorShape<S> {
    inner: S,
}

impl<S, Q, B> Service<Request<Q>> for ErrorShape<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<AnswerBody<B>>;
    type Error = S::Error;
    type Future = ErrorShapeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> ErrorShapeFuture<S::Future> {
        let id = || request.extensions().get::<RequestId>().map(|id| id.header_value().clone());
        let anthropic = is_anthropic(request.uri().path()).then(id);
        ErrorShapeFuture { inner: self.inner.call(request), anthropic }
    }
}

/// The response future of [`ErrorShape`].
#[pin_project]
pub(super) struct ErrorShapeFuture<F> {
    #[pin]
    inner: F,
    /// For a request to Anthropic's API, its id.
    anthropic: Option<Option<HeaderValue>>,
}

impl<F, B, E> Future for ErrorShapeFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<AnswerBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let error = response.extensions().get::<ErrorAnswer>().zip(this.anthropic.as_ref());
        let json = error.map(|(error, id)| anthropic(error, response.headers().get(REQUEST_ID).or(id.as_ref())));
        Poll::Ready(Ok(match json {
            Some(json) => response.map(|_| AnswerBody::own(json)),
            None => response.map(AnswerBody::inner),
        }))
    }
}

/// An error of the server's own, from outside of the gateway, in the shape that the path's API has.
pub(crate) fn shaped<B>(error: ErrorAnswer, path: &str, id: HeaderValue) -> Response<AnswerBody<B>> {
    let anthropic = is_anthropic(path).then(|| anthropic(&error, Some(&id)));
    let mut response = error.into_response();
    response.headers_mut().insert(REQUEST_ID, id);
    match anthropic {
        Some(json) => response.map(|_: AnswerBody<B>| AnswerBody::own(json)),
        None => response,
    }
}

fn is_anthropic(path: &str) -> bool {
    let api = api::api_start(path).map(|start| &path[start..]);
    let below = api.and_then(|path| path.strip_prefix("/v1/messages"));
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// An error as Anthropic's API has it: <https://docs.anthropic.com/en/api/errors>.
fn anthropic(error: &ErrorAnswer, request_id: Option<&HeaderValue>) -> Bytes {
    let kind = match error.status() {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    };
    let id = request_id.and_then(|id| id.to_str().ok());
    let json = json!({ "type": "error", "error": { "type": kind, "message": error.message() }, "request_id": id });
    json.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anthropic_s_paths_are_known_behind_a_prefix() {
        for (path, is) in [
            ("/v1/messages", true),
            ("/v1/messages/count_tokens", true),
            ("/llm/v1/messages", true),
            ("/v1/messages2", false),
            ("/v1/chat/completions", false),
            ("/messages", false),
            ("/", false),
        ] {
            assert_eq!(is_anthropic(path), is, "{path}");
        }
    }

    #[test]
    fn every_status_has_a_type() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (408, "invalid_request_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
            (508, "api_error"),
        ] {
            let error = ErrorAnswer::new(StatusCode::from_u16(status).unwrap(), "code", "a \"message\"");
            let json: serde_json::Value = serde_json::from_slice(&anthropic(&error, None)).unwrap();
            let expected =
                json!({ "type": "error", "error": { "type": kind, "message": "a \"message\"" }, "request_id": null });
            assert_eq!(json, expected);
        }
    }
}
