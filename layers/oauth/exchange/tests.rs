//! Exchanges on a paused clock, with a server that is a function.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::service_fn;

use super::*;
use crate::oauth::{CredentialError, CredentialFile, CredentialFileOptions, Expiry, StaticToken};

/// What the server was asked.
type Asked = Arc<Mutex<Vec<HeaderMap>>>;

fn options() -> ExchangeOptions {
    ExchangeOptions::new("https://api.github.example/v2/token".parse().unwrap())
        .unwrap()
        .token_header(header::AUTHORIZATION, HeaderValue::from_static("token {token}"))
        .endpoint("/endpoints/api")
        .expiry(Expiry::Seconds("/expires_at".into()))
        .allow_hosts(["*.copilot.example"])
        .remedy("sign in")
}

/// An exchange whose server answers the nth request after 50 ms.
fn exchange<T, F>(source: T, answer: F) -> (TokenExchange<T>, Asked)
where
    T: TokenSource,
    F: Fn(usize) -> Result<Response<ReplayBody>, String> + Clone + Send + Sync + 'static,
{
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let server = service_fn(move |request: Request<ReplayBody>| {
        let (noted, answer) = (Arc::clone(&noted), answer.clone());
        async move {
            assert_eq!((request.method().as_str(), request.uri().path()), ("GET", "/v2/token"));
            assert!(request.body().is_empty());
            let number = {
                let mut noted = noted.lock().unwrap();
                noted.push(request.headers().clone());
                noted.len()
            };
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer(number)
        }
    });
    (TokenExchange::new(source, options(), server), asked)
}

fn seconds_from_now(seconds: i64) -> i64 {
    let now = clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

fn granted(number: usize, lifetime: i64) -> Result<Response<ReplayBody>, String> {
    let answer = json!({
        "token": format!("short-{number}"), "expires_at": seconds_from_now(lifetime), "chat_enabled": true,
        "endpoints": { "api": "https://individual.copilot.example" },
    });
    Ok(Response::new(answer.to_string().into()))
}

fn status(status: u16) -> Result<Response<ReplayBody>, String> {
    Ok(Response::builder().status(status).body(r#"{"message":"canary-echo"}"#.into()).unwrap())
}

async fn token<T: TokenSource>(source: &T) -> Result<String, CredentialError> {
    match source.current() {
        Some(credential) => Ok(credential.token().to_owned()),
        None => source.token().await.map(|credential| credential.token().to_owned()),
    }
}

async fn error<T: TokenSource>(source: &T) -> String {
    token(source).await.expect_err("no token").message().to_owned()
}

fn count(asked: &Asked) -> usize {
    asked.lock().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_are_one_exchange() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, 1800));
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { token(&source).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "short-1");
    }
    assert_eq!(count(&asked), 1);
    let headers = asked.lock().unwrap()[0].clone();
    assert_eq!(headers[header::AUTHORIZATION], "token long");
    assert!(headers[header::AUTHORIZATION].is_sensitive());
    assert_eq!(headers[header::ACCEPT], "application/json");
    assert!(headers[header::USER_AGENT].to_str().unwrap().starts_with("pointsman/"));
    let credential = source.current().expect("it is at hand");
    assert_eq!(credential.endpoint().unwrap().0, "https://individual.copilot.example");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_abort_it() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, 1800));
    assert!(tokio::time::timeout(Duration::from_millis(10), source.token()).await.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(source.current().unwrap().token(), "short-1");
    assert_eq!(count(&asked), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_before_it_expires_and_nobody_waits() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, 1800));
    assert_eq!(token(&source).await.unwrap(), "short-1");
    tokio::time::sleep(Duration::from_secs(1600)).await;
    assert_eq!(source.current().unwrap().token(), "short-1");
    assert_eq!(count(&asked), 1, "it is early");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(source.current().unwrap().token(), "short-1", "served while it is renewed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(source.current().unwrap().token(), "short-2");
    assert_eq!(count(&asked), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_one_is_not_used() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, 1800));
    assert_eq!(token(&source).await.unwrap(), "short-1");
    tokio::time::sleep(Duration::from_secs(1775)).await;
    assert!(source.current().is_none(), "25 s are left");
    assert_eq!(token(&source).await.unwrap(), "short-2");
    assert_eq!(count(&asked), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_lives_shortly_is_not_got_anew_for_each_request() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, 20));
    for _ in 0..10 {
        assert_eq!(token(&source).await.unwrap(), "short-1");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(count(&asked), 1);
}

