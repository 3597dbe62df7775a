use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use http::header;
use serde_json::json;
use tower::service_fn;

use super::*;

type Answer = Result<Response<ReplayBody>, String>;

/// A login server that answers one question after the other, and what it was asked when.
#[derive(Clone)]
struct Server {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct Asked {
    at: Duration,
    url: String,
    accept: String,
    form: HashMap<String, String>,
}

impl Server {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), asked: Arc::default() }
    }

    /// One that hands out a code, with these members beside the usual ones.
    fn with_code(more: Value, answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut code = json!({
            "device_code": "canary-device", "user_code": "WDJB-MJHT", "verification_uri": "https://login.example/go",
            "expires_in": 600,
        });
        code.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self::new([answer(200, &code)].into_iter().chain(answers))
    }

    async fn start(&self) -> Result<PendingLogin, DeviceLoginError> {
        let (answers, asked) = (Arc::clone(&self.answers), Arc::clone(&self.asked));
        let begin = Instant::now();
        let client = service_fn(move |request: Request<ReplayBody>| {
            assert_eq!((request.method().as_str(), &request.headers()[header::CONTENT_TYPE]), ("POST", &FORM));
            asked.lock().unwrap().push(Asked {
                at: begin.elapsed(),
                url: request.uri().to_string(),
                accept: request.headers()[header::ACCEPT].to_str().unwrap().to_owned(),
                form: form_urlencoded::parse(&request.body().to_bytes()).into_owned().collect(),
            });
            std::future::ready(answers.lock().unwrap().pop_front().expect("the script has one more answer"))
        });
        login().start(client, [7; 32]).await
    }

    async fn finish(&self) -> Result<Tokens, DeviceLoginError> {
        self.start().await?.finish().await
    }

    /// The seconds after the start at which it was asked, the first request left out.
    fn times(&self) -> Vec<f64> {
        self.asked.lock().unwrap().iter().skip(1).map(|asked| asked.at.as_secs_f64()).collect()
    }
}

const FORM: http::HeaderValue = http::HeaderValue::from_static("application/x-www-form-urlencoded");

fn login() -> DeviceLogin {
    let url = |text: &str| text.parse().unwrap();
    DeviceLogin::new(url("https://login.example/device"), url("https://login.example/token"), "me")
        .unwrap()
        .scope("openid email")
        .field("grant_type", "refresh_token")
        .field("client_secret", "canary-field")
}

fn answer(status: u16, body: &Value) -> Answer {
    html(status, &body.to_string())
}

fn html(status: u16, body: &str) -> Answer {
    Ok(Response::builder().status(status).body(body.to_owned().into()).unwrap())
}

fn error(code: &str) -> Answer {
    answer(400, &json!({"error": code, "error_description": "canary-description"}))
}

fn granted() -> Answer {
    answer(200, &json!({"access_token": "canary-a", "refresh_token": "canary-r", "expires_in": 3600}))
}

fn failed(reason: &str) -> DeviceLoginError {
    DeviceLoginError::Failed { host: "login.example".into(), reason: reason.into() }
}

