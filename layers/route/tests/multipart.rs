use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

use super::super::{
    ModelError,
    multipart::{find, is_form},
};

fn headers(content_type: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())])
}

fn find_with<'a>(content_type: &str, body: &'a str) -> Result<(Cow<'a, str>, &'a str), ModelError> {
    let field = find(&headers(content_type), body.as_bytes())?;
    Ok((field.name, &body[field.span]))
}

fn find_in(body: &str) -> Result<(Cow<'_, str>, &str), ModelError> {
    find_with("multipart/form-data; boundary=b", body)
}

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"\r\n\r\n";
const FILE: &str =
    "Content-Disposition: form-data; name=\"file\"; filename=\"a\\b.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n";

#[test]
fn the_type_of_the_body_decides() {
    for (content_type, form) in [
        ("multipart/form-data; boundary=b", true),
        ("Multipart/Form-Data;boundary=b", true),
        ("multipart/form-data", true),
        ("multipart/form-data2; boundary=b", false),
        ("multipart/mixed; boundary=b", false),
        ("application/json", false),
    ] {
        assert_eq!(is_form(&headers(content_type)), form, "{content_type}");
    }
    assert!(!is_form(&HeaderMap::new()));
    let mut two = headers("multipart/form-data; boundary=b");
    two.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    assert!(!is_form(&two));
}

#[test]
fn the_model_is_found_wherever_it_stands() {
    for body in [
        format!("--b\r\n{MODEL}whisper-1\r\n--b--\r\n"),
        format!("--b\r\n{MODEL}whisper-1\r\n--b--"),
        format!("--b\r\n{MODEL}whisper-1\r\n--b\r\n{FILE}\0\r\n--a\r\n--\r\n--b--\r\n"),
        format!("--b\r\n{FILE}\u{1f600}\r\n\r\n--c\r\n--b\r\n{MODEL}whisper-1\r\n--b--\r\n"),
        format!("a preamble\r\n--b \t\r\n{MODEL}whisper-1\r\n--b-- \r\nan epilogue"),
        "--b\r\nContent-Type: text/plain\r\ncontent-disposition:form-data ; name=model;\r\n\r\nwhisper-1\r\n--b--".into(),
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: 8BIT\r\n\r\nwhisper-1\r\n--b--".into(),
    ] {
        assert_eq!(find_in(&body).unwrap(), ("whisper-1".into(), "whisper-1"), "{body}");
    }
    let (name, span) = find_in("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\r\n--b--").unwrap();
    assert_eq!((&*name, span), ("", ""));
}

