use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{pending, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::*;
use crate::{
    body::{ErrorAnswer, ReplayBody},
    ext::Endpoint,
};

/// A source whose answers are written down beforehand. It notes what it is asked.
#[derive(Clone, Default)]
struct Script {
    current: Arc<Mutex<Option<Credential>>>,
    token: Option<Result<Credential, CredentialError>>,
    renewed: Option<Result<Option<Credential>, CredentialError>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenSource for Script {
    fn current(&self) -> Option<Credential> {
        self.current.lock().unwrap().clone()
    }

    fn token(&self) -> SourceFuture<Credential> {
        self.asked.lock().unwrap().push("token".into());
        Box::pin(ready(self.token.clone().expect("the script has a token")))
    }

    fn refused(&self, refused: &Credential) -> SourceFuture<Option<Credential>> {
        self.asked.lock().unwrap().push(format!("refused {}", refused.token()));
        match self.renewed.clone() {
            Some(renewed) => Box::pin(ready(renewed)),
            None => Box::pin(pending()),
        }
    }
}

fn script(current: Option<&str>) -> Script {
    Script { current: Arc::new(Mutex::new(current.map(Credential::new))), ..Script::default() }
}

/// What a provider saw: the `Authorization` and the body of each request.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A provider that gives these answers in turn, and panics when it is called without having been polled ready.
fn provider(
    answers: impl IntoIterator<Item = Response<ReplayBody>>,
) -> (impl Service<Request<ReplayBody>, Response = Response<ReplayBody>, Error = Infallible, Future: Send> + Clone, Seen)
{
    let (seen, answers) = (Seen::default(), Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>())));
    let noted = Arc::clone(&seen);
    let service = service_fn(move |request: Request<ReplayBody>| {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = String::from_utf8(request.into_body().to_bytes().to_vec()).unwrap();
        noted.lock().unwrap().push((authorization, body));
        ready(Ok(answers.lock().unwrap().pop_front().expect("no more requests than answers")))
    });
    // Cloning a rate limit or a buffer gives an instance that is not ready; this does too.
    (NeedsReady { inner: service, ready: false }, seen)
}

struct NeedsReady<S> {
    inner: S,
    ready: bool,
}

impl<S: Clone> Clone for NeedsReady<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ready: false }
    }
}

impl<S: Service<R>, R> Service<R> for NeedsReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.ready = true;
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been polled ready");
        self.inner.call(request)
    }
}