fn after(mut answer: Answer, seconds: &str) -> Answer {
    if let Ok(response) = &mut answer {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.parse().unwrap());
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn a_login_asks_for_a_code_and_then_for_the_tokens() {
    let server = Server::with_code(json!({}), [error("authorization_pending"), granted()]);
    let pending = server.start().await.unwrap();
    assert_eq!(
        (pending.user_code(), pending.verification_uri(), pending.verification_uri_complete()),
        ("WDJB-MJHT", "https://login.example/go", None)
    );
    assert_eq!(pending.time_left(), Duration::from_secs(600));
    let tokens = pending.finish().await.unwrap();
    assert_eq!(tokens.fingerprint(), super::super::Fingerprint::of(b"canary-a"));
    assert_eq!(server.times(), [5.0, 10.0], "the standard's interval");

    let asked = server.asked.lock().unwrap();
    let (code, token) = (&asked[0], &asked[2]);
    assert_eq!((&*code.url, &*token.url), ("https://login.example/device", "https://login.example/token"));
    assert!(asked.iter().all(|asked| asked.accept == "application/json"));
    let verifier = &token.form["code_verifier"];
    assert_eq!(verifier.len(), 43);
    assert!(verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
    assert_eq!(code.form["code_challenge"], BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
    let pairs = |form: &HashMap<String, String>, without: &str| {
        let mut pairs: Vec<_> = form.iter().filter(|(name, _)| *name != without).collect();
        pairs.sort();
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pairs(&code.form, "code_challenge"), "client_id=me code_challenge_method=S256 scope=openid email");
    assert_eq!(
        pairs(&token.form, "code_verifier"),
        format!("client_id=me client_secret=canary-field device_code=canary-device grant_type={DEVICE_CODE}")
    );
}

#[test]
fn the_challenge_is_that_of_the_standard() {
    // RFC 7636, appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_heard() {
    for (interval, expected) in [
        (json!(2), [2.0, 4.0]),
        (json!("3"), [3.0, 6.0]),
        (json!(0), [0.2, 0.4]),
        (json!(-1), [5.0, 10.0]),
        (json!(null), [5.0, 10.0]),
    ] {
        let server = Server::with_code(json!({"interval": interval}), [error("authorization_pending"), granted()]);
        server.finish().await.unwrap();
        assert_eq!(server.times(), expected, "{interval}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_down_lengthens_the_interval_for_good() {
    let server = Server::with_code(
        json!({"interval": 1}),
        [
            error("authorization_pending"),
            error("slow_down"),
            error("authorization_pending"),
            // The same by its status, whatever the body, and once with a wait of its own.
            html(429, "<html>"),
            after(answer(429, &json!({"error": "authorization_pending"})), "40"),
            after(error("slow_down"), "2"),
            granted(),
        ],
    );
    server.finish().await.unwrap();
    assert_eq!(server.times(), [1.0, 2.0, 8.0, 14.0, 25.0, 65.0, 86.0]);
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_asked_again_after_longer_and_longer() {
    let server = Server::with_code(
        json!({"interval": 1}),
        [
            html(500, "<html>"),
            Err("connection refused".into()),
            html(200, "<html>"),
            after(html(503, ""), "30"),
            error("authorization_pending"),
            html(502, ""),
            granted(),
        ],
    );
    server.finish().await.unwrap();
    assert_eq!(server.times(), [1.0, 3.0, 7.0, 15.0, 45.0, 46.0, 48.0]);

    let server = Server::with_code(json!({"interval": 5}), (0..12).map(|_| html(500, "")));
    assert_eq!(server.finish().await.unwrap_err(), DeviceLoginError::Expired);
    let gaps: Vec<f64> = server.times().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..5], [10.0, 20.0, 40.0, 60.0, 60.0]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_and_asked_again() {
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let client = service_fn(move |_: Request<ReplayBody>| {
        let call = {
            let mut calls = counted.lock().unwrap();
            *calls += 1;
            *calls
        };
        async move {
            match call {
                1 => answer(
                    200,
                    &json!({"device_code": "d", "user_code": "u", "verification_uri": "https://login.example"}),
                ),
                2 => std::future::pending().await,
                _ => granted(),
            }
        }
    });
    let begin = Instant::now();
    login().start(client, [7; 32]).await.unwrap().finish().await.unwrap();
    assert_eq!((begin.elapsed().as_secs(), *calls.lock().unwrap()), (5 + 15 + 10, 3));
}

#[tokio::test(start_paused = true)]
async fn some_answers_end_the_login() {
    for (answer, expected) in [
        (error("access_denied"), DeviceLoginError::Denied),
        (error("expired_token"), DeviceLoginError::Expired),
        (answer(200, &json!({"error": "access_denied"})), DeviceLoginError::Denied),
        (error("invalid_grant"), failed("status 400, invalid_grant")),
        (error("canary-code"), failed("status 400")),
        (answer(401, &json!({"detail": "canary"})), failed("status 401")),
        (html(302, ""), failed("status 302")),
        (html(404, "<html>"), failed("status 404")),
    ] {
        let server = Server::with_code(json!({}), [error("authorization_pending"), answer]);
        assert_eq!(server.finish().await.unwrap_err(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_expires_ends_the_login() {
    for (expires_in, polls) in [(json!(12), 2), (json!("12"), 2), (json!(0), 0), (json!(5), 0)] {
        let server =
            Server::with_code(json!({"expires_in": expires_in}), (0..9).map(|_| error("authorization_pending")));
        assert_eq!(server.finish().await.unwrap_err(), DeviceLoginError::Expired);
        assert_eq!(server.times().len(), polls, "{expires_in}");
    }
    // Without a word on it, a quarter of an hour; and no number is too large.
    for (expires_in, left) in [(json!(null), 900), (json!(1e300), 900), (json!(1e18), 86_400)] {
        let server = Server::with_code(json!({"expires_in": expires_in, "interval": 1e18}), []);
        let pending = server.start().await.unwrap();
        assert_eq!(pending.time_left().as_secs(), left);
        assert_eq!(pending.finish().await.unwrap_err(), DeviceLoginError::Expired);
    }
    // A wait that the code does not outlast is not begun.
    let server = Server::with_code(json!({}), [after(error("slow_down"), "18446744073709551615")]);
    assert_eq!(server.finish().await.unwrap_err(), DeviceLoginError::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hands_out_no_code_is_told_of() {
    let with = |name: &str, value: Value| {
        let mut code = json!({"device_code": "d", "user_code": "u", "verification_uri": "https://login.example"});
        code[name] = value;
        answer(200, &code)
    };
    for (answer, reason) in [
        (html(500, "<html>canary"), "status 500"),
        (error("invalid_client"), "status 400, invalid_client"),
        (html(302, ""), "status 302"),
        (html(200, "<html>canary"), "its answer is not a JSON object"),
        (with("device_code", json!(null)), "its answer has no usable `device_code`"),
        (with("user_code", json!("\u{1b}[2J")), "its answer has no usable `user_code`"),
        (with("verification_uri", json!("javascript:alert(1)")), "its answer has no usable `verification_uri`"),
        (with("verification_uri", json!("https://a/\u{1b}[2J")), "its answer has no usable `verification_uri`"),
        (html(200, &"x".repeat((1 << 20) + 1)), "its answer is larger than 1 MiB"),
        (Err("connection refused".into()), "connection refused"),
    ] {
        let error = Server::new([answer]).start().await.unwrap_err();
        assert_eq!(error, failed(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn the_address_with_the_code_in_it_is_handed_on() {
    let code = json!({
        "verification_uri": null, "verification_url": "https://old.example/device",
        "verification_uri_complete": "https://old.example/device?code=WDJB-MJHT",
    });
    let pending = Server::with_code(code, []).start().await.unwrap();
    assert_eq!(pending.verification_uri(), "https://old.example/device");
    assert_eq!(pending.verification_uri_complete(), Some("https://old.example/device?code=WDJB-MJHT"));
}

#[test]
fn both_endpoints_are_reached_over_tls_or_loopback() {
    let new = |device: &str, token: &str| DeviceLogin::new(device.parse().unwrap(), token.parse().unwrap(), "me");
    assert!(new("https://a/d", "https://a/t").is_ok());
    assert!(new("http://127.0.0.1:9/d", "http://localhost/t").is_ok());
    assert_eq!(new("http://a/d", "https://a/t").unwrap_err(), InsecureUrl);
    assert_eq!(new("https://a/d", "http://a/t").unwrap_err(), InsecureUrl);
}

#[tokio::test(start_paused = true)]
async fn no_debug_output_shows_a_secret() {
    let pending = Server::with_code(json!({}), [granted()]).start().await.unwrap();
    let verifier = pending.verifier.clone();
    let mut shown = format!("{:?} {pending:?}", login());
    shown += &format!("{:?}", pending.finish().await.unwrap());
    assert!(!shown.contains("canary") && !shown.contains(&verifier), "{shown}");
}

#[test]
fn a_login_can_be_sent_to_another_thread() {
    fn is_send(_: impl Send) {}
    is_send(async {
        let pending = Server::new([]).start().await?;
        pending.finish().await
    });
}
