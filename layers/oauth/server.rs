//! What all exchanges with a token server share: a form goes out over TLS, and a small JSON object comes back.

use std::{
    fmt::{self, Display},
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body;
use serde_json::{Map, Value};
use tower_service::Service;

use super::{clock, file::is_loopback};
use crate::body::ReplayBody;

/// How this program calls itself.
pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("pointsman/", env!("CARGO_PKG_VERSION")));

const MAX_ANSWER: usize = 1 << 20;

/// An HTTP service, with its type forgotten.
pub(super) trait Post: Send + Sync {
    fn post(&self, request: Request<ReplayBody>) -> PostFuture;
}

pub(super) type PostFuture = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>;

pub(super) struct Client<C>(pub(super) C);

impl<C, B> Post for Client<C>
where
    C: Service<Request<ReplayBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    C::Future: Send,
    C::Error: Display,
    B: Body<Data = Bytes> + Send,
    B::Error: Display,
{
    fn post(&self, request: Request<ReplayBody>) -> PostFuture {
        let mut client = self.0.clone();
        Box::pin(async move {
            poll_fn(|cx| client.poll_ready(cx)).await.map_err(|error| error.to_string())?;
            let response = client.call(request).await.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            Ok(Response::from_parts(parts, collect(body).await?))
        })
    }
}

async fn collect<B>(body: B) -> Result<Bytes, String>
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let mut body = pin!(body);
    let mut collected = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
        if collected.len() + data.len() > MAX_ANSWER {
            return Err("its answer is larger than 1 MiB".into());
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// Sends a request, and waits for the whole answer no longer than this. The error says what went wrong and nothing of
/// what was sent.
pub(super) async fn exchange(
    client: &dyn Post,
    request: Request<ReplayBody>,
    timeout: Duration,
) -> Result<Response<Bytes>, String> {
    let answer = tokio::time::timeout(timeout, client.post(request)).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

/// A POST of these fields as a form.
pub(super) fn form<'f>(url: &Uri, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Request<ReplayBody> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    post(url, "application/x-www-form-urlencoded", body)
}

/// A POST of these fields as a JSON object.
pub(super) fn json<'f>(url: &Uri, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Request<ReplayBody> {
    let object = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    post(url, "application/json", Value::Object(object).to_string())
}

fn post(url: &Uri, content_type: &'static str, body: String) -> Request<ReplayBody> {
    let mut request = Request::new(ReplayBody::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, USER_AGENT);
    request
}

/// The JSON object that an answer holds.
pub(super) fn object(response: &Response<Bytes>) -> Option<Map<String, Value>> {
    match serde_json::from_slice(response.body()) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// What an answer has under this name, if that is a text and not empty.
pub(super) fn text<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    answer.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A number of seconds in an answer; some servers send it as text.
pub(super) fn seconds(answer: &Map<String, Value>, name: &str) -> Option<Duration> {
    let value = answer.get(name)?;
    Duration::try_from_secs_f64(value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?).ok()
}

/// A refusal in words: its status, and its error code if that is one of RFC 6749, section 5.2. Any other text is not
/// repeated: it could quote the token.
pub(super) fn refusal(response: &Response<Bytes>) -> String {
    const KNOWN: [&str; 6] = [
        "invalid_grant",
        "invalid_request",
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    let status = response.status().as_u16();
    let answer = object(response);
    let code = answer.as_ref().and_then(|answer| text(answer, "error"));
    match code.filter(|code| KNOWN.contains(code)) {
        Some(code) => format!("status {status}, {code}"),
        None => format!("status {status}"),
    }
}

/// How long an answer asks to be left alone.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(clock::now()).ok(),
    }
}

/// Whether a token can be sent there: over TLS, or to this machine.
pub(super) fn require_secure(url: &Uri) -> Result<(), InsecureUrl> {
    let secure = match url.scheme_str() {
        Some("https") => url.host().is_some(),
        Some("http") => url.host().is_some_and(is_loopback),
        _ => false,
    };
    if secure { Ok(()) } else { Err(InsecureUrl) }
}

/// The URL of a token server that is not reached over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsecureUrl;

impl Display for InsecureUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token endpoint must be an https URL, or an http URL with a loopback host")
    }
}

impl std::error::Error for InsecureUrl {}
