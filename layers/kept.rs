//! What it takes to send a request once more.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// A request that may have to be sent again, kept beside the one that is sent.
///
/// It is looked at only if something fails. A clone of the fields would cost several times as much: an allocation for each
/// name that is not a standard one, and as much work again to drop it.
pub(crate) struct KeptRequest<B> {
    method: Method,
    uri: Uri,
    version: Version,
    /// One behind the other, nearly as on the wire: a mark, the name, a colon, the value, and a line feed, which no value
    /// can have in it.
    fields: Vec<u8>,
    extensions: Extensions,
    body: B,
}

/// Marks a field that nothing may print.
const SENSITIVE: u8 = b'!';

impl<B: Clone> KeptRequest<B> {
    pub(crate) fn of(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: write(request.headers()),
            extensions: request.extensions().clone(),
            body: request.body().clone(),
        }
    }

    pub(crate) fn restore(&self) -> Request<B> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers();
        *request.extensions_mut() = self.extensions.clone();
        request
    }
}

impl<B> KeptRequest<B> {
    pub(crate) fn headers(&self) -> HeaderMap {
        const WRITTEN: &str = "it was written from a field";
        let (mut headers, mut start) = (HeaderMap::new(), 0);
        for end in memchr::memchr_iter(b'\n', &self.fields) {
            let field = &self.fields[start..end];
            let colon = memchr::memchr(b':', field).expect(WRITTEN);
            // What `from_bytes` takes, and the quotation marks that HTTP/2's parser lets pass.
            let name = HeaderName::from_lowercase(&field[1..colon]).expect(WRITTEN);
            let mut value = HeaderValue::from_bytes(&field[colon + 1..]).expect(WRITTEN);
            value.set_sensitive(field[0] == SENSITIVE);
            headers.append(name, value);
            start = end + 1;
        }
        headers
    }

    #[cfg(any(feature = "oauth", feature = "rate-limit-retry"))]
    pub(crate) fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

fn write(headers: &HeaderMap) -> Vec<u8> {
    // Room for most requests.
    let mut fields = Vec::with_capacity(1024);
    for (name, value) in headers {
        let (name, text) = (name.as_str().as_bytes(), value.as_bytes());
        fields.reserve(name.len() + text.len() + 3);
        fields.push(if value.is_sensitive() { SENSITIVE } else { b' ' });
        fields.extend_from_slice(name);
        fields.push(b':');
        fields.extend_from_slice(text);
        fields.push(b'\n');
    }
    fields
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_request_is_restored_as_it_was(
            fields in prop::collection::vec(("[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,12}", "[\t -~\u{80}-\u{ff}]{0,12}", any::<bool>()), 0..12),
        ) {
            let mut request = Request::put("https://user@host/path?query").version(Version::HTTP_2).body("body").unwrap();
            for (name, value, is_sensitive) in fields {
                let mut value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                value.set_sensitive(is_sensitive);
                request.headers_mut().append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
            request.extensions_mut().insert("extension");
            let kept = KeptRequest::of(&request);
            for restored in [kept.restore(), kept.restore()] {
                // Compared as text too, which says what is sensitive.
                prop_assert_eq!(format!("{restored:?}"), format!("{request:?}"));
                prop_assert_eq!(restored.headers(), request.headers());
                prop_assert_eq!(restored.extensions().get::<&str>(), Some(&"extension"));
            }
        }
    }

    #[test]
    fn names_of_http_2_alone_are_restored() {
        for name in ["a\"b", &format!("{}\"", "x".repeat(100))] {
            let mut request = Request::new(());
            let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_static("c"));
            assert_eq!(KeptRequest::of(&request).restore().headers(), request.headers());
        }
    }
}
