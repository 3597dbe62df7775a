//! The exchange of a refresh token for an access token.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value};

use super::options::{GrantEncoding, RefreshGrant};
use crate::{
    body::ReplayBody,
    oauth::server::{self, Post},
};

/// What came of an exchange. The texts hold nothing of what was sent or received.
pub(super) enum Exchange {
    /// The answer, which has an access token.
    Granted(Map<String, Value>),
    /// The refresh token is no good.
    Refused(String),
    /// Neither; it may go better later.
    Failed { reason: String, retry_after: Option<Duration> },
}

/// Asks once; whether the refresh token was used up is not known if that fails, so nothing is repeated here.
pub(super) async fn exchange(client: &dyn Post, grant: &RefreshGrant, refresh: &str) -> Exchange {
    match server::exchange(client, request(grant, refresh), grant.timeout).await {
        Ok(response) => judge(&response),
        Err(reason) => Exchange::Failed { reason, retry_after: None },
    }
}

fn request(grant: &RefreshGrant, refresh: &str) -> Request<ReplayBody> {
    let given = grant.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let fields = given.chain([("refresh_token", refresh)]);
    match grant.encoding {
        GrantEncoding::Form => server::form(&grant.url, fields),
        GrantEncoding::Json => server::json(&grant.url, fields),
    }
}

fn judge(response: &Response<Bytes>) -> Exchange {
    let status = response.status();
    let failed = |reason| Exchange::Failed { reason, retry_after: server::retry_after(response.headers()) };
    match status {
        status if status.is_success() => match server::object(response) {
            Some(answer) if server::text(&answer, "access_token").is_some() => Exchange::Granted(answer),
            Some(_) => failed(format!("its answer, with status {}, has no access token", status.as_u16())),
            None => failed(format!("its answer, with status {}, is not a JSON object", status.as_u16())),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => Exchange::Refused(server::refusal(response)),
        _ => failed(format!("status {}", status.as_u16())),
    }
}
