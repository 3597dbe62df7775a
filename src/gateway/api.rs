use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    uri::{Parts, PathAndQuery},
};
use pointsman_layers::{
    body::{AnswerBody, ErrorAnswer},
    route::model_not_found,
};
use tower_http::validate_request::ValidateRequest;

use super::{CoreBody, explain::Explainer, models::Models};

/// Says which gateways a request has come through, so that a circle is noticed.
const LOOP: HeaderName = HeaderName::from_static("x-pointsman-loop");

/// Says what a model string leads to.
const EXPLAIN: &str = "/v1/pointsman/explain";

/// The paths of the API that take a `POST` alone, and a model with it.
const POST_ONLY: [&str; 14] = [
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/edits",
    "/v1/images/generations",
    "/v1/images/variations",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/moderations",
    "/v1/rerank",
    "/v1/responses",
];

/// The front of the API: lists the models, and lets nothing through but requests for a plain path below `/v1/` that ask
/// for a model, or that the default backend can answer without one.
#[derive(Clone, Debug)]
pub(super) struct Api {
    models: Arc<Models>,
    explainer: Explainer,
    instance: HeaderValue,
    has_default: bool,
}

impl Api {
    pub(super) fn new(models: Arc<Models>, explainer: Explainer, instance: HeaderValue, has_default: bool) -> Self {
        Self { models, explainer, instance, has_default }
    }

    fn explain(&self, query: &str) -> Response<CoreBody> {
        let explained = match asked_about(query) {
            Some(model) => self.explainer.explain(&model),
            None => {
                let message = format!("which model? Ask for {EXPLAIN}?model=...");
                Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, "missing_model", message).param("model"))
            }
        };
        match explained {
            Ok(explanation) => {
                json(serde_json::to_vec(&explanation).expect("text and numbers always serialize").into())
            }
            Err(answer) => answer.into_response(),
        }
    }

    fn lets_through(&self, method: &Method, path: &str) -> bool {
        let is_below = path.len() > "/v1/".len() && !is_models(path) && path != EXPLAIN;
        is_below
            && match *method {
                Method::POST => true,
                Method::GET | Method::HEAD | Method::PUT | Method::PATCH | Method::DELETE => {
                    self.has_default && !asks_for_model(path)
                }
                _ => false,
            }
    }

    fn model(&self, id: &str) -> Response<CoreBody> {
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
        match self.models.get(&id) {
            Some(model) => json(model),
            None => model_not_found(&id, self.models.names()).into_response(),
        }
    }
}

/// The value of `model` in a query.
fn asked_about(query: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes()).find_map(|(name, value)| (name == "model").then_some(value))
}

/// Whether a request to this path has to name a model.
pub(super) fn asks_for_model(path: &str) -> bool {
    POST_ONLY.contains(&path)
}

/// Whether this path, prefix included, is that of the list of models.
pub(super) fn is_model_list(path: &str) -> bool {
    api_start(path).is_some_and(|start| &path[start..] == "/v1/models")
}

fn is_models(path: &str) -> bool {
    path == "/v1/models" || path.starts_with("/v1/models/")
}

