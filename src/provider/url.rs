//! Where a client's path leads at a provider.

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// A provider's base URL, split so that joining a path to it is cheap.
#[derive(Clone, Debug)]
pub(super) struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// The path without a `/` at its end: `/openai/v1`, or nothing.
    path: String,
}

impl BaseUrl {
    /// `None` if the URL has no scheme or no host.
    pub(super) fn new(base: &Uri) -> Option<Self> {
        Some(Self {
            scheme: base.scheme()?.clone(),
            authority: base.authority()?.clone(),
            path: base.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The URL of a target on this host.
    pub(super) fn url(&self, target: PathAndQuery) -> Result<Uri, http::Error> {
        Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(target).build()
    }

    /// Whether it has the host of another one, and is reached in the same way.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.authority == other.authority
    }

    /// The target for a client's path below the API's root: `/v1/chat/completions` on `https://host/openai/v1` is
    /// `/openai/v1/chat/completions`.
    pub(super) fn join(&self, client: &Uri) -> Result<PathAndQuery, http::Error> {
        let path = client.path();
        let below = match path.strip_prefix("/v1") {
            Some(below) if below.is_empty() || below.starts_with('/') => below,
            _ => path,
        };
        if self.path == "/v1" && below.len() < path.len() {
            // The same path: nothing to build.
            return Ok(client.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/v1")));
        }
        let query = client.query().map(|query| ["?", query]).unwrap_or_default();
        Ok(PathAndQuery::from_maybe_shared(bytes::Bytes::from([&self.path, below, query[0], query[1]].concat()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_below_the_base() {
        for (base, path, joined) in [
            ("https://a/v1", "/v1/chat/completions", "https://a/v1/chat/completions"),
            ("https://a/v1/", "/v1/chat/completions?x=1&y=%20", "https://a/v1/chat/completions?x=1&y=%20"),
            ("https://a/openai/v1", "/v1/embeddings", "https://a/openai/v1/embeddings"),
            ("https://a/v1/openai", "/v1/embeddings?q", "https://a/v1/openai/embeddings?q"),
            ("http://127.0.0.1:11434", "/v1/rerank", "http://127.0.0.1:11434/rerank"),
            ("https://a/v1", "/v1beta/x", "https://a/v1/v1beta/x"),
            ("https://a/v1", "/v1", "https://a/v1"),
        ] {
            let base = BaseUrl::new(&base.parse().unwrap()).unwrap();
            let target = base.join(&path.parse().unwrap()).unwrap();
            assert_eq!(base.url(target).unwrap().to_string(), joined);
        }
        assert!(BaseUrl::new(&"/v1".parse().unwrap()).is_none());
    }
}
