use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use serde_json::{Map, Value};
use tower_service::Service;

use super::{QuotaError, QuotaFetch, QuotaSource};
use crate::body::ReplayBody;

/// How much of an answer is read, in bytes.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// A quota source that is described by data: an HTTP request, and where in the JSON answer the quota is.
///
/// The answer has to be a 2xx with a JSON body of at most 1 MiB; redirects are not followed. `Debug` shows neither the
/// values of headers nor the query nor the body. Errors show nothing of the answer but its status; an error of the service
/// is shown in its own words.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{HeaderValue, Request, Response, Uri, header};
/// use pointsman_layers::{
///     body::ReplayBody,
///     quota::{HttpQuota, QuotaSource as _},
/// };
/// use serde_json::json;
/// use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // Stands for an HTTP client.
/// let client = service_fn(async |request: Request<ReplayBody>| {
///     assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer key");
///     Ok::<_, Infallible>(Response::new(ReplayBody::from(r#"{"data": {"left": 70, "of": 100}}"#)))
/// });
///
/// let source = HttpQuota::new(client, Uri::from_static("https://llm.example.com/usage"))
///     .header(header::AUTHORIZATION, HeaderValue::from_static("Bearer key"))
///     .map("balance", "/data/left");
/// assert_eq!(source.fetch().await.unwrap(), json!({"balance": 70}));
/// # }
/// ```
pub struct HttpQuota<S> {
    /// Locked to be cloned, so that it need not be `Sync`.
    service: Mutex<S>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: ReplayBody,
    shape: Shape,
}

/// What is taken from an answer.
#[derive(Clone, Debug, Default)]
struct Shape {
    pointer: Option<Box<str>>,
    map: Vec<(Box<str>, Box<str>)>,
}

impl<S> HttpQuota<S> {
    /// A GET request to an absolute URI, whose whole answer is the quota.
    pub fn new(service: S, uri: Uri) -> Self {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        Self {
            service: Mutex::new(service),
            method: Method::GET,
            uri,
            headers,
            body: ReplayBody::default(),
            shape: Shape::default(),
        }
    }

    /// The method of the request.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets a header of the request. Every value is treated as a secret, and marked sensitive.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// The body of the request.
    #[must_use]
    pub fn body(mut self, body: impl Into<ReplayBody>) -> Self {
        self.body = body.into();
        self
    }

    /// Takes the quota from this place of the answer, a JSON pointer (RFC 6901) such as `/data`. An answer that has
    /// nothing there is an error.
    #[must_use]
    pub fn pointer(mut self, pointer: &str) -> Self {
        self.shape.pointer = Some(pointer.into());
        self
    }

    /// Makes the quota an object with this field, taken from the place of a JSON pointer; call it for each field.
    /// Pointers start at the place of [`pointer`](Self::pointer). A field that the answer lacks is left out; if it
    /// lacks all of them, that is an error.
    #[must_use]
    pub fn map(mut self, field: &str, pointer: &str) -> Self {
        self.shape.map.push((field.into(), pointer.into()));
        self
    }
}

impl Shape {
    fn apply(&self, mut answer: Value) -> Result<Value, QuotaError> {
        let nothing_at = |pointer: &str| QuotaError::new(format!("the quota answer has nothing at {pointer}"));
        if let Some(pointer) = &self.pointer {
            answer = answer.pointer_mut(pointer).map(Value::take).ok_or_else(|| nothing_at(pointer))?;
        }
        let Some((_, first)) = self.map.first() else { return Ok(answer) };
        let found = |(field, pointer): &(Box<str>, Box<str>)| {
            answer.pointer(pointer).map(|value| (String::from(&**field), value.clone()))
        };
        let fields: Map<String, Value> = self.map.iter().filter_map(found).collect();
        if fields.is_empty() { Err(nothing_at(first)) } else { Ok(fields.into()) }
    }
}

impl<S, B> QuotaSource for HttpQuota<S>
where
    S: Service<Request<ReplayBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: fmt::Display + Send,
    B: Body + Send + 'static,
    B::Data: Send,
{
    fn fetch(&self) -> QuotaFetch {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let shape = self.shape.clone();
        Box::pin(async move {
            let failed = |error: S::Error| QuotaError::new(format!("the quota request failed: {error}"));
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
            let response = service.call(request).await.map_err(failed)?;
            if !response.status().is_success() {
                return Err(refused(&response));
            }
            let answer = read(response.into_body()).await?;
            let answer = serde_json::from_slice(&answer)
                .map_err(|error| QuotaError::new(format!("the quota answer is not JSON: {error}")))?;
            shape.apply(answer)
        })
    }
}

fn refused<B>(response: &Response<B>) -> QuotaError {
    let status = response.status();
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    let error = QuotaError::new(format!("the quota request was answered with {status}{hint}"));
    match retry_after(response) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// The wait that a `Retry-After` in seconds asks for; the form with a date is not worth a parser here.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

async fn read<B: Body>(body: B) -> Result<BytesMut, QuotaError> {
    let too_large = || QuotaError::new("the quota answer is over 1 MiB");
    if body.size_hint().lower() > ANSWER_LIMIT as u64 {
        return Err(too_large());
    }
    let mut answer = BytesMut::new();
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| QuotaError::new("the quota answer broke off"))?;
        if let Ok(data) = frame.into_data() {
            if data.remaining() > ANSWER_LIMIT - answer.len() {
                return Err(too_large());
            }
            answer.put(data);
        }
    }
    Ok(answer)
}

