//! TLS on the listener itself.

use std::{path::Path, sync::Arc, time::Duration};

use pointsman::server::{Limits, Tls};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    GOOD, request, serve_with,
    support::{Binary, Ended, Reply, Signal, Upstream, guard},
};

/// A certificate for `localhost`, and its key.
fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

fn write(folder: &Path, CertifiedKey { cert, signing_key }: &CertifiedKey<KeyPair>) {
    std::fs::write(folder.join("cert.pem"), cert.pem()).expect("written");
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("written");
}

fn tls(folder: &Path) -> Tls {
    Tls::from_files(folder.join("cert.pem"), folder.join("key.pem")).unwrap_or_else(|error| panic!("{error}"))
}

/// Connects, trusting nothing but this certificate, and offering these protocols.
async fn connect(
    addr: std::net::SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

async fn answer(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut read = Vec::new();
    // A client that closes in good order is not needed to see an answer.
    let _ = guard("an answer", stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn is_spoken_with_http_1_and_2() {
    let folder = TempDir::new().expect("a folder");
    let certificate = certificate();
    write(folder.path(), &certificate);
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve_with(&upstream, "", Limits::default(), Some(tls(folder.path()))).await;
    for protocols in [&[][..], &["http/1.1"]] {
        let mut stream = connect(site.addr, certificate.cert.der(), protocols).await.expect("a handshake");
        let text = answer(&mut stream, &request("connection: close\r\n")).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("hello"), "{text}");
    }
    let stream = connect(site.addr, certificate.cert.der(), &["h2", "http/1.1"]).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let asked =
        http::Request::post(format!("https://localhost{}", crate::CHAT)).body(GOOD.to_owned()).expect("a request");
    assert_eq!(sender.send_request(asked).await.expect("an answer").status(), 200);
    assert_eq!(upstream.requests().len(), 3);
    // The strict checks stand here too.
    let mut stream = connect(site.addr, certificate.cert.der(), &[]).await.expect("a handshake");
    let text = answer(&mut stream, "GET /health HTTP/1.1\nhost: h\r\n\r\n").await;
    assert!(text.contains("invalid_line_end"), "{text}");
}

#[tokio::test]
async fn is_not_spoken_by_everyone() {
    let folder = TempDir::new().expect("a folder");
    write(folder.path(), &certificate());
    let upstream = Upstream::script([]);
    let limits = Limits { header_timeout: Duration::from_millis(200), ..Limits::default() };
    let site = serve_with(&upstream, "", limits, Some(tls(folder.path()))).await;
    // Plain HTTP gets an alert, and no answer in plain HTTP.
    let mut client = site.client().await;
    client.send(request("")).await;
    let (bytes, _) = client.everything().await;
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    // Silence is closed.
    assert_eq!(site.client().await.closed().await, Ended::Clean);
    // A client that trusts another certificate leaves, and the next is served.
    assert!(connect(site.addr, certificate().cert.der(), &[]).await.is_err());
}

#[tokio::test]
async fn has_a_new_certificate_as_soon_as_the_files_have_and_no_bad_one() {
    let folder = TempDir::new().expect("a folder");
    let (old, new) = (certificate(), certificate());
    write(folder.path(), &old);
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve_with(&upstream, "", Limits::default(), Some(tls(folder.path()))).await;
    let mut kept = connect(site.addr, old.cert.der(), &[]).await.expect("a handshake");
    // Half of a change: the certificate is another one, and the key still the old one.
    std::fs::write(folder.path().join("cert.pem"), new.cert.pem()).expect("written");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connect(site.addr, old.cert.der(), &[]).await.expect("the old one is kept");
    write(folder.path(), &new);
    guard("the new certificate", async {
        while connect(site.addr, new.cert.der(), &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(connect(site.addr, old.cert.der(), &[]).await.is_err(), "the old one is gone");
    std::fs::write(folder.path().join("key.pem"), "no key").expect("written");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connect(site.addr, new.cert.der(), &[]).await.expect("the last good one is kept");
    // Connections do not notice.
    let text = answer(&mut kept, &request("connection: close\r\n")).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
}

#[tokio::test]
async fn is_configured_under_server() {
    let (certificate, another) = (certificate(), certificate());
    let config = |tls: &str| {
        format!("server:\n  port: 0\n  tls: {tls}\nmodels: [{{ name: m, providers: [{{ provider: ollama }}] }}]\n")
    };
    let binary = |tls: &str| {
        Binary::new(["serve"])
            .file("config.yaml", config(tls))
            .file("tls/cert.pem", certificate.cert.pem())
            .file("tls/key.pem", certificate.signing_key.serialize_pem())
            .file("tls/another.pem", another.signing_key.serialize_pem())
            .file("tls/text.pem", "no PEM at all")
    };
    let binary_with_both = binary("{ cert: tls/cert.pem, key: tls/key.pem }");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(binary_with_both.home().join("tls/key.pem"), everybody).expect("rights");
    let running = binary_with_both.start();
    running.line("every user of this machine can read this private key").await;
    let line = running.line("listening on https://").await;
    let addr = line.rsplit("https://").next().expect("an address").trim().parse().expect("an address");
    let mut stream = connect(addr, certificate.cert.der(), &[]).await.expect("a handshake");
    let text = answer(&mut stream, "GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    running.signal(Signal::Term).await;
    assert_eq!(running.finished().await.status.code(), Some(0));

    for (tls, says) in [
        ("{ cert: tls/cert.pem }", vec!["config.yaml:3:8", "missing key `key`"]),
        ("{ cert: tls/cert.pem, key: tls/gone.pem }", vec!["config.yaml:3:35", "tls/gone.pem cannot be read"]),
        ("{ cert: tls/cert.pem, key: tls/key.pem, ca: x }", vec!["config.yaml:3:", "unknown key `ca`"]),
        ("{ cert: tls/text.pem, key: tls/key.pem }", vec!["`server.tls`", "tls/text.pem", "no certificate"]),
        ("{ cert: tls/cert.pem, key: tls/text.pem }", vec!["`server.tls`", "tls/text.pem", "no private key"]),
        ("{ cert: tls/cert.pem, key: tls/another.pem }", vec!["`server.tls`", "tls/another.pem", "does not go with"]),
    ] {
        let finished = binary(tls).run().await;
        assert_eq!(finished.status.code(), Some(1), "{tls}: {}", finished.stderr);
        for words in says {
            assert!(finished.stderr.contains(words), "{words} in {}", finished.stderr);
        }
        assert!(!finished.stderr.contains("PRIVATE KEY"));
    }
}
