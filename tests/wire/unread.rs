//! Answers to clients that are still sending what nobody reads.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use pointsman::server::Limits;

use crate::{
    CHAT, serve_with,
    support::{Ended, Reply, Upstream, get, guard},
};

/// Sends a head and then the whole body before it reads anything, as simple clients do. Returns what it read up to the
/// end of the connection.
fn send_all_then_read(addr: SocketAddr, head: &str, body: usize) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(head.as_bytes())?;
    let piece = vec![b'x'; 256 * 1024];
    for _ in 0..body / piece.len() {
        stream.write_all(&piece)?;
    }
    let mut read = String::new();
    stream.read_to_string(&mut read)?;
    Ok(read)
}

#[tokio::test]
async fn reach_a_client_that_sends_it_all_before_it_reads() {
    const BODY: usize = 64 << 20;
    let upstream = Upstream::script([]);
    let site = serve_with(&upstream, "api_keys: [k]", Limits::default(), None).await;
    let addr = site.addr;
    let key = "x-api-key: k\r\n";
    let with_length = format!("content-length: {BODY}\r\n");
    let chunks = "transfer-encoding: chunked\r\n".to_owned();
    for (start, fields, status, code) in [
        (format!("POST {CHAT}"), format!("{key}{with_length}"), 413, "request_too_large"),
        (format!("POST {CHAT}"), with_length.clone(), 401, "invalid_api_key"),
        ("POST /nothing".to_owned(), format!("{key}{with_length}"), 404, "unknown_path"),
        (format!("PUT {CHAT}"), format!("{key}{with_length}"), 405, "method_not_allowed"),
        (format!("POST {CHAT}"), format!("{key}{with_length}{chunks}"), 400, "ambiguous_length"),
        // The body is no chunk.
        (format!("POST {CHAT}"), format!("{key}{chunks}"), 400, "request_body_broken"),
        (format!("TRACE {CHAT}"), format!("{key}{with_length}"), 405, "method_not_allowed"),
        (format!("POST {CHAT}"), format!("no colon\r\n{with_length}"), 400, "invalid_http"),
        (format!("POST {CHAT}"), format!("x: {}\r\n{with_length}", "x".repeat(70_000)), 431, "headers_too_large"),
    ] {
        let head = format!("{start} HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        let sent = tokio::task::spawn_blocking({
            let head = head.clone();
            move || send_all_then_read(addr, &head, BODY)
        });
        let read = guard("the client", sent).await.expect("no panic").unwrap_or_else(|error| panic!("{error}: {head}"));
        let (answer, body) = read.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?} for {head}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer} for {head}");
        assert!(body.contains(code) && body.ends_with('}'), "{body} for {head}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn have_an_end() {
    let upstream = Upstream::script([]);
    let site = serve_with(&upstream, "body_limit: 1KiB", Limits::default(), None).await;
    let mut client = site.client().await;
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", u32::MAX)).await;
    assert_eq!(client.answer().await.status, 413);
    assert_eq!(client.closed().await, Ended::Clean);
    // It goes on sending. Some of that is dropped, and then the connection is cut.
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while client.try_send(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < 1 << 30, "it goes on reading");
    }
    assert!(sent > 32 << 20, "{sent}");
}

#[tokio::test]
async fn hold_their_place_among_the_connections_while_they_last() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve_with(&upstream, "body_limit: 1KiB", Limits { connections: 1, ..Limits::default() }, None).await;
    let mut client = site.client().await;
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 413);
    assert_eq!(client.closed().await, Ended::Clean, "it hears the end at once");
    assert_eq!(get(site.addr, "/health", &[]).await.status, 503, "its place is not free yet");
    client.send(vec![b'x'; 5000]).await;
    drop(client);
    guard("a free place", async { while get(site.addr, "/health", &[]).await.status != 200 {} }).await;
}

#[tokio::test]
async fn are_waited_for_when_the_server_stops() {
    let upstream = Upstream::script([]);
    let site = serve_with(&upstream, "body_limit: 1KiB", Limits::default(), None).await;
    let mut client = site.client().await;
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\n")).await;
    let stopped = tokio::spawn(site.stopped());
    client.send(vec![b'x'; 2000]).await;
    assert_eq!(client.answer().await.status, 413);
    client.send(vec![b'x'; 3000]).await;
    drop(client);
    assert_eq!(guard("the end", stopped).await.expect("no panic"), 0, "it was not cut");
}
