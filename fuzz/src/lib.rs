//! What is fuzzed: one function for each reader of bytes that others write. It panics if the reader breaks a promise.
//!
//! cargo-fuzz calls them with bytes of its own making (`fuzz_targets/`); `tests/fuzz.rs` of the main package calls the
//! same functions with the corpus, and with what comes of it.

use std::{convert::Infallible, fmt::Write as _, io::Write as _, sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Full};
use pointsman::{
    Config, Gateway,
    provider::{Client, Provider},
    selector::Selector,
};
use pointsman_layers::{
    body::{EventCollector, ReplayBody},
    condition::Condition,
    oauth::{CredentialFile, CredentialFileOptions, Expiry, Mode, TokenSource as _},
    rate_limit_retry::{Backoff, Policy, RateLimitRetryLayer},
    route::ModelField,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// A target: its name, which is the name of its corpus, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 9] = [
    ("answer", answer),
    ("condition", condition),
    ("config", config),
    ("credential_file", credential_file),
    ("hint", hint),
    ("request", request),
    ("selector", selector),
    ("splice", splice),
    ("sse", sse),
];

/// A provider's answer is the same in whatever pieces it comes, ends where its head says, and nothing of it is the answer
/// to the next request. The first byte says in which pieces it comes, and whether the connection is closed behind it.
pub fn answer(data: &[u8]) {
    let Some((form, wire)) = data.split_first() else { return };
    let (step, is_closed) = (usize::from(form & 0x7f).max(1), form & 0x80 == 0);
    let wire = &wire[..wire.len().min(2048)];
    let whole = exchange(wire, wire.len().max(1), is_closed);
    assert_eq!(exchange(wire, step, is_closed), whole);
    assert_eq!(exchange(wire, 1, is_closed), whole);
    let Some(Exchanged { head, body, is_whole }) = whole else { return };
    match head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok()) {
        _ if [204, 304].contains(&head.status.as_u16()) => assert!(body.is_empty() && is_whole),
        Some(length) => assert!(if is_whole { body.len() == length } else { body.len() < length }),
        None => assert!(body.len() <= wire.len()),
    }
}

/// What came of an answer.
#[derive(Debug)]
struct Exchanged {
    head: http::response::Parts,
    body: Vec<u8>,
    is_whole: bool,
}

impl PartialEq for Exchanged {
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.head.status, one.head.headers.clone(), one.body.clone(), one.is_whole);
        of(self) == of(other)
    }
}

/// What a request gets that is answered so, in pieces; then another one gets an honest answer, or none. `None` is an error
/// in place of an answer.
fn exchange(wire: &[u8], step: usize, is_closed: bool) -> Option<Exchanged> {
    // Where certificates are read, it takes long to make one.
    static CLIENT: LazyLock<Client> = LazyLock::new(|| Client::new(Duration::from_secs(5)));
    const HONEST: &[u8] = b"HTTP/1.1 234 Honest\r\ncontent-length: 6\r\n\r\nhonest";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("bound")).parse().expect("a URL");
        let provider = Provider::builder(&url).expect("an absolute URL").build(CLIENT.clone());
        let pieces: Vec<Vec<u8>> = wire.chunks(step).map(<[u8]>::to_vec).collect();
        let (has_written, written) = oneshot::channel();
        tokio::spawn(async move {
            let mut odd = Some((pieces, has_written));
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let mut space = [0; 1024];
                // A request is small, and comes at once.
                while stream.read(&mut space).await.is_ok_and(|count| count > 0) {
                    let Some((pieces, has_written)) = odd.take() else {
                        let _ = stream.write_all(HONEST).await;
                        continue;
                    };
                    for piece in pieces {
                        let _ = stream.write_all(&piece).await;
                        // So the other end reads it before the next one is there.
                        tokio::task::yield_now().await;
                        tokio::task::yield_now().await;
                    }
                    let _ = has_written.send(());
                    let next = tokio::time::timeout(Duration::from_millis(3), stream.readable());
                    if is_closed || next.await.is_err() {
                        break;
                    }
                }
            }
        });
        let ask = || {
            let request = Request::post("/v1/chat/completions").body(ReplayBody::from("{}")).expect("a request");
            provider.clone().oneshot(request)
        };
        let exchanged = match ask().await {
            Err(_) => None,
            Ok(response) => {
                let (head, mut frames) = response.into_parts();
                let (mut body, mut is_whole) = (Vec::new(), true);
                while let Some(frame) = frames.frame().await {
                    match frame {
                        Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                        Err(_) => is_whole = false,
                    }
                }
                Some(Exchanged { head, body, is_whole })
            }
        };
        // What comes behind a second request was sent is an answer to it, as far as anyone can tell.
        let _ = written.await;
        if let Ok(next) = ask().await {
            assert_eq!(next.status(), 234, "an answer to another request");
            let body = next.into_body().collect().await.map(|body| body.to_bytes());
            assert!(body.is_ok_and(|body| body == "honest"), "not what was sent");
        }
        exchanged
    })
}

