//! Forms with a `model` field: routed by it, and every other byte as it came.

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Answer, Client, Deployed, Reply, Upstream, backend, backends};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"b-1\"");

/// A gateway with the route `voice`, whose candidates call the model by other names.
fn gateway(first: &Upstream, second: &Upstream) -> Deployed {
    Deployed::start(&format!(
        "server: {{ body_limit: 2MiB }}\nmodels:\n  - name: voice\n    providers:\n      \
         - {{ provider: a, model: \"whisper \\\"large\\\" v3\" }}\n      - {{ provider: b, model: w }}\n{}",
        backends([backend("a", &first.url(""), "models: [own]"), backend("b", &second.url(""), "")])
    ))
}

/// A form with a file in front of the model, or behind it.
fn form(model: &str, file: &[u8], file_first: bool) -> Vec<u8> {
    let file = [
        b"--b-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n",
        file,
        b"\r\n",
    ]
    .concat();
    let model = format!("--b-1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n").into_bytes();
    let further = b"--b-1\r\ncontent-disposition: form-data; name=\"response_format\"\r\n\r\njson\r\n".to_vec();
    let parts = if file_first { [file, further, model] } else { [model, file, further] };
    [parts.concat(), b"--b-1--\r\n".to_vec()].concat()
}

async fn ask(client: &mut Client, path: &str, body: &[u8]) -> Answer {
    client.request("POST", path, &[FORM], body).await;
    client.answer().await
}

fn is_refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(code)), "{}", answer.text());
}

#[tokio::test]
async fn the_model_of_each_candidate_is_put_in_on_every_path() {
    let overloaded = Upstream::always(Reply::error(503, "overloaded", "later"));
    let second = Upstream::always(Reply::json(200, &json!({ "text": "hello" })));
    let gateway = gateway(&overloaded, &second);
    let mut client = gateway.client().await;
    let file: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let paths =
        [TRANSCRIPTIONS, "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations", "/x/v1/images/edits"];
    for (n, path) in paths.iter().enumerate() {
        let file_first = n % 2 == 0;
        let answer = ask(&mut client, path, &form("voice", &file, file_first)).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "text": "hello" })));
        for (upstream, model) in [(&overloaded, "whisper \"large\" v3"), (&second, "w")] {
            let received = upstream.requests().pop().expect("a request");
            let expected = form(model, &file, file_first);
            assert!(received.body == expected, "{path}: another body than the client's");
            assert_eq!(received.header("content-length"), Some(expected.len().to_string().as_str()));
            assert_eq!(received.header("content-type"), Some(FORM.1));
            assert_eq!(received.path(), path.strip_prefix("/x").unwrap_or(path));
        }
    }
}

#[tokio::test]
async fn a_model_of_a_backend_s_own_list_stays_as_it_is() {
    let upstream = Upstream::always(Reply::json(200, &json!({})));
    let gateway = gateway(&upstream, &upstream);
    let body = form("own", b"", true);
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, TRANSCRIPTIONS, &body).await.status, 200);
    assert_eq!(upstream.request().body, body);
}

/// Its pieces come apart anywhere, in chunks.
#[tokio::test]
async fn a_form_in_chunks_is_one_form() {
    let upstream = Upstream::always(Reply::json(200, &json!({})));
    let gateway = gateway(&upstream, &upstream);
    let mut client = gateway.client().await;
    let head = format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n{}: {}\r\n\r\n",
        FORM.0, FORM.1
    );
    client.send(head).await;
    for piece in form("voice", b"sound", false).chunks(7) {
        client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.request().body, form("whisper \"large\" v3", b"sound", false));
}

#[tokio::test]
async fn forms_without_one_plain_model_are_refused() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&upstream, &upstream);
    let mut client = gateway.client().await;
    let text = |body: Vec<u8>| String::from_utf8(body).expect("text");
    let good = text(form("voice", b"sound", true));
    for (body, code) in [
        (String::new(), "invalid_multipart"),
        (r#"{"model":"voice"}"#.to_owned(), "invalid_multipart"),
        (good.replace("--b-1", "--b-2"), "invalid_multipart"),
        (good.replace("--b-1--", ""), "invalid_multipart"),
        (good.replace("\r\n", "\n"), "invalid_multipart"),
        (format!("{good}{good}"), "invalid_multipart"),
        (good.replace("name=\"model\"", "name=\"mod\\el\""), "invalid_multipart"),
        (good.replace("name=\"model\"", "name=\"Model\""), "missing_model"),
        (good.replace("name=\"response_format\"", "name=\"model\""), "duplicate_model"),
        (good.replace("name=\"model\"", "name=\"model\"; filename=\"m\""), "invalid_model"),
    ] {
        let answer = ask(&mut client, TRANSCRIPTIONS, body.as_bytes()).await;
        is_refused(&answer, code);
        let param = answer.json()["error"]["param"].clone();
        assert_eq!(param, if code == "invalid_multipart" { Value::Null } else { json!("model") });
    }
    client.request("POST", TRANSCRIPTIONS, &[("content-type", "multipart/form-data")], good.as_bytes()).await;
    is_refused(&client.answer().await, "invalid_multipart");
    let answer = ask(&mut client, TRANSCRIPTIONS, &form("voices", b"", true)).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert!(answer.text().contains("`voice`"), "{}", answer.text());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_file_passes_byte_for_byte(file in prop::collection::vec(any::<u8>(), 0..4000), file_first in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (status, received) = runtime.block_on(async {
            let upstream = Upstream::always(Reply::json(200, &json!({})));
            let gateway = gateway(&upstream, &upstream);
            let answer = ask(&mut gateway.client().await, TRANSCRIPTIONS, &form("voice", &file, file_first)).await;
            (answer.status, upstream.request().body)
        });
        prop_assert_eq!(status, 200);
        prop_assert_eq!(received, form("whisper \"large\" v3", &file, file_first));
    }
}