fn answer(status: u16, challenge: &str) -> Response<ReplayBody> {
    let mut response = Response::builder().status(status);
    if !challenge.is_empty() {
        response = response.header(header::WWW_AUTHENTICATE, challenge);
    }
    response.body(format!("the provider says {status}").into()).unwrap()
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = bytes::Bytes, Error: std::fmt::Debug>,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let new = || Some(Ok(Some(Credential::new("new"))));
    for (what, answers, renewed, status, tokens) in [
        ("good at once", vec![(200, "")], new(), 200, vec!["old"]),
        ("401, renewed", vec![(401, ""), (200, "")], new(), 200, vec!["old", "new"]),
        ("401 twice", vec![(401, ""), (401, "")], new(), 401, vec!["old", "new"]),
        ("401, then another failure", vec![(401, ""), (500, "")], new(), 500, vec!["old", "new"]),
        ("401, no other token", vec![(401, "")], Some(Ok(None)), 401, vec!["old"]),
        (
            "401 with a challenge",
            vec![(401, r#"Bearer realm="x", error="invalid_token""#), (200, "")],
            new(),
            200,
            vec!["old", "new"],
        ),
        ("401, scope", vec![(401, r#"Bearer error="insufficient_scope""#)], new(), 401, vec!["old"]),
        ("403", vec![(403, "")], new(), 403, vec!["old"]),
        ("403, token", vec![(403, r#"Bearer error="invalid_token""#), (200, "")], new(), 200, vec!["old", "new"]),
        ("403, token unquoted", vec![(403, "Bearer error=invalid_token"), (200, "")], new(), 200, vec!["old", "new"]),
        ("403, scope", vec![(403, r#"Bearer error="insufficient_scope""#)], new(), 403, vec!["old"]),
        ("429", vec![(429, "")], new(), 429, vec!["old"]),
        ("500", vec![(500, "")], new(), 500, vec!["old"]),
    ] {
        let (provider, seen) = provider(answers.into_iter().map(|(status, challenge)| answer(status, challenge)));
        let source = Script { renewed, ..script(Some("old")) };
        let response = OAuthLayer::new(source).layer(provider).oneshot(Request::new("body".into())).await.unwrap();
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(text(response).await, format!("the provider says {status}"), "{what}");
        let expected: Vec<_> = tokens.iter().map(|token| (format!("Bearer {token}"), "body".to_owned())).collect();
        assert_eq!(*seen.lock().unwrap(), expected, "{what}");
    }
}

#[tokio::test]
async fn a_token_that_changed_meanwhile_is_used_without_a_refresh() {
    let source = script(Some("old"));
    let current = Arc::clone(&source.current);
    let provider = service_fn(move |request: Request<ReplayBody>| {
        // Another request has had the token refreshed by the time this one is refused.
        *current.lock().unwrap() = Some(Credential::new("new"));
        let good = request.headers()[header::AUTHORIZATION] == "Bearer new";
        ready(Ok::<_, Infallible>(answer(if good { 200 } else { 401 }, "")))
    });
    let asked = Arc::clone(&source.asked);
    let response = OAuthLayer::new(source).layer(provider).oneshot(Request::default()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_that_has_to_be_waited_for_is_sent_and_may_be_renewed_too() {
    let (provider, seen) = provider([answer(401, ""), answer(200, "")]);
    let source = Script {
        token: Some(Ok(Credential::new("first"))),
        renewed: Some(Ok(Some(Credential::new("second")))),
        ..Script::default()
    };
    let asked = Arc::clone(&source.asked);
    let response = OAuthLayer::new(source).layer(provider).oneshot(Request::default()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(*asked.lock().unwrap(), ["token", "refused first"]);
    assert_eq!(
        seen.lock().unwrap().iter().map(|(token, _)| &**token).collect::<Vec<_>>(),
        ["Bearer first", "Bearer second"]
    );
}

#[tokio::test]
async fn without_a_credential_the_layer_answers() {
    let wait = Duration::from_millis(1500);
    for (error, status, code, retry_after) in [
        (CredentialError::invalid("no file; log in"), 401, "oauth_credentials_invalid", None),
        (CredentialError::unavailable("no file; log in", wait), 503, "oauth_refresh_failed", Some("2")),
    ] {
        // Once before the request is sent, and once after it was refused.
        for source in [
            Script { token: Some(Err(error.clone())), ..Script::default() },
            Script { renewed: Some(Err(error.clone())), ..script(Some("old")) },
        ] {
            let (provider, _) = provider([answer(401, "")]);
            let response = OAuthLayer::new(source).layer(provider).oneshot(Request::default()).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap()), retry_after);
            assert_eq!(response.extensions().get::<ErrorAnswer>().unwrap().code(), code);
            let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!((&body["error"]["message"], &body["error"]["code"]), (&"no file; log in".into(), &code.into()));
        }
    }
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_an_invalid_credential() {
    let (provider, seen) = provider([]);
    let layer = OAuthLayer::new(StaticToken::new("two\nlines"));
    let response = layer.layer(provider).oneshot(Request::default()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.extensions().get::<ErrorAnswer>().unwrap().code(), "oauth_credentials_invalid");
    assert!(seen.lock().unwrap().is_empty());
}

/// Answers with the request's head, as an extension.
async fn head(request: Request<ReplayBody>) -> Result<Response<ReplayBody>, Infallible> {
    let mut response = Response::new(ReplayBody::default());
    response.extensions_mut().insert(request.into_parts().0);
    Ok(response)
}

#[tokio::test]
async fn the_token_travels_in_the_form_that_is_configured() {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let layer = || OAuthLayer::new(StaticToken::new("t0ken"));
    for (layer, expected) in [
        (layer(), vec![("authorization", "Bearer t0ken")]),
        (layer().token_header(header::AUTHORIZATION, value("token {token}")), vec![("authorization", "token t0ken")]),
        (layer().token_header(name("x-api-key"), value("{token}")), vec![("x-api-key", "t0ken")]),
        (
            layer().header(name("x-kind"), value("oauth")).header(name("x-two"), value("{token}/{token}!")),
            vec![("authorization", "Bearer t0ken"), ("x-kind", "oauth"), ("x-two", "t0ken/t0ken!")],
        ),
    ] {
        let mut request = Request::new(ReplayBody::default());
        for name in ["authorization", "x-api-key", "x-kind", "x-two"] {
            request.headers_mut().append(name, value("the client's"));
            request.headers_mut().append(name, value("and a second"));
        }
        let response = layer.layer(service_fn(head)).oneshot(request).await.unwrap();
        let headers = &response.extensions().get::<http::request::Parts>().unwrap().headers;
        for (name, expected) in &expected {
            let values: Vec<_> = headers.get_all(*name).iter().collect();
            assert_eq!(values, [*expected]);
            assert_eq!(values[0].is_sensitive(), expected.contains("t0ken"));
        }
        assert_eq!(headers.contains_key("authorization"), expected[0].0 == "authorization");
    }
}

#[tokio::test]
async fn a_credential_brings_its_endpoint_along() {
    let endpoint = Endpoint("https://portal.example/v1".parse().unwrap());
    let source = script(None);
    let current = Arc::clone(&source.current);
    let service = OAuthLayer::new(source).layer(service_fn(head));
    for credential in [Credential::new("t"), Credential::with_endpoint("t", endpoint.clone()), Credential::new("t")] {
        *current.lock().unwrap() = Some(credential.clone());
        let response = service.clone().oneshot(Request::default()).await.unwrap();
        let parts = response.extensions().get::<http::request::Parts>().unwrap();
        assert_eq!(parts.extensions.get::<Endpoint>(), credential.endpoint());
    }
}

#[tokio::test]
async fn an_answer_does_not_echo_the_token() {
    let mut echo = answer(200, "");
    for (name, value) in [("authorization", "Bearer s3cret"), ("x-debug", "key=s3cret"), ("x-request-id", "7")] {
        echo.headers_mut().insert(name, value.parse().unwrap());
    }
    let (provider, _) = provider([echo]);
    let layer = OAuthLayer::new(StaticToken::new("s3cret"));
    let response = layer.layer(provider).oneshot(Request::default()).await.unwrap();
    assert_eq!(response.headers().keys().collect::<Vec<_>>(), ["x-request-id"]);
}

#[tokio::test]
async fn the_error_of_the_service_passes_through() {
    let broken = service_fn(|_: Request<ReplayBody>| ready(Err::<Response<ReplayBody>, _>("broken")));
    let error = OAuthLayer::new(StaticToken::new("t")).layer(broken).oneshot(Request::default()).await.err();
    assert_eq!(error, Some("broken"));
}

#[tokio::test]
async fn dropping_the_future_drops_the_call_below() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let never = service_fn(move |_: Request<ReplayBody>| {
        let held = Arc::clone(&held);
        async move {
            pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(ReplayBody::default()))
        }
    });
    let service = OAuthLayer::new(StaticToken::new("t")).layer(never);
    let before = Arc::strong_count(&alive);
    let mut future = tokio_test::task::spawn(service.oneshot(Request::default()));
    assert!(future.poll().is_pending());
    assert!(Arc::strong_count(&alive) > before);
    drop(future);
    assert_eq!(Arc::strong_count(&alive), 1, "the service and its call are gone");
}

#[test]
fn no_debug_output_shows_a_token() {
    let credential = Credential::new("canary");
    let layer = OAuthLayer::new(StaticToken::new("canary"));
    let shown = format!("{credential:?} {layer:?} {:?} {:?}", layer.clone().layer(()), StaticToken::new("canary"));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains(&credential.fingerprint().to_string()), "{shown}");
    assert_eq!(credential.fingerprint().to_string().len(), 12);
}

#[test]
fn services_and_futures_can_be_shared_and_sent() {
    fn all<T: Clone + Send + Sync>(_: &T) {}
    let (provider, _) = provider([]);
    let service = OAuthLayer::new(StaticToken::new("t")).layer(service_fn(head));
    all(&service);
    tokio_test::assert_ready!(
        tokio_test::task::spawn(std::future::poll_fn(|cx| service.clone().poll_ready(cx))).poll()
    )
    .unwrap();
    fn send<T: Send>(_: T) {}
    send(service.oneshot(Request::default()));
    send(OAuthLayer::new(script(None)).layer(provider).oneshot(Request::default()));
}
