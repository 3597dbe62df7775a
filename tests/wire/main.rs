//! What the server makes of whatever comes over the wire, byte for byte.

#[path = "../support/mod.rs"]
mod support;

mod framing;
mod heads;
mod http2;
mod keys;
mod limits;
mod stop;
mod tls;
mod unread;

use pointsman::server::{Limits, Tls};
use support::{Site, Upstream, backend, backends};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"model":"m"}"#;

/// The route `m` to this provider.
async fn serve(upstream: &Upstream, limits: Limits) -> Site {
    serve_with(upstream, "", limits, None).await
}

/// The same with further keys of `server`, and TLS.
async fn serve_with(upstream: &Upstream, options: &str, limits: Limits, tls: Option<Tls>) -> Site {
    let yaml = format!(
        "server: {{ {options} }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    );
    Site::serve(&yaml, limits, tls).await
}

/// A good request with these fields behind its `host`.
fn request(fields: &str) -> String {
    format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{fields}content-length: {}\r\n\r\n{GOOD}", GOOD.len())
}
