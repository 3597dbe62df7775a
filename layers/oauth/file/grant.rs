//! The exchange of a refresh token for an access token.

use std::{
    fmt::Display,
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::{Map, Value};
use tower_service::Service;

use super::{
    clock,
    options::{GrantEncoding, RefreshGrant},
};
use crate::body::ReplayBody;

const MAX_ANSWER: usize = 1 << 20;

/// What came of an exchange. The texts hold nothing of what was sent or received.
pub(super) enum Exchange {
    /// The answer, which has an access token.
    Granted(Map<String, Value>),
    /// The refresh token is no good.
    Refused(String),
    /// Neither; it may go better later.
    Failed { reason: String, retry_after: Option<Duration> },
}

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

/// Asks once; whether the refresh token was used up is not known if that fails, so nothing is repeated here.
pub(super) async fn exchange(client: &dyn Post, grant: &RefreshGrant, refresh: &str) -> Exchange {
    let failed = |reason: String| Exchange::Failed { reason, retry_after: None };
    match tokio::time::timeout(grant.timeout, client.post(request(grant, refresh))).await {
        Ok(Ok(response)) => judge(&response),
        Ok(Err(error)) => failed(error),
        Err(_) => failed(format!("no answer within {:?}", grant.timeout)),
    }
}

fn request(grant: &RefreshGrant, refresh: &str) -> Request<ReplayBody> {
    let fields = || {
        let given = grant.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        given.chain([("refresh_token", refresh)])
    };
    let (content_type, body) = match grant.encoding {
        GrantEncoding::Form => (
            "application/x-www-form-urlencoded",
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fields()).finish(),
        ),
        GrantEncoding::Json => {
            let object: Map<String, Value> = fields().map(|(name, value)| (name.to_owned(), value.into())).collect();
            ("application/json", Value::Object(object).to_string())
        }
    };
    let mut request = Request::new(ReplayBody::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = grant.url.clone();
    let user_agent = concat!("pointsman/", env!("CARGO_PKG_VERSION"));
    for (name, value) in
        [(header::CONTENT_TYPE, content_type), (header::ACCEPT, "application/json"), (header::USER_AGENT, user_agent)]
    {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request
}

fn judge(response: &Response<Bytes>) -> Exchange {
    let status = response.status();
    let answer = match serde_json::from_slice(response.body()) {
        Ok(Value::Object(answer)) => Some(answer),
        _ => None,
    };
    let failed = |reason| Exchange::Failed { reason, retry_after: retry_after(response.headers()) };
    match status {
        status if status.is_success() => match answer {
            Some(answer)
                if answer.get("access_token").and_then(Value::as_str).is_some_and(|token| !token.is_empty()) =>
            {
                Exchange::Granted(answer)
            }
            Some(_) => failed(format!("its answer, with status {}, has no access token", status.as_u16())),
            None => failed(format!("its answer, with status {}, is not a JSON object", status.as_u16())),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
            let code = answer.as_ref().and_then(|answer| known_error(answer.get("error")?.as_str()?));
            Exchange::Refused(match code {
                Some(code) => format!("status {}, {code}", status.as_u16()),
                None => format!("status {}", status.as_u16()),
            })
        }
        _ => failed(format!("status {}", status.as_u16())),
    }
}

/// The error codes of RFC 6749, section 5.2. Any other text is not repeated: it could quote the token.
fn known_error(code: &str) -> Option<&'static str> {
    const KNOWN: [&str; 6] = [
        "invalid_grant",
        "invalid_request",
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    KNOWN.into_iter().find(|known| *known == code)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(clock::now()).ok(),
    }
}