/// A model string that parses says the same when it is printed and parsed again; an error is in the text.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Selector::parse(text) {
        Ok(selector) => {
            let printed = selector.to_string();
            // With every weight written out it may have become too long.
            if printed.len() <= 1024 {
                let again = Selector::parse(&printed).map(|again| again.to_string());
                assert_eq!(again.as_ref(), Ok(&printed));
            }
        }
        Err(error) => assert!(text.get(error.span()).is_some(), "{:?} is not in the text", error.span()),
    }
}

/// A condition that parses says the same when it is printed and parsed again, and its three evaluations agree.
pub fn condition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let condition: Condition = match text.parse() {
        Ok(condition) => condition,
        Err(error) => {
            assert!(text.get(error.span()).is_some(), "{:?} is not in the text", error.span());
            assert!(!error.render().is_empty());
            return;
        }
    };
    let printed = condition.to_string();
    assert_eq!(printed.parse::<Condition>().as_ref(), Ok(&condition), "{printed:?}");
    for quota in [Value::Null, json!({}), json!({ "balance": 1.5, "a": { "b": [1, "x", null] }, "x": "y" })] {
        for error_count in [0, 3, u64::MAX] {
            let outcome = condition.evaluate(&quota, error_count);
            let explanation = condition.explain(&quota, error_count);
            match (&outcome, explanation.outcome()) {
                (Ok(holds), Ok(explained)) => assert_eq!(*holds, explained),
                (Err(_), Err(_)) => {}
                (outcome, explained) => panic!("{outcome:?} was explained as {explained:?}"),
            }
            assert!(!explanation.to_string().is_empty());
            if let Ok(Some(early)) = condition.evaluate_lazily(None, error_count) {
                assert_eq!(outcome.ok(), Some(early), "what is known without the quota stays");
            }
        }
    }
}

/// A configuration is read, or refused with something to show.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::from_yaml_with(text, &|_: &str| None) {
        Ok(loaded) => {
            let _ = (loaded.warnings.render(true), format!("{:?}", loaded.config));
        }
        Err(wrong) => {
            assert!(wrong.has_errors());
            assert!(!wrong.render(false).is_empty());
        }
    }
}

/// A credential file gives a token, or a sentence; and the token is in neither its status nor its `Debug`.
pub fn credential_file(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("written");
    for expiry in [
        Expiry::None,
        Expiry::Millis("/expiry_date".into()),
        Expiry::Seconds("/expiry_date".into()),
        Expiry::Rfc3339("/expiry_date".into()),
        Expiry::Jwt,
    ] {
        let options = CredentialFileOptions::new(file.path()).endpoint("/resource_url").expiry(expiry);
        let options = options.mode(Mode::ReadOnly).allow_hosts(["*.example.com"]);
        let nobody = service_fn(async |_: Request<ReplayBody>| {
            Err::<Response<Full<Bytes>>, _>(std::io::Error::other("nobody is there"))
        });
        let source = CredentialFile::new(options, nobody);
        block_on(async {
            let status = source.check().await;
            let token = source.token().await;
            assert!(token.is_ok() || status.problem.is_some() || status.fingerprint.is_some());
            let shown = format!("{status:?} {source:?} {token:?} {:?}", token.as_ref().map_err(ToString::to_string));
            if let Ok(credential) = &token
                && credential.token().len() > 20
            {
                assert!(!shown.contains(credential.token()), "a token is shown");
            }
        });
    }
}

/// A rate limit with these headers and this body is held for as long as the policy says at the most.
pub fn hint(data: &[u8]) {
    let (fields, body) = head_and_body(data);
    for status in [402, 403, 429, 503] {
        let mut response = Response::new(Full::new(Bytes::copy_from_slice(body)));
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        response.headers_mut().extend(fields.iter().cloned());
        let mut first = Some(response);
        let policy = Policy::from_seconds(10.0, 1.0, 2.0).expect("a good policy").jitter(Duration::ZERO);
        block_on(async {
            let start = tokio::time::Instant::now();
            let answers = std::sync::Arc::new(std::sync::Mutex::new(first.take()));
            let provider = service_fn(move |_: Request<ReplayBody>| {
                let answer = answers.lock().expect("nothing panics").take();
                std::future::ready(Ok::<_, Infallible>(answer.unwrap_or_default()))
            });
            let held = RateLimitRetryLayer::new(policy, Backoff::new()).layer(provider);
            let answer = held.oneshot(Request::new(ReplayBody::default())).await.expect("infallible");
            assert!(start.elapsed() <= Duration::from_secs(13), "it was held for {:?}", start.elapsed());
            let (head, collected) = answer.into_parts();
            let collected = collected.collect().await.expect("infallible").to_bytes();
            if head.status == status {
                assert_eq!(collected, body, "what is handed up is what came");
            } else {
                assert_eq!(head.status, 200);
            }
        });
    }
}

