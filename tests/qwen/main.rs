//! The qwen-oauth backend as a whole: its gate, its credential file, the hold at a rate limit, over sockets.

mod changes;
mod gate;
mod hold;
mod killed;
mod processes;
mod requests;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod tokens;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use serde_json::{Value, json};
use support::{Deployed, Received, Reply, Upstream};
use tempfile::TempDir;

const OLD: &str = "canary-old-access";
const NEW: &str = "canary-new-access";
const REFRESH: &str = "canary-refresh";

/// The flag that opens the gate.
const OPEN: &str = "--enable-qwen-oauth-backend-debugging-override";

/// `extra` that opens the gate, and holds no request for long.
const OPEN_AND_QUICK: &str = "enable_qwen_oauth_backend_debugging_override: true, \
     qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 0.05, \
     qwen_oauth_initial_rate_limit_retry_random_min_seconds: 0.0, \
     qwen_oauth_initial_rate_limit_retry_random_max_seconds: 0.05";

/// A folder with a credential file, a token server and an upstream.
struct Login {
    folder: TempDir,
    tokens: Upstream,
    upstream: Upstream,
}

impl Login {
    fn new(upstream: Upstream) -> Self {
        let granted = json!({ "access_token": NEW, "refresh_token": "canary-next", "expires_in": 3600 });
        Self::with_tokens(upstream, Upstream::always(Reply::json(200, &granted)))
    }

    fn with_tokens(upstream: Upstream, tokens: Upstream) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), tokens, upstream }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("oauth_creds.json")
    }

    /// Writes the file, its token good for so many seconds from now.
    fn write(&self, seconds: i64) {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
        let expires = i64::try_from(now).expect("before the year 292 million") + seconds * 1000;
        let file = json!({
            "access_token": OLD, "refresh_token": REFRESH, "token_type": "Bearer", "expiry_date": expires,
            "mine": { "kept": true },
        });
        fs::write(self.path(), file.to_string()).expect("a file");
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).expect("rights");
    }

    fn file(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).expect("a file")).expect("whole JSON")
    }

    /// The configuration, with more under `extra`.
    fn config(&self, extra: &str) -> String {
        format!(
            "default_backend: qwen-oauth\n\
             backends:\n  qwen-oauth:\n    base_url: \"{}/v1\"\n    credentials_path: \"{}\"\n    \
             oauth: {{ refresh: {{ url: \"{}\" }}, allow_hosts: [127.0.0.1] }}\n    extra: {{ {extra} }}\n",
            self.upstream.url(""),
            self.path().display(),
            self.tokens.url("/token"),
        )
    }

    fn deploy(&self) -> Deployed {
        Deployed::start(&self.config(OPEN_AND_QUICK))
    }
}

/// An upstream that takes no token but this one.
fn takes(token: &'static str) -> Upstream {
    takes_that_in(&shared(token))
}

/// An upstream that takes no token but the one in there.
fn takes_that_in(token: &Shared<&'static str>) -> Upstream {
    let token = token.clone();
    Upstream::start(move |request: Received| match request.header("authorization") {
        Some(given) if given == format!("Bearer {}", value(&token)) => Reply::chat("你好"),
        _ => Reply::error(401, "invalid_token", "the token is no good"),
    })
}

/// A value that a script reads and the test changes.
type Shared<T> = Arc<Mutex<T>>;

fn shared<T>(value: T) -> Shared<T> {
    Arc::new(Mutex::new(value))
}

fn set<T>(shared: &Shared<T>, value: T) {
    *shared.lock().expect("nothing panics under the lock") = value;
}

fn value<T: Clone>(shared: &Shared<T>) -> T {
    shared.lock().expect("nothing panics under the lock").clone()
}

fn question(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "请解释一下Python的装饰器" }] })
}
