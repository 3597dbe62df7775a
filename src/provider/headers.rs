//! Which headers travel on, in both directions.

use http::{
    HeaderMap, HeaderName,
    header::{self, HeaderValue},
};
use memchr::memmem::Finder;

/// Hop-by-hop headers: RFC 9110, section 7.6.1, and the older `Keep-Alive` and `Proxy-Connection`.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The forms in which a client's own key for the gateway may come.
const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What concerns this hop alone, or says who the client is.
const PRIVATE: [HeaderName; 10] = [
    header::HOST,
    header::COOKIE,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// Whose credential a request carries when it reaches the provider service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// The client's own, which stays here.
    Clients,
    /// The client's own, which the backend is to have.
    Forwarded,
    /// The backend's, put into these headers by a layer above; anything else is the client's.
    FromAbove(Vec<HeaderName>),
}

/// Removes from a client's request what must not reach a provider.
pub(super) fn clean_request(headers: &mut HeaderMap, credential: &Credential) {
    let is_from_above = |name: &HeaderName| matches!(credential, Credential::FromAbove(names) if names.contains(name));
    // A client that names them in `Connection` does not own them.
    remove_hop_by_hop(headers, is_from_above);
    for name in PRIVATE.iter().filter(|name| !is_from_above(name)) {
        headers.remove(name);
    }
    if *credential == Credential::Forwarded {
        return;
    }
    for name in CREDENTIALS.iter().filter(|name| !is_from_above(name)) {
        headers.remove(name);
    }
}

/// Removes from a provider's answer what must not reach a client; `secret` finds the provider's own key.
pub(super) fn clean_response(headers: &mut HeaderMap, secret: Option<&Finder<'_>>) {
    remove_hop_by_hop(headers, |_| false);
    headers.remove(header::SET_COOKIE);
    for name in CREDENTIALS {
        headers.remove(name);
    }
    if let Some(secret) = secret {
        let echoes = |value: &HeaderValue| secret.find(value.as_bytes()).is_some();
        if headers.values().any(echoes) {
            let kept = headers.iter().filter(|(_, value)| !echoes(value));
            *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) {
    // Those that `Connection` names go first, while it is still there.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !is_kept(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_request_keeps_what_is_the_provider_s_business() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("authorization", "Bearer client"),
            ("x-api-key", "client"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("openai-beta", "assistants=v2"),
            ("x-stainless-lang", "python"),
            ("traceparent", "00-1-2-01"),
            ("accept-encoding", "gzip"),
        ]);
        clean_request(&mut headers, &Credential::Clients);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept-encoding", "openai-beta", "traceparent", "x-stainless-lang"]);
    }

    #[test]
    fn a_client_s_key_travels_only_where_the_backend_says_so() {
        let mut headers = map(&[("authorization", "Bearer client"), ("x-api-key", "client")]);
        clean_request(&mut headers, &Credential::Forwarded);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn a_credential_from_above_stays_and_the_client_s_goes() {
        let mut headers = map(&[
            ("authorization", "Bearer backend"),
            ("x-api-key", "client"),
            ("cookie", "a=b"),
            ("connection", "authorization"),
        ]);
        clean_request(&mut headers, &Credential::FromAbove(vec![header::AUTHORIZATION]));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["authorization"], "Bearer backend");
    }

    #[test]
    fn an_answer_loses_cookies_and_echoes_of_the_key() {
        let mut headers = map(&[
            ("set-cookie", "session=1"),
            ("authorization", "Bearer sk-secret"),
            ("x-debug", "got sk-secret from you"),
            ("x-request-id", "req_1"),
            ("retry-after", "7"),
            ("x-ratelimit-remaining-requests", "9"),
            ("transfer-encoding", "chunked"),
        ]);
        clean_response(&mut headers, Some(&Finder::new("sk-secret")));
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["retry-after", "x-ratelimit-remaining-requests", "x-request-id"]);
    }
}