/// Whatever is asked, the whole stack gives an answer that is not its own fault, and an error is JSON.
pub fn request(data: &[u8]) {
    let line_end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = data.split_at(line_end);
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let (fields, body) = head_and_body(rest.get(1..).unwrap_or_default());
    let request = Request::builder().method(method).uri(target).body(Full::new(Bytes::copy_from_slice(body)));
    let Ok(mut request) = request else { return };
    request.headers_mut().extend(fields);
    let is_head = request.method() == http::Method::HEAD;
    // The providers are behind a condition that never holds: nothing leaves this process.
    let yaml = "
server: { body_limit: 1KiB, api_keys: [k] }
models:
  - { name: m, providers: [{ provider: a, condition: false }] }
  - { name: \"with space \u{e9}\", providers: [{ provider: a, condition: error_count < 0 }] }
backends:
  a: { type: openai, base_url: 'http://127.0.0.1:1/v1', api_key: secret-of-a, models: [] }
";
    block_on(async {
        let config = Config::from_yaml_with(yaml, &|_: &str| None).expect("a good configuration").config;
        let answer = Gateway::from_config(config).oneshot(request).await.expect("infallible");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("no provider to break it").to_bytes();
        assert_ne!(head.status, 500);
        assert!(head.headers.contains_key("x-request-id"));
        if head.status.as_u16() >= 400 && !is_head {
            let error: Value = serde_json::from_slice(&body).unwrap_or_else(|wrong| panic!("{wrong} in {body:?}"));
            assert!(error["error"]["message"].is_string(), "{error}");
        }
        assert!(!String::from_utf8_lossy(&body).contains("secret-of-a"));
    });
}

/// The one `model` is replaced, and nothing else is touched.
pub fn splice(data: &[u8]) {
    let Ok(model) = ModelField::find(data) else { return };
    let replacement = Bytes::from_static(b"\"another \\\"model\\\"\"");
    let spliced = ReplayBody::from(Bytes::copy_from_slice(data)).splice(model.span.clone(), replacement).to_bytes();
    // Of a long body only what can hold a model is read, so another part of it may be now, and be no JSON.
    let again = match ModelField::find(&spliced) {
        Ok(again) => again,
        Err(error) => {
            let is_json = serde_json::from_slice::<Value>(data).is_ok();
            assert!(!is_json && data.len() > 512, "it is there still: {error}");
            return;
        }
    };
    assert_eq!((&*again.name, again.span.start), ("another \"model\"", model.span.start));
    assert_eq!(spliced[..model.span.start], data[..model.span.start]);
    assert_eq!(spliced[again.span.end..], data[model.span.end..]);
    // A reader of its own sees the same; some numbers are none for it.
    let (Ok(Value::Object(mut before)), Ok(Value::Object(mut after))) =
        (serde_json::from_slice(data), serde_json::from_slice(&spliced))
    else {
        return;
    };
    assert_eq!(before.remove("model"), Some(Value::String(model.name.into_owned())));
    assert_eq!(after.remove("model"), Some("another \"model\"".into()));
    assert_eq!(before, after);
}

/// A stream has the same events however its bytes arrive. The first byte says in which pieces they do.
pub fn sse(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let events = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut collector = EventCollector::new(64);
        let mut events = String::new();
        for mut piece in pieces {
            while let Some(event) = collector.read(&mut piece) {
                match event {
                    Ok(event) => writeln!(events, "{:?} {:?} {:?}", event.kind(), event.data(), event.as_bytes()),
                    Err(_) => writeln!(events, "too large"),
                }
                .expect("writing to a string does not fail");
            }
        }
        if let Some(event) = collector.read_unfinished() {
            writeln!(events, "unfinished {:?}", event.map(|event| event.data().into_owned()))
                .expect("writing to a string does not fail");
        }
        (events, collector.reader().is_done())
    };
    let whole = events(&mut std::iter::once(stream));
    assert_eq!(events(&mut stream.chunks(usize::from(*step).max(1))), whole);
    assert_eq!(events(&mut stream.chunks(1)), whole);
}

/// Header fields, one a line, and the body behind an empty line.
fn head_and_body(data: &[u8]) -> (Vec<(HeaderName, HeaderValue)>, &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let fields = data[..end].split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    (fields.collect(), data.get(end + 2..).unwrap_or_default())
}

/// Runs a future on a clock that jumps.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}