pub(super) fn json(text: Bytes) -> Response<CoreBody> {
    let mut response = Response::new(AnswerBody::own(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn unknown_path(method: &Method, path: &str) -> Response<CoreBody> {
    let message = format!("nothing answers {method} {path}; the API is below /v1/");
    ErrorAnswer::new(StatusCode::NOT_FOUND, "unknown_path", message).into_response()
}

/// Where `/v1/…` starts in a path: at once, or behind the prefix that the gateway is mounted at.
pub(super) fn api_start(path: &str) -> Option<usize> {
    if path.starts_with("/v1/") {
        return Some(0);
    }
    path.match_indices("/v1").map(|(at, _)| at).find(|at| matches!(path.as_bytes().get(at + 3), None | Some(b'/')))
}

fn without_prefix(uri: &Uri, start: usize) -> Uri {
    let mut parts = Parts::default();
    // A tail of a path and its query is one too.
    let tail = uri.path_and_query().map(|whole| &whole.as_str()[start..]).unwrap_or("/");
    parts.path_and_query = tail.parse::<PathAndQuery>().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Whether every reader of the path sees the same segments in it, one that decodes it twice included.
fn is_plain(path: &str) -> bool {
    // As a rule there is nothing that it takes a second look to tell.
    let pairs = path.bytes().zip(path.bytes().skip(1));
    if !path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | 0))
        && !pairs.into_iter().any(|pair| matches!(pair, (b'/', b'/' | b'.')))
    {
        return true;
    }
    let has_plain_segments = |path: &[u8]| {
        !path.iter().any(|byte| matches!(byte, b'\\' | 0))
            && !path.windows(2).any(|pair| pair == b"//")
            && !path.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..")
    };
    if !path.contains('%') {
        return has_plain_segments(path.as_bytes());
    }
    let once: Cow<'_, [u8]> = percent_encoding::percent_decode_str(path).into();
    let twice: Cow<'_, [u8]> = percent_encoding::percent_decode(&once).into();
    [path.as_bytes(), &once, &twice].into_iter().all(has_plain_segments)
}

impl<B> ValidateRequest<B> for Api {
    type ResponseBody = CoreBody;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<CoreBody>> {
        let path = request.uri().path();
        if !is_plain(path) {
            let message = "the path has an empty, relative or encoded segment that a provider might read differently";
            return Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, "invalid_path", message).into_response());
        }
        let Some(start) = api_start(path) else { return Err(unknown_path(request.method(), path)) };
        let path = &path[start..];
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            if path == "/v1/models" {
                return Err(json(self.models.list()));
            }
            if path == EXPLAIN {
                return Err(self.explain(request.uri().query().unwrap_or_default()));
            }
            if let Some(id) = path.strip_prefix("/v1/models/") {
                return Err(self.model(id));
            }
        }
        if self.lets_through(request.method(), path) {
            if request.headers().get_all(&LOOP).iter().any(|passed| passed == self.instance) {
                let message = "the request came back to this gateway; a backend's base_url leads to it";
                return Err(ErrorAnswer::new(StatusCode::LOOP_DETECTED, "loop_detected", message).into_response());
            }
            request.headers_mut().append(LOOP, self.instance.clone());
            if start > 0 {
                *request.uri_mut() = without_prefix(request.uri(), start);
            }
            return Ok(());
        }
        let allowed = match path {
            _ if asks_for_model(path) => "POST",
            _ if is_models(path) || path == EXPLAIN => "GET, HEAD",
            _ => return Err(unknown_path(request.method(), path)),
        };
        let message = format!("{path} does not take {}; it takes {allowed}", request.method());
        Err(ErrorAnswer::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
            .header(header::ALLOW, HeaderValue::from_static(allowed))
            .into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_pass() {
        for plain in
            ["/", "/v1/chat/completions", "/v1/models/a%2Fb", "/v1/models/gpt-4.1", "/v1/x/...", "/v1/models/a%20b"]
        {
            assert!(is_plain(plain), "{plain}");
        }
        for odd in [
            "/v1/../x",
            "/v1/./x",
            "/v1//x",
            "//v1",
            "/v1/%2e%2E/x",
            "/v1/..%2fx",
            "/v1/x%5cy",
            "/v1/x\\y",
            "/v1/%00",
            "/v1/%2f%2f",
            "/v1/%252e%252e/x",
        ] {
            assert!(!is_plain(odd), "{odd}");
        }
    }

    #[test]
    fn the_api_is_found_behind_a_prefix() {
        for (path, start) in [
            ("/v1/models", Some(0)),
            ("/llm/v1/models", Some(4)),
            ("/v12/v1/x", Some(4)),
            ("/v1", Some(0)),
            ("/v1beta/x", None),
            ("/", None),
        ] {
            assert_eq!(api_start(path), start, "{path}");
        }
        let uri = "http://host/llm/v1/x?a=b".parse().unwrap();
        assert_eq!(without_prefix(&uri, 4).to_string(), "/v1/x?a=b");
    }
}
