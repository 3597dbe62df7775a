mod connections;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use proptest::prelude::*;

use super::{
    Error,
    body::Framing,
    chunks::{Chunks, Piece},
    head::{self, Head, HeadReader},
};

fn head(text: &str, method: &Method) -> Result<Option<Head>, Error> {
    HeadReader::default().take(&mut text.replace('\n', "\r\n").as_bytes().into(), method)
}

/// How the body of an answer with these header lines ends: its length, `chunked` or `to close`; `None` for one that is
/// refused.
fn framing(status: &str, lines: &str, method: &Method) -> Option<String> {
    let head = head(&format!("HTTP/1.1 {status}\n{lines}\n"), method).ok()?.expect("a whole head");
    Some(match head.framing {
        Framing::Length(length) => length.to_string(),
        Framing::Chunked(_) => "chunked".to_owned(),
        Framing::ToClose => "to close".to_owned(),
    })
}

#[test]
fn a_body_ends_as_the_head_says() {
    for (status, lines, end) in [
        ("200 OK", "Content-Length: 5\n", Some("5")),
        ("200 OK", "content-length: 5\ncontent-length: 5, 5\n", Some("5")),
        ("200 OK", "content-length: 5\ncontent-length: 6\n", None),
        ("200 OK", "content-length: 5,6\n", None),
        ("200 OK", "content-length: +5\n", None),
        ("200 OK", "content-length: \n", None),
        ("200 OK", "content-length: 99999999999999999999\n", None),
        ("200 OK", "Transfer-Encoding: Chunked\n", Some("chunked")),
        // Nobody asked for another coding, and none is taken off.
        ("200 OK", "transfer-encoding: gzip, chunked\n", None),
        ("200 OK", "transfer-encoding: gzip\ntransfer-encoding: chunked\n", None),
        ("200 OK", "transfer-encoding: chunked\ntransfer-encoding: chunked\n", None),
        ("200 OK", "transfer-encoding: chunked, gzip\n", None),
        ("200 OK", "transfer-encoding: identity\ncontent-length: 5\n", None),
        ("200 OK", "transfer-encoding: \n", None),
        ("200 OK", "transfer-encoding: chunked;q=1\n", None),
        ("200 OK", "transfer-encoding: chunked\ncontent-length: 5\n", Some("chunked")),
        ("200 OK", "", Some("to close")),
        ("204 No Content", "content-length: 5\n", Some("0")),
        ("304 Not Modified", "transfer-encoding: chunked\n", Some("0")),
    ] {
        assert_eq!(framing(status, lines, &Method::POST).as_deref(), end, "{status} {lines}");
    }
    assert_eq!(framing("200 OK", "content-length: 5\n", &Method::HEAD).as_deref(), Some("0"));
}

#[test]
fn a_length_beside_chunks_is_not_passed_on() {
    let text = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ncontent-length: 5\n\n";
    let head = head(text, &Method::POST).ok().flatten().expect("a whole head");
    assert!(!head.response.headers().contains_key(header::CONTENT_LENGTH));
}

