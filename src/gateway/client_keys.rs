use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use pointsman_layers::body::ErrorAnswer;
use subtle::ConstantTimeEq as _;
use tower_http::validate_request::ValidateRequest;

use super::CoreBody;
use crate::config::Secret;

pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(super) const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The code of the answer to a bad key.
pub(super) const INVALID_KEY: &str = "invalid_api_key";

/// Lets in who has one of the gateway's keys; everyone, if it has none.
#[derive(Clone, Debug)]
pub(super) struct ClientKeys(Arc<[Secret]>);

impl ClientKeys {
    pub(super) fn new(keys: &[Secret]) -> Self {
        Self(keys.into())
    }

    fn knows(&self, given: &[u8]) -> bool {
        // Every key is compared, and in full, so that the time tells nothing.
        self.0.iter().fold(false, |known, key| known | bool::from(key.expose().as_bytes().ct_eq(given)))
    }
}

/// The keys that came with a request, in any of the forms that clients use.
fn given(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(header::AUTHORIZATION).into_iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_first_chunk::<7>()?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    });
    let plain = [X_API_KEY, API_KEY]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .map(|value| value.as_bytes().trim_ascii());
    bearer.chain(plain)
}

impl<B> ValidateRequest<B> for ClientKeys {
    type ResponseBody = CoreBody;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<CoreBody>> {
        if self.0.is_empty() || given(request.headers()).any(|key| self.knows(key)) {
            return Ok(());
        }
        let message = match given(request.headers()).next() {
            Some(_) => "Incorrect API key provided.",
            None => "Incorrect API key provided: none came. Send `Authorization: Bearer <key>` or `x-api-key: <key>`.",
        };
        Err(ErrorAnswer::new(StatusCode::UNAUTHORIZED, INVALID_KEY, message)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            .into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(keys: &[&str], headers: &[(&'static str, &'static str)]) -> bool {
        let keys: Vec<_> = keys.iter().map(|key| Secret::new(*key)).collect();
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        ClientKeys::new(&keys).validate(&mut request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn a_key_opens_in_every_form() {
        for header in [
            ("authorization", "Bearer two"),
            ("authorization", "bearer two"),
            ("authorization", "BEARER  two"),
            ("x-api-key", "two"),
            ("api-key", "two"),
        ] {
            assert!(is_let_in(&["one", "two"], &[header]), "{header:?}");
        }
        assert!(is_let_in(&["one"], &[("authorization", "Bearer sdk-default"), ("x-api-key", "one")]));
    }

    #[test]
    fn anything_else_stays_out() {
        for header in [
            ("authorization", "two"),
            ("authorization", "Basic two"),
            ("authorization", "Bearer "),
            ("authorization", "Bearer"),
            ("authorization", "Bearer tw"),
            ("authorization", "Bearer twoo"),
            ("cookie", "two"),
        ] {
            assert!(!is_let_in(&["one", "two"], &[header]), "{header:?}");
        }
        assert!(!is_let_in(&["one"], &[]));
        assert!(is_let_in(&[], &[]));
    }
}
