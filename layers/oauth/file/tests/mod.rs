//! A credential file in a folder of its own, and a token endpoint that is a function.

mod document;
mod locking;
mod login;
mod reading;
mod refreshing;
mod secrets;
mod writing;

use std::{
    collections::HashMap,
    fs,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Request, Response, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::service_fn;

use super::*;
use crate::oauth::CredentialError;

/// A login: the folder, the file in it, and what the token endpoint was asked.
struct Login {
    folder: TempDir,
    posts: Arc<Mutex<Vec<Post>>>,
}

struct Post {
    url: String,
    headers: HeaderMap,
    body: String,
}

impl Post {
    fn form(&self) -> HashMap<String, String> {
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

impl Login {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), posts: Arc::default() }
    }

    /// One with a token that expires in `seconds`.
    fn expiring_in(seconds: i64) -> Self {
        let login = Self::new();
        login.write(&json!({
            "access_token": "a0", "refresh_token": "r0", "resource_url": "portal.qwen.ai",
            "expiry_date": millis(clock::now()) + seconds * 1000,
        }));
        login
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("oauth_creds.json")
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.path().join("oauth_creds.lock")
    }

    fn write(&self, value: &Value) {
        fs::write(self.path(), value.to_string()).unwrap();
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).unwrap()).unwrap()
    }

    fn options(&self) -> CredentialFileOptions {
        CredentialFileOptions::new(self.path())
            .endpoint("/resource_url")
            .expiry(Expiry::Millis("/expiry_date".into()))
            .allow_hosts(["portal.qwen.ai"])
            .grant(RefreshGrant::new("https://login.example/token".parse().unwrap()).unwrap().client_id("me"))
            .remedy("run `login`")
    }

    /// A source whose endpoint notes each POST and gives the answer to it after 50 ms.
    fn source_with<F>(&self, options: CredentialFileOptions, answer: F) -> CredentialFile
    where
        F: Fn(usize) -> Result<Response<ReplayBody>, String> + Clone + Send + Sync + 'static,
    {
        let posts = Arc::clone(&self.posts);
        let endpoint = service_fn(move |request: Request<ReplayBody>| {
            let (posts, answer) = (Arc::clone(&posts), answer.clone());
            async move {
                assert_eq!(request.method(), "POST");
                let number = {
                    let mut posts = posts.lock().unwrap();
                    posts.push(Post {
                        url: request.uri().to_string(),
                        headers: request.headers().clone(),
                        body: String::from_utf8(request.body().to_bytes().to_vec()).unwrap(),
                    });
                    posts.len()
                };
                tokio::time::sleep(Duration::from_millis(50)).await;
                answer(number)
            }
        });
        CredentialFile::new(options, endpoint)
    }

    fn posts(&self) -> usize {
        self.posts.lock().unwrap().len()
    }

    /// A source whose endpoint gives the tokens `a1` and `r1`, `a2` and `r2`, …, each good for an hour.
    fn source(&self) -> CredentialFile {
        self.source_with(self.options(), granted)
    }
}

fn millis(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn granted(number: usize) -> Result<Response<ReplayBody>, String> {
    Ok(json(&json!({
        "access_token": format!("a{number}"), "refresh_token": format!("r{number}"), "expires_in": 3600,
    })))
}

fn json(value: &Value) -> Response<ReplayBody> {
    Response::new(value.to_string().into())
}

fn status(status: u16, body: &'static str) -> Result<Response<ReplayBody>, String> {
    Ok(Response::builder().status(status).body(body.into()).unwrap())
}

/// What a request would be sent with: the token at hand, or one that is waited for.
async fn token(source: &CredentialFile) -> Result<String, CredentialError> {
    match source.current() {
        Some(credential) => Ok(credential.token().to_owned()),
        None => source.token().await.map(|credential| credential.token().to_owned()),
    }
}

async fn error(source: &CredentialFile) -> String {
    token(source).await.expect_err("no token").message().to_owned()
}

/// Lets the time pass after which a file is looked at again.
async fn next_look() {
    tokio::time::sleep(Duration::from_millis(1001)).await;
}

async fn all<T: Send + 'static>(futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}