#[test]
fn a_length_is_passed_on_once() {
    for lines in ["content-length: 5, 5\n", "content-length: 5\ncontent-length: 5\n"] {
        let text = format!("HTTP/1.1 200 OK\n{lines}\n");
        let head = head(&text, &Method::POST).ok().flatten().expect("a whole head");
        assert_eq!(head.response.headers().get_all(header::CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"]);
    }
}

#[test]
fn a_connection_is_used_again_where_that_is_safe() {
    for (text, keeps_alive) in [
        ("HTTP/1.1 200 OK\ncontent-length: 0\n\n", true),
        ("HTTP/1.1 200 OK\ncontent-length: 0\nconnection: x, Close\n\n", false),
        // Who wrote both may mean another end than is read here.
        ("HTTP/1.1 200 OK\ntransfer-encoding: chunked\ncontent-length: 5\n\n", false),
        ("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n", true),
        ("HTTP/1.1 200 OK\n\n", false),
        ("HTTP/1.0 200 OK\ncontent-length: 0\n\n", false),
        ("HTTP/1.0 200 OK\ncontent-length: 0\nconnection: keep-alive\n\n", true),
        ("HTTP/1.0 200 OK\ncontent-length: 0\nconnection: keep-alive, close\n\n", false),
    ] {
        let head = head(text, &Method::POST).ok().flatten().expect("a whole head");
        assert_eq!(head.keeps_alive, keeps_alive, "{text}");
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH\n\n",
        "HTTP/1.1 200 OK\nno colon\n\n",
        "HTTP/1.1 99 Low\n\n",
        "HTTP/1.1 101 Switching Protocols\nupgrade: x\n\n",
        "HTTP/1.0 200 OK\ntransfer-encoding: chunked\n\n",
        "HTTP/1.1 200 OK\na: b\n folded: c\n\n",
        "HTTP/1.1 200 OK\na : b\n\n",
        "HTTP/1.1 200 OK\na: b\0c\n\n",
        "HTTP/1.1 200 OK\na: b\rc\n\n",
        "HTTP/1.1 20 OK\n\n",
        "HTTP/1.1 2000 OK\n\n",
        "HTTP/2.0 200 OK\n\n",
        "HTTP/0.9 200 OK\n\n",
        "\0HTTP/1.1 200 OK\n\n",
        &format!("HTTP/1.1 200 OK\n{}\n", "a: b\n".repeat(200)),
    ] {
        assert!(head(text, &Method::POST).is_err(), "{text}");
    }
    let endless = format!("HTTP/1.1 200 OK\na: {}", "b".repeat(300_000));
    assert!(head(&endless, &Method::POST).is_err());
    assert!(head("HTTP/1.1 200 OK\na: b\n", &Method::POST).is_ok_and(|head| head.is_none()));
}

#[test]
fn interim_answers_are_passed_over() {
    let mut read = BytesMut::from(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\na: b\r\na: c\r\n\r\nrest",
    );
    let head = HeadReader::default().take(&mut read, &Method::POST).ok().flatten().expect("a whole head");
    assert_eq!(head.response.status(), StatusCode::CREATED);
    assert_eq!(head.response.headers().get_all("a").iter().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(read, "rest");
}

#[test]
fn a_head_that_trickles_in_is_found_at_once() {
    for (head, end) in [("HTTP/1.1 200 OK\r\n", "\r\n"), ("HTTP/1.1 200 OK\n", "\n"), ("HTTP/1.1 200 OK\r\n", "\n")] {
        let text = format!("{head}x-a: {}{}", "a".repeat(9000), &head[15..]);
        let (mut reader, mut read) = (HeadReader::default(), BytesMut::new());
        for byte in text.bytes() {
            read.extend_from_slice(&[byte]);
            assert!(reader.take(&mut read, &Method::POST).is_ok_and(|head| head.is_none()));
        }
        let (last, before) = end.as_bytes().split_last().expect("not empty");
        for byte in before {
            read.extend_from_slice(&[*byte]);
            assert!(reader.take(&mut read, &Method::POST).is_ok_and(|head| head.is_none()));
        }
        read.extend_from_slice(&[*last]);
        assert!(reader.take(&mut read, &Method::POST).is_ok_and(|head| head.is_some()));
    }
}

#[test]
fn interim_answers_count_as_part_of_the_head() {
    let (mut reader, mut left) = (HeadReader::default(), 300 * 1024);
    let interim = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(1000));
    while reader.take(&mut interim.as_bytes().into(), &Method::POST).is_ok_and(|head| head.is_none()) {
        left -= interim.len();
    }
    assert!(left < 60 * 1024);
}

fn written(method: Method, url: &'static str, fields: &[(&'static str, &'static str)], length: usize) -> String {
    let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let (fields, url): (Vec<_>, _) = (fields.collect(), Uri::from_static(url));
    let target = url.path_and_query().expect("a target").as_str();
    let authority = url.authority().expect("a host").as_str();
    let head = head::write(&method, target, authority, fields.iter().map(|(name, value)| (name, value)), length);
    String::from_utf8(head.to_vec()).expect("text")
}

#[test]
fn a_request_is_written_as_it_is() {
    let fields = [("x-a", "1"), ("x-a", "2")];
    for (method, url, length, expected) in [
        (
            Method::POST,
            "http://host:80/v1/x?y=z",
            1203,
            "POST /v1/x?y=z HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: host:80\r\ncontent-length: 1203\r\n\r\n",
        ),
        (
            Method::POST,
            "http://host:80",
            0,
            "POST / HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: host:80\r\ncontent-length: 0\r\n\r\n",
        ),
        (Method::GET, "http://u:p@h?y=z", 0, "GET /?y=z HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: h\r\n\r\n"),
        (Method::GET, "http://[::1]:8/", 0, "GET / HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: [::1]:8\r\n\r\n"),
        (Method::GET, "http://host:80/a", 0, "GET /a HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: host:80\r\n\r\n"),
    ] {
        assert_eq!(written(method, url, &fields, length), expected);
    }
}

#[test]
fn a_host_and_a_length_are_written_once() {
    let fields = [("host", "other"), ("content-length", "9"), ("x-a", "1"), ("host", "third")];
    assert_eq!(
        written(Method::POST, "http://h/a", &fields, 3),
        "POST /a HTTP/1.1\r\nhost: other\r\nx-a: 1\r\ncontent-length: 3\r\n\r\n"
    );
}

/// All that comes out of chunks that arrive in these pieces; `None` if they are refused.
fn unchunked(pieces: &[&[u8]]) -> Option<(Vec<u8>, bool, Vec<u8>)> {
    let (mut chunks, mut read, mut data, mut trailers) = (Chunks::default(), BytesMut::new(), Vec::new(), false);
    for piece in pieces {
        read.extend_from_slice(piece);
        while let Some(piece) = chunks.take(&mut read).ok()? {
            match piece {
                Piece::Data(bytes) => data.extend_from_slice(&bytes),
                Piece::Trailers(fields) => trailers = !fields.is_empty(),
            }
        }
    }
    chunks.is_over().then_some((data, trailers, read.to_vec()))
}

#[test]
fn all_that_one_read_brought_is_one_piece() {
    let mut read = BytesMut::from("3\r\none\r\n5;ext=\"x\"\r\n, two\r\n000B \r\n, and three\r\n0");
    let mut chunks = Chunks::default();
    assert!(matches!(chunks.take(&mut read), Ok(Some(Piece::Data(data))) if data == "one, two, and three"));
}

#[test]
fn nothing_is_kept_of_a_piece_that_was_all() {
    let (mut chunks, mut read) = (Chunks::default(), BytesMut::from("3\r\none\r\n"));
    let Ok(Some(Piece::Data(data))) = chunks.take(&mut read) else { panic!("there is data") };
    assert!(data == "one" && data.is_unique(), "an idle stream would keep its last piece");
}

#[test]
fn chunks_end_with_trailers_or_without() {
    let whole = unchunked(&[b"3\r\none\r\n0\r\n\r\nnext"]);
    assert_eq!(whole, Some((b"one".to_vec(), false, b"next".to_vec())));
    let whole = unchunked(&[b"3\r\none\r\n0\r\nx-sum", b"med: 1\r\n\r", b"\nnext"]);
    assert_eq!(whole, Some((b"one".to_vec(), true, b"next".to_vec())));
}

#[test]
fn chunks_that_are_none_are_refused() {
    let long = format!("1;{}\r\n", "x".repeat(5000));
    for text in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x1\r\n",
        "1\n",
        "1\r\r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
        "1;a\rb\r\na\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "11111111111111111\r\n",
        "1x\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n",
        "0\r\nno colon\r\n\r\n",
        &long,
    ] {
        assert_eq!(unchunked(&[text.as_bytes()]), None, "{text}");
    }
    // What came before is not lost.
    let (mut chunks, mut read) = (Chunks::default(), BytesMut::from("3\r\none\r\nzzz\r\n"));
    assert!(matches!(chunks.take(&mut read), Ok(Some(Piece::Data(data))) if data == "one"));
    assert!(chunks.take(&mut read).is_err());
}

proptest! {
    #[test]
    fn it_does_not_matter_where_chunks_are_cut(
        data in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut wire = Vec::new();
        for chunk in &data {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
        prop_assert_eq!(unchunked(&pieces), Some((data.concat(), false, Vec::new())));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        unchunked(&[&bytes]);
        let _ = HeadReader::default().take(&mut bytes.as_slice().into(), &Method::GET);
    }
}
