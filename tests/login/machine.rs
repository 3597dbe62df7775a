use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use pointsman_layers::oauth::Fingerprint;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Binary, Finished, Received, Reply, Running, Upstream};

pub(crate) const ACCESS: &str = "canary-access-7d1c";
pub(crate) const REFRESH: &str = "canary-refresh-7d1c";
pub(crate) const DEVICE: &str = "canary-device-7d1c";

/// A login server: the device endpoint gives a code, and the token endpoint these replies, the last one for ever.
pub(crate) fn server(replies: impl IntoIterator<Item = Reply>) -> Upstream {
    let mut replies: Vec<Reply> = replies.into_iter().collect();
    replies.reverse();
    let replies = Mutex::new(replies);
    Upstream::start(move |request| match request.path() {
        "/device" => Reply::json(
            200,
            &json!({
                "device_code": DEVICE, "user_code": "WDJB-MJHT", "verification_uri": "https://login.example/go",
                "verification_uri_complete": "https://login.example/go?code=WDJB-MJHT", "expires_in": 600, "interval": 0,
            }),
        ),
        _ => {
            let mut replies = replies.lock().unwrap();
            if replies.len() > 1 { replies.pop().unwrap() } else { replies[0].clone() }
        }
    })
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    Reply::json(status, &json!({"error": code, "error_description": "what the server says"}))
}

pub(crate) fn granted() -> Reply {
    Reply::json(
        200,
        &json!({
            "access_token": ACCESS, "refresh_token": REFRESH, "token_type": "Bearer", "expires_in": 21_630,
            "resource_url": "portal.vendor.example", "scope": "not kept",
        }),
    )
}

/// A folder with a configuration whose backend `vendor` logs in at `server`.
pub(crate) struct Machine {
    pub(crate) folder: TempDir,
}

impl Machine {
    pub(crate) fn new(server: &Upstream) -> Self {
        Self::with(&format!(
            "      refresh: {{ url: '{}', client_id: me }}\n      login: {{ url: '{}', scope: openid email }}\n",
            server.url("/token"),
            server.url("/device"),
        ))
    }

    /// With these further lines in `oauth`.
    pub(crate) fn with(oauth: &str) -> Self {
        let machine = Self { folder: TempDir::new().unwrap() };
        let config = format!(
            r"
models:
  - name: small
    providers:
      - {{ provider: vendor, model: any }}
backends:
  vendor:
    type: openai
    base_url: http://127.0.0.1:9/v1
    oauth:
      path: login/creds.json
      fields: {{ endpoint: /resource_url }}
      expiry: {{ field: /expiry_date, unit: ms }}
      allow_hosts: [portal.vendor.example]
      lock: {{ path: login/creds.lock }}
      remedy: run `vendor login`
{oauth}
  plain: {{ type: openai, base_url: 'http://127.0.0.1:9/v1' }}
"
        );
        fs::write(machine.folder.path().join("config.yaml"), config).unwrap();
        machine
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("login/creds.json")
    }

    pub(crate) fn write(&self, content: &Value) {
        fs::create_dir_all(self.folder.path().join("login")).unwrap();
        fs::write(self.path(), content.to_string()).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn read(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).unwrap()).unwrap()
    }

    /// The binary with these arguments, logging all that it can.
    pub(crate) fn binary(&self, args: &[&str]) -> Binary {
        let config = self.folder.path().join("config.yaml");
        Binary::new(args).env("POINTSMAN_CONFIG", config).env("POINTSMAN_LOG", "trace")
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Finished {
        shown(self.binary(args).run().await)
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.binary(args).start()
    }

    /// What is printed to standard output, by a run that succeeds.
    pub(crate) async fn says(&self, args: &[&str]) -> String {
        let run = self.run(args).await;
        assert!(run.status.success(), "{run:#?}");
        run.stdout
    }

    /// What is printed to standard error, the log left out, by a run that fails.
    pub(crate) async fn fails(&self, args: &[&str]) -> String {
        let run = self.run(args).await;
        assert_eq!(run.status.code(), Some(1), "{run:#?}");
        let error = run.stderr.find("error: ").unwrap_or_else(|| panic!("an error: {run:#?}"));
        run.stderr[error..].to_owned()
    }
}

/// A run whose output holds no secret.
pub(crate) fn shown(run: Finished) -> Finished {
    for secret in [ACCESS, REFRESH, DEVICE] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{run:#?}");
    }
    run
}

pub(crate) fn form(request: &Received) -> HashMap<String, String> {
    form_urlencoded::parse(&request.body).into_owned().collect()
}

pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(crate) fn millis_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() + seconds * 1000
}

pub(crate) fn fingerprint() -> String {
    Fingerprint::of(ACCESS.as_bytes()).to_string()
}
