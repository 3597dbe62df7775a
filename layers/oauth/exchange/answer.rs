//! The request of an exchange, and what its answer means.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;

use super::options::ExchangeOptions;
use crate::{
    body::ReplayBody,
    ext::Endpoint,
    oauth::{
        Credential,
        file::{expires, normalize},
        headers::fill,
        server::{self, Post},
    },
};

/// What came of an exchange. The texts hold nothing of what was sent or received.
pub(super) enum Exchanged {
    Granted {
        credential: Credential,
        /// `None` if the token is not known to expire.
        expires: Option<SystemTime>,
    },
    /// The long-lived token is no good.
    Refused(String),
    /// It is good, and not for this; or the answer is of no use.
    Denied(String),
    /// None of them; it may go better later.
    Failed { reason: String, retry_after: Option<Duration> },
}

pub(super) async fn exchange(client: &dyn Post, options: &ExchangeOptions, token: &str, now: SystemTime) -> Exchanged {
    let Some(request) = request(options, token) else {
        return Exchanged::Refused("cannot be asked: the token holds characters that no header can carry".into());
    };
    match server::exchange(client, request, options.timeout).await {
        Ok(response) => judge(&response, options, now),
        Err(reason) => Exchanged::Failed { reason, retry_after: None },
    }
}

fn request(options: &ExchangeOptions, token: &str) -> Option<Request<ReplayBody>> {
    let mut request = Request::new(ReplayBody::default());
    *request.uri_mut() = options.url.clone();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, server::USER_AGENT);
    for (name, value) in &options.headers {
        headers.insert(name, value.clone());
    }
    let (name, template) = &options.token_header;
    headers.insert(name, fill(template, token)?);
    Some(request)
}

fn judge(response: &Response<Bytes>, options: &ExchangeOptions, now: SystemTime) -> Exchanged {
    let status = response.status();
    let retry_after = server::retry_after(response.headers());
    match status {
        status if status.is_success() => match server::object(response) {
            Some(answer) => read(&Value::Object(answer), options, now)
                .unwrap_or_else(|fault| Exchanged::Denied(format!("gave an answer that {fault}"))),
            None => Exchanged::Failed {
                reason: format!("its answer, with status {}, is not a JSON object", status.as_u16()),
                retry_after,
            },
        },
        StatusCode::UNAUTHORIZED => Exchanged::Refused("refuses the login's token (status 401)".into()),
        // With a time to come back, it is a limit and no verdict.
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if retry_after.is_none() => Exchanged::Denied(format!(
            "gives no token (status {}): the account of this login may not have access",
            status.as_u16()
        )),
        _ => Exchanged::Failed { reason: format!("status {}", status.as_u16()), retry_after },
    }
}

fn read(answer: &Value, options: &ExchangeOptions, now: SystemTime) -> Result<Exchanged, String> {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = text(&options.access).ok_or_else(|| format!("has no text at {}", options.access))?;
    let credential = match options.endpoint.as_deref().and_then(|pointer| Some((pointer, text(pointer)?))) {
        Some((pointer, endpoint)) => {
            let url = normalize(endpoint).ok_or_else(|| format!("has no https URL at {pointer}"))?;
            if !options.allows_host(url.host().unwrap_or_default()) {
                return Err(format!("names a host at {pointer} that is not among those allowed"));
            }
            Credential::with_endpoint(token, Endpoint(url))
        }
        None => Credential::new(token),
    };
    // By a clock that differs from the server's by more than its lifetime, a new token has long expired.
    let expires = expires(answer, token, &options.expiry).filter(|expires| *expires > now);
    Ok(Exchanged::Granted { credential, expires })
}