impl<S> fmt::Debug for HttpQuota<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The authority may hold a password, the query a key.
        let place = format!("{}{}", self.uri.host().unwrap_or_default(), self.uri.path());
        f.debug_struct("HttpQuota")
            .field("method", &self.method)
            .field("uri", &place)
            .field("headers", &self.headers.keys())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use http_body::Frame;
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    const URI: &str = "https://user:hunter2@llm.example.com/usage?key=hunter2";

    /// Answers every request the same.
    #[derive(Clone)]
    struct Answering(u16, ReplayBody);

    impl Service<Request<ReplayBody>> for Answering {
        type Response = Response<ReplayBody>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<ReplayBody>) -> Self::Future {
            let response = Response::builder().status(self.0).header(header::RETRY_AFTER, 60);
            ready(Ok(response.body(self.1.clone()).unwrap()))
        }
    }

    fn answering(status: u16, body: &str) -> HttpQuota<Answering> {
        HttpQuota::new(Answering(status, body.to_owned().into()), Uri::from_static(URI))
    }

    async fn fails(source: impl QuotaSource) -> String {
        source.fetch().await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn the_request_is_as_described() {
        let client = service_fn(async |request: Request<ReplayBody>| {
            assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, URI.to_owned()));
            assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer hunter2");
            assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
            assert_eq!(request.headers()[header::ACCEPT], "application/json");
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        let source = HttpQuota::new(client, Uri::from_static(URI))
            .method(Method::POST)
            .header(header::AUTHORIZATION, HeaderValue::from_static("Bearer hunter2"))
            .body(r#"{"project": "hunter2"}"#);
        assert_eq!(source.fetch().await, Ok(json!({"project": "hunter2"})));
        assert_eq!(source.fetch().await, Ok(json!({"project": "hunter2"})), "a source can be asked again");

        let shown = format!("{source:?}");
        assert!(shown.contains("llm.example.com/usage") && shown.contains("authorization"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[tokio::test]
    async fn the_quota_is_taken_from_where_it_is_said_to_be() {
        let answer = r#"{"data": {"left": 70, "of": [100, 200]}}"#;
        let all = || answering(200, answer);
        assert_eq!(all().fetch().await, Ok(json!({"data": {"left": 70, "of": [100, 200]}})));
        assert_eq!(all().pointer("/data/of/1").fetch().await, Ok(json!(200)));
        let mapped = all().pointer("/data").map("balance", "/left").map("max", "/of/0").map("absent", "/nothing");
        assert_eq!(mapped.fetch().await, Ok(json!({"balance": 70, "max": 100})));

        assert_eq!(fails(all().pointer("/nothing")).await, "the quota answer has nothing at /nothing");
        assert_eq!(fails(all().map("balance", "no pointer")).await, "the quota answer has nothing at no pointer");
    }

    #[tokio::test]
    async fn anything_but_a_success_is_an_error_that_names_the_status() {
        for (status, message) in [
            (500, "the quota request was answered with 500 Internal Server Error"),
            (302, "the quota request was answered with 302 Found; redirects are not followed"),
            (401, "the quota request was answered with 401 Unauthorized"),
        ] {
            let error = answering(status, r#"{"balance": "hunter2"}"#).fetch().await.unwrap_err();
            assert_eq!((error.message(), error.retry_after()), (message, None));
        }
        for status in [429, 503] {
            let error = answering(status, "").fetch().await.unwrap_err();
            assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
        }
    }

    #[tokio::test]
    async fn what_is_not_json_is_an_error() {
        for body in ["", "<html>hunter2</html>", "{\"balance\": 1", "{\"balance\": 1} and more"] {
            let message = fails(answering(200, body)).await;
            assert!(message.starts_with("the quota answer is not JSON: ") && !message.contains("hunter2"), "{message}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_be_one_mebibyte_long() {
        let padded = |length: usize| "1".to_owned() + &" ".repeat(length - 1);
        assert_eq!(answering(200, &padded(ANSWER_LIMIT)).fetch().await, Ok(json!(1)));
        assert_eq!(fails(answering(200, &padded(ANSWER_LIMIT + 1))).await, "the quota answer is over 1 MiB");

        // One whose length is not announced is cut off where it passes the limit.
        let endless = service_fn(|_: Request<ReplayBody>| ready(Ok::<_, Infallible>(Response::new(Endless))));
        assert_eq!(fails(HttpQuota::new(endless, Uri::from_static(URI))).await, "the quota answer is over 1 MiB");
    }

    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 4096])))))
        }
    }

    #[tokio::test]
    async fn a_request_or_an_answer_that_breaks_is_an_error() {
        let refused = service_fn(|_: Request<ReplayBody>| ready(Err::<Response<ReplayBody>, _>("connection refused")));
        let message = fails(HttpQuota::new(refused, Uri::from_static(URI))).await;
        assert_eq!(message, "the quota request failed: connection refused");

        let broken = service_fn(|_: Request<ReplayBody>| ready(Ok::<_, Infallible>(Response::new(Broken))));
        assert_eq!(fails(HttpQuota::new(broken, Uri::from_static(URI))).await, "the quota answer broke off");
    }

    struct Broken;

    impl Body for Broken {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(Some(Err("reset")))
        }
    }
}