/// The server's clock is an hour behind.
#[tokio::test(start_paused = true)]
async fn one_that_is_said_to_have_expired_serves_until_it_is_refused() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, -1800));
    for _ in 0..3 {
        assert_eq!(token(&source).await.unwrap(), "short-1");
    }
    let refused = source.current().unwrap();
    assert_eq!(source.refused(&refused).await.unwrap().unwrap().token(), "short-2");
    assert_eq!(count(&asked), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_one_is_replaced_once_for_all() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| granted(number, 1800));
    token(&source).await.unwrap();
    let refused = source.current().unwrap();
    let tasks: Vec<_> = (0..100).map(|_| tokio::spawn(source.refused(&refused))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().unwrap().token(), "short-2");
    }
    assert_eq!(count(&asked), 2);
    // One that was refused long ago is no reason to ask.
    assert_eq!(source.refused(&refused).await.unwrap().unwrap().token(), "short-2");
    assert_eq!(count(&asked), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_exchange_is_clear_and_not_asked_for_again_at_once() {
    for (code, says) in [
        (401, "refuses the login's token (status 401)"),
        (403, "gives no token (status 403): the account of this login may not have access"),
        (404, "gives no token (status 404): the account of this login may not have access"),
    ] {
        let (source, asked) = exchange(StaticToken::new("canary-long"), move |number| match number {
            1 => status(code),
            _ => granted(number, 1800),
        });
        let message = format!("the token exchange at api.github.example {says}; sign in");
        assert_eq!(error(&source).await, message);
        tokio::time::sleep(Duration::from_secs(290)).await;
        assert_eq!((error(&source).await, count(&asked)), (message.clone(), 1));
        assert_eq!(source.problem(), Some(message));
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(token(&source).await.unwrap(), "short-2");
        assert_eq!(source.problem(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_backs_off_and_the_old_token_serves_while_it_is_valid() {
    let (source, asked) = exchange(StaticToken::new("long"), |number| match number {
        1 => granted(number, 1800),
        2 => status(503),
        3 => Err("canary: connection refused".into()),
        4 => Ok(Response::builder().status(403).header("retry-after", "60").body(ReplayBody::default()).unwrap()),
        _ => granted(number, 1800),
    });
    token(&source).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1775)).await;
    assert_eq!(token(&source).await.unwrap(), "short-1", "for the 25 s that it has");
    assert_eq!(token(&source).await.unwrap(), "short-1");
    assert_eq!(count(&asked), 2, "the failure is waited out");
    tokio::time::sleep(Duration::from_secs(26)).await;
    assert_eq!(
        error(&source).await,
        "the token exchange at api.github.example gave no token (canary: connection refused)"
    );
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!((token(&source).await.is_err(), count(&asked)), (true, 3), "10 s after the second failure");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(error(&source).await.ends_with("(status 403)"));
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!((token(&source).await.is_err(), count(&asked)), (true, 4));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(token(&source).await.unwrap(), "short-5");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_no_use_is_told_without_its_content() {
    for (answer, says) in [
        (json!({ "canary": 1 }), "has no text at /token"),
        (json!({ "token": "" }), "has no text at /token"),
        (json!({ "token": "t", "endpoints": { "api": "https://canary.example" } }), "names a host at /endpoints/api"),
        (json!({ "token": "t", "endpoints": { "api": "http://x.copilot.example" } }), "has no https URL at"),
        (json!(["canary"]), "is not a JSON object"),
    ] {
        let (source, _) = exchange(StaticToken::new("long"), move |_| Ok(Response::new(answer.to_string().into())));
        let message = error(&source).await;
        assert!(message.contains(says) && !message.contains("canary"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_without_an_endpoint_is_for_the_provider_s_own() {
    let (source, _) =
        exchange(StaticToken::new("long"), |_| Ok(Response::new(r#"{"token":"t","expires_at":"soon"}"#.into())));
    assert_eq!(token(&source).await.unwrap(), "t");
    assert_eq!(source.current().unwrap().endpoint(), None);
    // It is not known to expire.
    tokio::time::sleep(Duration::from_secs(1 << 30)).await;
    assert!(source.current().is_some());
}

/// A file as GitHub's editor extensions write it.
struct Apps(TempDir);

impl Apps {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("apps.json")
    }

    fn write(&self, token: &str) {
        let app = json!({ "user": "me", "oauth_token": token, "githubAppId": "Iv1.b5" });
        self.write_all(&json!({ "github.company.com": { "oauth_token": "canary" }, "github.com:Iv1.b5": app }));
    }

    fn write_all(&self, apps: &Value) {
        fs::write(self.path(), apps.to_string()).unwrap();
    }

    fn file(&self) -> CredentialFile {
        let options =
            CredentialFileOptions::new(self.path()).access("/github.com:*/oauth_token").remedy("sign in to the editor");
        CredentialFile::new(
            options,
            service_fn(async |_: Request<ReplayBody>| -> Result<Response<ReplayBody>, String> {
                panic!("a long-lived token is not refreshed")
            }),
        )
    }
}

async fn next_look() {
    tokio::time::sleep(Duration::from_millis(1001)).await;
}

#[tokio::test(start_paused = true)]
async fn the_file_may_come_later_and_change() {
    let apps = Apps::new();
    let (source, asked) = exchange(apps.file(), |number| granted(number, 1800));
    let message = error(&source).await;
    assert!(message.ends_with("apps.json does not exist; sign in to the editor"), "{message}");
    apps.write("long-1");
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "short-1");
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "short-1", "the file is as it was");
    apps.write("long-2");
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "short-2", "another login is not to use the first one's token");
    let sent: Vec<_> = asked.lock().unwrap().iter().map(|headers| headers[header::AUTHORIZATION].clone()).collect();
    assert_eq!(sent, ["token long-1", "token long-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_read_again_from_the_file() {
    let apps = Apps::new();
    apps.write("long-1");
    let path = apps.path();
    let (source, asked) = exchange(apps.file(), move |number| match number {
        1 => {
            let apps = json!({ "github.com": { "oauth_token": "long-2" } });
            fs::write(&path, apps.to_string()).unwrap();
            status(401)
        }
        _ => granted(number, 1800),
    });
    assert_eq!(token(&source).await.unwrap(), "short-2");
    assert_eq!(asked.lock().unwrap()[1][header::AUTHORIZATION], "token long-2");
}

#[tokio::test(start_paused = true)]
async fn a_file_without_the_host_is_no_login() {
    for (apps, says) in [
        (json!({ "github.company.com": { "oauth_token": "canary" } }), "has no text at /github.com/oauth_token"),
        (json!({ "github.com:Iv1": { "user": "canary" } }), "has no text at /github.com:Iv1/oauth_token"),
        (json!([]), "does not hold a JSON object"),
    ] {
        let file = Apps::new();
        file.write_all(&apps);
        let (source, asked) = exchange(file.file(), |number| granted(number, 1800));
        let message = error(&source).await;
        assert!(message.contains(says) && !message.contains("canary"), "{message}");
        assert_eq!(count(&asked), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_shown() {
    let (source, _) =
        exchange(StaticToken::new("canary-long"), |_| Ok(Response::new(r#"{"token":"canary-short"}"#.into())));
    token(&source).await.unwrap();
    let shown = format!("{source:?} {:?}", options().header(header::COOKIE, HeaderValue::from_static("canary")));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains(&source.current().unwrap().fingerprint().to_string()), "{shown}");
}

#[test]
fn the_url_must_be_safe() {
    for (url, safe) in [("https://h/x", true), ("http://127.0.0.1:9/x", true), ("http://h/x", false)] {
        assert_eq!(ExchangeOptions::new(url.parse().unwrap()).is_ok(), safe, "{url}");
    }
}