#[test]
fn a_boundary_is_read_as_clients_write_it() {
    for (parameter, boundary) in [
        ("boundary=----WebKitFormBoundary7MA4YWxk", "----WebKitFormBoundary7MA4YWxk"),
        ("charset=utf-8; Boundary = \"a b:c\"", "a b:c"),
        ("boundary=\"a\\\"b\"", "a\"b"),
        ("boundary====_Part_1_2.3=?;", "===_Part_1_2.3=?"),
    ] {
        let body = format!("--{boundary}\r\n{MODEL}m\r\n--{boundary}--\r\n");
        let found = find_with(&format!("multipart/form-data; {parameter}"), &body);
        assert_eq!(found.unwrap().0, "m", "{parameter}");
    }
    for (parameters, says) in [
        ("", "no boundary"),
        ("; charset=utf-8", "no boundary"),
        ("; boundary=", "between 1 and 70"),
        ("; boundary=\"\"", "between 1 and 70"),
        (&format!("; boundary={}", "x".repeat(71)), "between 1 and 70"),
        ("; boundary=b; boundary=c", "more than one"),
        ("; boundary=\"b", "malformed"),
        ("; boundary", "malformed"),
        ("; =b", "malformed"),
        ("; boundary=b\"c\"", "malformed"),
    ] {
        let error = find_with(&format!("multipart/form-data{parameters}"), "--b\r\n").unwrap_err();
        assert!(matches!(error, ModelError::NotAForm(fault) if fault.contains(says)), "{parameters}: {error}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let part = |head: &str| format!("--b\r\n{head}\r\n\r\nm\r\n--b--\r\n");
    let named = |parameters: &str| part(&format!("Content-Disposition: form-data; {parameters}"));
    for (body, says) in [
        (String::new(), "nowhere"),
        ("--c\r\n".into(), "nowhere"),
        ("x--b\r\n".into(), "nowhere"),
        (format!("--b\r\n{MODEL}m"), "missing"),
        (format!("--b\r\n{MODEL}m\n--b--"), "missing"),
        (format!("--bc\r\n{MODEL}m\r\n--b--"), "followed"),
        (format!("--b\n{MODEL}m\r\n--b--"), "followed"),
        (format!("--b\r\n{MODEL}m\r\n--b--x"), "followed"),
        (format!("--b\r\n{MODEL}m\r\n--b--\r\n--b\r\n{MODEL}n\r\n--b--"), "goes on"),
        ("--b\r\n--b--\r\n".into(), "missing"),
        ("--b\r\n\r\n--b--\r\n".into(), "no head"),
        (part("Content-Disposition: form-data; name=\"model\"\n"), "broken"),
        (part("Content-Type: text/plain"), "no name"),
        (part("Content-Disposition: attachment; name=\"model\""), "not form-data"),
        (part("Content-Disposition"), "no colon"),
        (part(" Content-Disposition: form-data"), "begin with a name"),
        (part("Content-Disposition : form-data; name=\"model\""), "begin with a name"),
        (part("Content-Disposition: form-data;\r\n name=\"model\""), "no name"),
        (part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=model"), "two names"),
        (part(&format!("X: {}", "x".repeat(9000))), "over 8 KiB"),
        (named("filename=\"x\""), "no name"),
        (named("name=\"model"), "malformed"),
        (named("name=\"mod\\el\""), "two ways"),
        (named("name=\"a\"; name=\"model\""), "two ways"),
        (named("name=\"a\"; name*=utf-8''model"), "two ways"),
        (named("name=\"a\" x"), "malformed"),
    ] {
        let error = find_in(&body).unwrap_err();
        assert!(matches!(error, ModelError::NotAForm(fault) if fault.contains(says)), "{body}: {error}");
    }
}

#[test]
fn one_plain_model_is_wanted() {
    let model = |more: &str| format!("--b\r\nContent-Disposition: form-data; name=\"model\"{more}\r\n\r\nm\r\n");
    for (parts, error) in [
        (format!("--b\r\n{FILE}\r\n"), ModelError::Missing),
        ("--b\r\nContent-Disposition: form-data; name=\"Model\"\r\n\r\nm\r\n".into(), ModelError::Missing),
        (model("").repeat(2), ModelError::Twice),
        (model("; filename=\"m\""), ModelError::NotText),
        (model("\r\nContent-Transfer-Encoding: base64"), ModelError::NotText),
    ] {
        assert_eq!(find_in(&format!("{parts}--b--\r\n")).unwrap_err(), error, "{parts}");
    }
    let body = [b"--b\r\n", MODEL.as_bytes(), b"\xff\r\n--b--"].concat();
    assert_eq!(find(&headers("multipart/form-data; boundary=b"), &body).unwrap_err(), ModelError::NotText);
}

fn form(parts: &[(String, Vec<u8>)], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    body
}

proptest! {
    #[test]
    fn no_bytes_panic(
        body in prop::collection::vec(prop_oneof![Just(b'-'), Just(b'b'), Just(b'\r'), Just(b'\n'), Just(b'"'), any::<u8>()], 0..200),
        parameters in "[;=\" a-z\\\\]{0,20}",
    ) {
        let _ = find(&headers("multipart/form-data; boundary=b"), &body);
        let _ = find(&headers(&format!("multipart/form-data; boundary=b{parameters}")), &body);
    }

    #[test]
    fn the_span_is_the_content(
        mut parts in prop::collection::vec(("[a-z]{1,4}", prop::collection::vec(any::<u8>(), 0..60)), 0..5),
        at in any::<prop::sample::Index>(),
        (model, other) in ("[^\r\n]{0,12}", "[a-z]{0,12}"),
    ) {
        // Long enough to be in no content by chance.
        let boundary = "4f0c2a9e7d";
        let at = at.index(parts.len() + 1);
        parts.insert(at, ("model".into(), model.clone().into_bytes()));
        let body = form(&parts, boundary);
        let found = find(&headers(&format!("multipart/form-data; boundary={boundary}")), &body).unwrap();
        prop_assert_eq!(&*found.name, &*model);
        let spliced = [&body[..found.span.start], other.as_bytes(), &body[found.span.end..]].concat();
        parts[at].1 = other.into_bytes();
        prop_assert_eq!(spliced, form(&parts, boundary));
    }
}
