//! What becomes of the credential file while a process serves: it recovers by itself, and says what is wrong meanwhile.

use std::{
    fs::{self, File},
    net::SocketAddr,
    time::SystemTime,
};

use serde_json::{Value, json};

use crate::{
    Login, OPEN, Shared, question, set, shared,
    support::{Answer, Binary, Running, get, guard, post_json},
    takes_that_in,
};

/// A gateway in a process of its own, and the token that the provider takes.
struct Serving {
    login: Login,
    taken: Shared<&'static str>,
    addr: SocketAddr,
    running: Running,
}

impl Serving {
    /// With this content of the file.
    async fn start(content: Option<&str>) -> Self {
        let taken = shared("first");
        let login = Login::new(takes_that_in(&taken));
        if let Some(content) = content {
            fs::write(login.path(), content).expect("a file");
        }
        let running = Binary::new(["--port", "0", "-c", "c.yaml", OPEN]).file("c.yaml", login.config("")).start();
        Self { addr: running.listening().await, login, taken, running }
    }

    fn write(&self, content: &str) {
        fs::write(self.login.path(), content).expect("a file");
    }

    async fn ask(&self) -> Answer {
        post_json(self.addr, "/v1/chat/completions", &question("qwen-plus"), &[]).await
    }

    async fn health(&self) -> Value {
        let health = get(self.addr, "/health", &[]).await;
        assert_eq!(health.status, 200);
        health.json()
    }

    async fn serves(&self) {
        let answer = self.ask().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(self.health().await, json!({ "status": "ok" }));
    }

    /// The client is told what is wrong with which file, and the remedy; so are the log and whoever asks for the health.
    async fn tells(&self, wrong: &str) {
        let answer = self.ask().await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["code"]), (401, &json!("oauth_credentials_invalid")), "{error}");
        let path = self.login.path();
        let sentence =
            format!("the credential file {} {wrong}; run `qwen auth` or `pointsman login qwen-oauth`", path.display());
        assert_eq!(error["message"], sentence);
        assert_eq!(self.health().await["credential_problems"], json!({ "qwen-oauth": sentence }));
        self.running.line(&sentence).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let asked = self.login.tokens.requests().len();
        assert!(asked == 0 || std::thread::panicking(), "no token had to be renewed");
    }
}

fn holding(token: &str) -> String {
    json!({ "access_token": token, "refresh_token": "unused" }).to_string()
}

#[tokio::test]
async fn one_that_is_missing_at_the_start_may_come_later() {
    let gateway = Serving::start(None).await;
    gateway.tells("does not exist").await;
    gateway.write(&holding("first"));
    // It is looked at once a second.
    guard("the file to be looked at", async { while gateway.ask().await.status != 200 {} }).await;
    gateway.serves().await;
}

#[tokio::test]
async fn one_that_is_replaced_by_rename_is_taken_at_the_next_refusal() {
    let gateway = Serving::start(Some(&holding("first"))).await;
    gateway.serves().await;
    for token in ["again", "third"] {
        let other = gateway.login.folder.path().join("other");
        fs::write(&other, holding(token)).expect("a file");
        // An older one, of the same length.
        let opened = File::options().write(true).open(&other).expect("it opens");
        opened.set_modified(SystemTime::UNIX_EPOCH).expect("a time");
        fs::rename(&other, gateway.login.path()).expect("it is moved");
        set(&gateway.taken, token);
        gateway.serves().await;
    }
}

#[tokio::test]
async fn one_that_is_truncated_and_rewritten_keeps_its_last_token_in_use() {
    let gateway = Serving::start(Some(&holding("first"))).await;
    gateway.serves().await;
    gateway.write("");
    guard("the file to be looked at", async {
        while gateway.health().await == json!({ "status": "ok" }) {
            assert_eq!(gateway.ask().await.status, 200, "the token is still good");
        }
    })
    .await;
    set(&gateway.taken, "second");
    gateway.tells("is empty").await;
    let whole = holding("second");
    gateway.write(&whole[..whole.len() / 2]);
    gateway.tells("ends in the middle of its JSON").await;
    gateway.write(&whole);
    gateway.serves().await;
}

#[tokio::test]
async fn one_that_cannot_be_read_may_become_a_file_again() {
    let gateway = Serving::start(Some(&holding("first"))).await;
    gateway.serves().await;
    let path = gateway.login.path();
    fs::remove_file(&path).expect("it is removed");
    set(&gateway.taken, "second");
    gateway.tells("does not exist").await;
    fs::create_dir(&path).expect("a folder");
    gateway.tells("cannot be read: it is not a regular file").await;
    fs::remove_dir(&path).expect("it is removed");
    gateway.write(&holding("second"));
    gateway.serves().await;
}
