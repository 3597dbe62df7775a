//! Providers that no request gets to.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{Answer, Client, Deployed, Ended, Reply, Upstream, backend, backends};

/// A gateway whose backend `a` is at `root`, and whose `b` works; a route goes on to it without a doubt alone.
fn gateway(root: &str, b: &Upstream) -> Deployed {
    Deployed::start(&format!(
        "models:\n  - {{ name: m, providers: [{{ provider: a }}, {{ provider: b }}], fallback_on_ambiguous: false }}\n  \
         - {{ name: alone, providers: [{{ provider: a }}] }}\n{}",
        backends([backend("a", root, "timeouts: { connect: 2s }"), backend("b", &b.url(""), "")])
    ))
}

/// Nothing was sent, so another may be asked; and alone it is a 502 that says why.
async fn is_passed_by(root: &str, why: &str) {
    let b = Upstream::always(Reply::chat("from b"));
    let gateway = gateway(root, &b);
    let answer = gateway.chat("m").await;
    assert_eq!((answer.status, answer.header("x-pointsman-provider")), (200, Some("b")), "{root}: {}", answer.text());
    let answer = gateway.chat("alone").await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (502, Some("upstream_unreachable")), "{root}");
    assert!(answer.text().contains(why), "{root}: {}", answer.text());
    assert_eq!(gateway.errors("a"), 2);
}

#[tokio::test]
async fn a_name_that_nobody_knows_goes_on() {
    is_passed_by("http://no-such-host.invalid", "could not connect").await;
    is_passed_by("https://no-such-host.invalid", "could not connect").await;
}

#[tokio::test]
async fn a_failed_handshake_goes_on() {
    // Speaks no TLS at all.
    let plain = Upstream::script([]);
    is_passed_by(&format!("https://{}", plain.addr()), "could not connect").await;
    // Closes in the middle of it.
    let addr = tls_server(|_| std::io::Result::Err(std::io::ErrorKind::Other.into())).await;
    is_passed_by(&format!("https://{addr}"), "could not connect").await;
    // Has a certificate that nobody vouches for.
    let own =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![own.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into()),
        )
        .expect("they belong together");
    let config = std::sync::Arc::new(config);
    let addr = tls_server(move |_| Ok(config.clone())).await;
    is_passed_by(&format!("https://{addr}"), "could not connect: invalid peer certificate").await;
    assert!(plain.requests().is_empty());
}

type Config = std::sync::Arc<rustls::ServerConfig>;

/// Accepts connections, and begins a handshake on each, or closes it.
async fn tls_server(config: impl Fn(usize) -> std::io::Result<Config> + Send + 'static) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            if let Ok(config) = config(number) {
                tokio::spawn(tokio_rustls::TlsAcceptor::from(config).accept(stream));
            }
        }
    });
    addr
}

#[tokio::test]
async fn a_key_is_never_sent_where_the_handshake_failed() {
    let plain = Upstream::script([]);
    let b = Upstream::always(Reply::chat("from b"));
    let gateway = gateway(&format!("https://{}", plain.addr()), &b);
    let mut client: Client = gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    let answer: Answer = client.answer().await;
    assert_eq!((answer.status, answer.end), (200, Ended::Clean));
    plain.all_closed().await;
    assert!(plain.requests().is_empty());
}
