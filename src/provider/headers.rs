//! Which headers travel on, in both directions.

use http::{
    HeaderMap, HeaderName,
    header::{self, HeaderValue},
};
use memchr::memmem::Finder;
use smallvec::SmallVec;

/// Who a header is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This hop alone: RFC 9110, section 7.6.1, and the older `Keep-Alive` and `Proxy-Connection`.
    Hop,
    /// This hop alone as well, or it says who the client is.
    Private,
    /// The forms in which a client's own key for the gateway may come.
    Credential,
    Any,
}

fn kind_of(name: &HeaderName) -> Kind {
    let name = name.as_str();
    // The length first: it tells most of the others.
    match (name.len(), name) {
        (2, "te")
        | (7, "trailer" | "upgrade")
        | (10, "connection" | "keep-alive")
        | (16, "proxy-connection")
        | (17, "transfer-encoding")
        | (18, "proxy-authenticate")
        | (19, "proxy-authorization") => Kind::Hop,
        (4, "host")
        | (6, "cookie" | "expect")
        | (9, "forwarded" | "x-real-ip")
        | (14, "content-length")
        | (15, "x-forwarded-for")
        | (16, "x-forwarded-host" | "x-forwarded-port")
        | (17, "x-forwarded-proto") => Kind::Private,
        (7, "api-key") | (9, "x-api-key") | (13, "authorization") | (14, "x-goog-api-key") => Kind::Credential,
        _ => Kind::Any,
    }
}

/// What only a connection can say of itself, so that nobody may set it for all requests: to set `Transfer-Encoding` would
/// let two readers see two ends of a body.
pub(crate) fn concerns_the_connection(name: &HeaderName) -> bool {
    kind_of(name) == Kind::Hop || [header::CONTENT_LENGTH, header::EXPECT].contains(name)
}

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

/// The headers of a client's request that a provider is to have.
pub(super) fn travelling<'a>(
    headers: &'a HeaderMap,
    credential: &'a Credential,
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let named = named_in_connection(headers);
    headers.iter().filter(move |(name, _)| {
        match (credential, kind_of(name)) {
            // A client that names them in `Connection` does not own them.
            (Credential::FromAbove(names), _) if names.contains(name) => true,
            (_, Kind::Hop | Kind::Private) => false,
            (Credential::Clients | Credential::FromAbove(_), Kind::Credential) => false,
            (_, Kind::Credential | Kind::Any) => !named.contains(name),
        }
    })
}

/// Removes from a provider's answer what must not reach a client; `secret` finds the provider's own key.
pub(super) fn clean_response(headers: &mut HeaderMap, secret: Option<&Finder<'_>>) {
    let mut gone = named_in_connection(headers);
    let echoes = |value: &HeaderValue| secret.is_some_and(|secret| secret.find(value.as_bytes()).is_some());
    let mut is_echoed = false;
    for (name, value) in &*headers {
        if matches!(kind_of(name), Kind::Hop | Kind::Credential) || *name == header::SET_COOKIE {
            gone.push(name.clone());
        } else {
            is_echoed |= echoes(value);
        }
    }
    for name in gone {
        headers.remove(name);
    }
    if is_echoed {
        let kept = headers.iter().filter(|(_, value)| !echoes(value));
        *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
}

/// What `Connection` says is for this hop alone, save the one word that most of them have.
fn named_in_connection(headers: &HeaderMap) -> SmallVec<[HeaderName; 4]> {
    // What is no name hides none beside it.
    let values = headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    let is_usual = |name: &[u8]| name.eq_ignore_ascii_case(b"keep-alive");
    let values = values.filter(|value| !is_usual(value));
    let names = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let named = names.filter(|name| !is_usual(name));
    named.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn travellers(headers: &HeaderMap, credential: &Credential) -> Vec<String> {
        let mut names: Vec<_> = travelling(headers, credential).map(|(name, _)| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_header_is_told_by_its_name() {
        for (kind, names) in [
            (
                Kind::Hop,
                "te trailer upgrade connection keep-alive proxy-connection transfer-encoding proxy-authenticate \
                 proxy-authorization",
            ),
            (
                Kind::Private,
                "host cookie expect forwarded x-real-ip content-length x-forwarded-for x-forwarded-host \
                 x-forwarded-port x-forwarded-proto",
            ),
            (Kind::Credential, "api-key x-api-key authorization x-goog-api-key"),
            (Kind::Any, "accept content-type set-cookie x-request-id"),
        ] {
            for name in names.split(' ') {
                assert_eq!(kind_of(&HeaderName::from_static(name)), kind, "{name}");
            }
        }
    }

    #[test]
    fn a_request_keeps_what_is_the_provider_s_business() {
        let headers = map(&[
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
        assert_eq!(
            travellers(&headers, &Credential::Clients),
            ["accept-encoding", "openai-beta", "traceparent", "x-stainless-lang"]
        );
    }

    #[test]
    fn a_name_that_is_none_hides_no_other() {
        let mut headers = map(&[("x-private", "1")]);
        headers.insert("connection", HeaderValue::from_bytes(b"\xff, x-private").unwrap());
        assert!(travellers(&headers, &Credential::Clients).is_empty());
    }

    #[test]
    fn a_client_s_key_travels_only_where_the_backend_says_so() {
        let headers = map(&[("authorization", "Bearer client"), ("x-api-key", "client")]);
        assert_eq!(travellers(&headers, &Credential::Forwarded), ["authorization", "x-api-key"]);
        assert!(travellers(&headers, &Credential::Clients).is_empty());
    }

    #[test]
    fn a_credential_from_above_stays_and_the_client_s_goes() {
        let headers = map(&[
            ("authorization", "Bearer backend"),
            ("x-api-key", "client"),
            ("cookie", "a=b"),
            ("connection", "authorization"),
        ]);
        let credential = Credential::FromAbove(vec![header::AUTHORIZATION]);
        assert_eq!(travellers(&headers, &credential), ["authorization"]);
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
