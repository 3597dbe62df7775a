//! The qwen-oauth backend as a whole: its gate, its credential file, the hold at a rate limit, over sockets.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::SystemTime};

use serde_json::{Value, json};
use support::{Binary, Deployed, Gate, Received, Reply, Upstream, guard, post_json};
use tempfile::TempDir;
use tokio::task::JoinSet;

const OLD: &str = "canary-old-access";
const NEW: &str = "canary-new-access";
const REFRESH: &str = "canary-refresh";

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
        Deployed::start(&self.config(
            "enable_qwen_oauth_backend_debugging_override: true, \
             qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 0.05, \
             qwen_oauth_initial_rate_limit_retry_random_min_seconds: 0.0, \
             qwen_oauth_initial_rate_limit_retry_random_max_seconds: 0.05",
        ))
    }
}

/// An upstream that takes no token but this one.
fn takes(token: &'static str) -> Upstream {
    Upstream::start(move |request: Received| match request.header("authorization") {
        Some(given) if given == format!("Bearer {token}") => Reply::chat("你好"),
        _ => Reply::error(401, "invalid_token", "the token is no good"),
    })
}

mod the_gate {
    use super::*;

    #[tokio::test]
    async fn a_closed_one_is_a_403_that_names_the_flag() {
        let login = Login::new(takes(OLD));
        login.write(3600);
        let gateway = Deployed::start(&login.config(""));
        let answer = gateway.chat("qwen3-coder-plus").await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("backend_disabled")));
        assert!(answer.text().contains("--enable-qwen-oauth-backend-debugging-override"), "{}", answer.text());
        assert!(login.upstream.requests().is_empty() && login.tokens.requests().is_empty());
    }

    #[tokio::test]
    async fn a_candidate_behind_a_closed_one_is_skipped() {
        let login = Login::new(takes(OLD));
        let other = Upstream::always(Reply::chat("other"));
        let config = login.config("").replace("default_backend: qwen-oauth\n", "")
            + &format!("  other: {{ type: openai, base_url: \"{}\" }}\n", other.url("/v1"))
            + "models: [{ name: m, providers: [{ provider: QwenCode }, { provider: other }] }]\n";
        let answer = Deployed::start(&config).chat("m").await;
        assert_eq!((answer.status, answer.header("x-pointsman-provider")), (200, Some("other")));
        assert!(login.upstream.requests().is_empty());
    }

    #[tokio::test]
    async fn the_flag_opens_it_and_says_the_notice_once() {
        let login = Login::new(takes(OLD));
        login.write(3600);
        let flags = ["--port", "0", "--config", "c.yaml", "--enable-qwen-oauth-backend-debugging-override"];
        let running = Binary::new(flags).env("POINTSMAN_LOG", "trace").file("c.yaml", login.config("")).start();
        let answer = post_json(running.listening().await, "/v1/chat/completions", &question("qwen-plus"), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let log = format!("{}{}", running.stdout(), running.stderr());
        assert_eq!(log.matches("not affiliated").count(), 1, "{log}");
        assert!(!log.contains("canary"), "a token is in the log");
    }

    #[tokio::test]
    async fn an_open_one_is_for_this_machine_alone() {
        let login = Login::new(takes(OLD));
        let flags =
            ["--port", "0", "-c", "c.yaml", "--host", "0.0.0.0", "--enable-qwen-oauth-backend-debugging-override"];
        let refused = Binary::new(flags).env("POINTSMAN_API_KEYS", "k").file("c.yaml", login.config("")).run().await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stderr.contains("for this machine alone"), "{}", refused.stderr);
    }

    #[tokio::test]
    async fn the_default_backend_needs_no_file() {
        let running = Binary::new(["--port", "0", "--default-backend", "qwen-oauth"]).start();
        let answer = post_json(running.listening().await, "/v1/chat/completions", &question("qwen-plus"), &[]).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("backend_disabled")));
    }
}

fn question(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "请解释一下Python的装饰器" }] })
}

mod requests {
    use super::*;

    #[tokio::test]
    async fn one_carries_the_token_of_the_file_and_the_headers_of_the_backend() {
        let login = Login::new(takes(OLD));
        login.write(3600);
        let gateway = login.deploy();
        let client_key = [("authorization", "Bearer client"), ("x-api-key", "client")];
        let answer = post_json(gateway.addr(), "/v1/chat/completions", &question("qwen/qwen-max"), &client_key).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "你好");
        let sent = login.upstream.request();
        assert_eq!(sent.json()["model"], "qwen-max");
        assert_eq!(sent.json()["messages"], question("")["messages"]);
        assert_eq!((sent.header("x-dashscope-authtype"), sent.header("x-api-key")), (Some("qwen-oauth"), None));
        assert!(login.tokens.requests().is_empty());
    }

    #[tokio::test]
    async fn the_endpoint_of_the_file_goes_before_the_backend_s() {
        let elsewhere = takes(OLD);
        let login = Login::new(Upstream::always(Reply::error(500, "x", "the wrong server")));
        login.write(3600);
        let mut file = login.file();
        file["resource_url"] = elsewhere.url("").into();
        fs::write(login.path(), file.to_string()).expect("a file");
        assert_eq!(login.deploy().chat("qwen-plus").await.status, 200);
        assert_eq!(elsewhere.request().path(), "/v1/chat/completions");
        assert!(login.upstream.requests().is_empty());
    }

    #[tokio::test]
    async fn a_character_split_across_chunks_arrives_byte_for_byte() {
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"装饰器\"}}]}\n\n".as_bytes();
        // In the middle of a character of three bytes.
        let cut = event.windows(3).position(|bytes| bytes == "饰".as_bytes()).expect("it is there") + 1;
        let reply = Reply::sse().data(event[..cut].to_vec()).data(event[cut..].to_vec()).done();
        let login = Login::new(Upstream::always(reply));
        login.write(3600);
        let answer = login.deploy().stream("qwen-plus").await;
        assert!(answer.body.starts_with(event) && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    }
}

mod tokens {
    use super::*;

    #[tokio::test]
    async fn an_expired_one_is_renewed_once_for_all_requests() {
        let login = Login::new(takes(NEW));
        login.write(-5);
        let gateway = login.deploy();
        let addr = gateway.addr();
        let mut requests = JoinSet::new();
        for _ in 0..100 {
            requests.spawn(async move { post_json(addr, "/v1/chat/completions", &question("qwen-plus"), &[]).await });
        }
        for answer in requests.join_all().await {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(!answer.text().contains("canary") && !format!("{:?}", answer.headers).contains("canary"));
        }
        let asked = login.tokens.request();
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(form.contains("grant_type=refresh_token") && form.contains(REFRESH), "{form}");
        let file = login.file();
        assert_eq!((&file["access_token"], &file["refresh_token"]), (&json!(NEW), &json!("canary-next")));
        assert_eq!(file["mine"], json!({ "kept": true }));
        let mode = fs::metadata(login.path()).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_refused_one_is_renewed_and_the_request_sent_once_more() {
        let login = Login::new(takes(NEW));
        login.write(3600);
        assert_eq!(login.deploy().chat("qwen-plus").await.status, 200);
        assert_eq!((login.upstream.requests().len(), login.tokens.requests().len()), (2, 1));
    }

    #[tokio::test]
    async fn a_second_refusal_goes_up() {
        let login = Login::new(takes("neither"));
        login.write(3600);
        let answer = login.deploy().chat("qwen-plus").await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("invalid_token")));
        assert_eq!((login.upstream.requests().len(), login.tokens.requests().len()), (2, 1));
    }

    #[tokio::test]
    async fn a_dead_refresh_token_is_a_401_with_the_remedy_and_is_not_sent_again() {
        let html = Reply::body(400, "text/html", "<html>canary</html>");
        let login = Login::with_tokens(takes(NEW), Upstream::always(html));
        login.write(-5);
        let gateway = login.deploy();
        for _ in 0..2 {
            let answer = gateway.chat("qwen-plus").await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("oauth_credentials_invalid")));
            assert!(answer.text().contains("qwen auth") && !answer.text().contains("canary"), "{}", answer.text());
        }
        assert_eq!(login.tokens.requests().len(), 1);
        assert_eq!(login.file()["refresh_token"], REFRESH);
    }

    #[tokio::test]
    async fn a_malformed_file_is_told_and_a_good_one_is_taken_without_a_restart() {
        let login = Login::new(takes(OLD));
        let gateway = login.deploy();
        for (content, words) in [
            (None, "oauth_creds.json"),
            (Some("[]"), "oauth_creds.json"),
            (Some(r#"{"refresh_token": "canary"}"#), "access_token"),
        ] {
            if let Some(content) = content {
                fs::write(login.path(), content).expect("a file");
            }
            let told = guard("the file to be looked at", async {
                loop {
                    let answer = gateway.chat("qwen-plus").await;
                    assert_eq!(answer.status, 401, "{}", answer.text());
                    if answer.text().contains(words) {
                        return answer;
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(told.json()["error"]["code"], "oauth_credentials_invalid");
            assert!(!told.text().contains("canary"), "{}", told.text());
        }
        login.write(3600);
        guard("the good file to be taken", async {
            while gateway.chat("qwen-plus").await.status != 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

mod a_process_that_is_killed {
    use super::*;

    /// What the file may hold at any time: the old tokens or the new ones, whole.
    fn is_valid(file: &Value) -> bool {
        let tokens = (&file["access_token"], &file["refresh_token"]);
        let known = [(&json!(OLD), &json!(REFRESH)), (&json!(NEW), &json!("canary-next"))].contains(&tokens);
        known && file["mine"] == json!({ "kept": true })
    }

    #[tokio::test]
    async fn leaves_a_whole_file_at_every_step_of_a_renewal() {
        for round in 0..6 {
            let gate = Gate::new();
            let held = gate.clone();
            let granted = json!({ "access_token": NEW, "refresh_token": "canary-next", "expires_in": 3600 });
            let tokens = Upstream::start(move |_| Reply::json(200, &granted).held_by(&held));
            let login = Login::with_tokens(takes(NEW), tokens);
            login.write(-5);
            // The lock of a process that was killed is stale soon.
            let stale = format!(
                "lock: {{ path: \"{}\", stale: 0.2 }}, allow_hosts",
                login.path().with_extension("lock").display()
            );
            let config = login.config("").replace("allow_hosts", &stale);
            let serve = || {
                let flag = "--enable-qwen-oauth-backend-debugging-override";
                Binary::new(["--port", "0", "-c", "c.yaml", flag]).file("c.yaml", &config).start()
            };

            let killed = serve();
            let addr = killed.listening().await;
            let mut client = support::Client::connect(addr).await;
            client.post("/v1/chat/completions", &question("qwen-plus"), &[]).await;
            login.tokens.wait_for(1).await;
            if round > 0 {
                // The answer is on its way, and the process is killed a little later each time.
                gate.open();
                let writes = || fs::read_dir(login.folder.path()).expect("a folder").count();
                for _ in 0..(round - 1) * 80 {
                    writes();
                    tokio::task::yield_now().await;
                }
            }
            drop(killed);
            assert!(is_valid(&login.file()), "round {round}: {}", login.file());

            gate.open();
            let again = serve();
            let answer = post_json(again.listening().await, "/v1/chat/completions", &question("qwen-plus"), &[]).await;
            assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
            assert_eq!(login.file()["access_token"], NEW);
        }
    }
}

mod the_hold {
    use super::*;

    fn limited() -> Reply {
        Reply::error(429, "rate_limit", "slow down").header("retry-after", "0")
    }

    #[tokio::test]
    async fn a_first_429_is_held_and_the_client_sees_none() {
        let login = Login::new(Upstream::script([limited(), Reply::chat("after all")]));
        login.write(3600);
        let gateway = login.deploy();
        let answer = gateway.chat("qwen-plus").await;
        assert_eq!((answer.status, answer.header("x-pointsman-attempts")), (200, Some("1")));
        assert_eq!((login.upstream.requests().len(), gateway.errors("qwen-oauth")), (2, 0));
    }

    #[tokio::test]
    async fn a_second_429_goes_up_as_it_came() {
        let second = Reply::error(429, "rate_limit", "still too fast").header("retry-after", "17");
        let login = Login::new(Upstream::script([limited(), second]));
        login.write(3600);
        let gateway = login.deploy();
        let answer = gateway.chat("qwen-plus").await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("17")));
        assert_eq!(answer.json()["error"]["message"], "still too fast");
        assert_eq!(gateway.errors("qwen-oauth"), 1);
    }

    #[tokio::test]
    async fn a_stream_that_begins_with_a_throttle_error_is_held() {
        let throttled = Reply::sse().event(r#"{"error":{"code":"Throttling.RateQuota","message":"too fast"}}"#).done();
        let login = Login::new(Upstream::script([throttled, Reply::chat_stream(["a", "b"])]));
        login.write(3600);
        let answer = login.deploy().stream("qwen-plus").await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains("Throttling") && answer.text().ends_with("[DONE]\n\n"), "{}", answer.text());
        assert_eq!(login.upstream.requests().len(), 2);
    }

    #[tokio::test]
    async fn what_waiting_does_not_heal_is_not_held() {
        for reply in
            [Reply::error(400, "bad", "no"), Reply::error(429, "insufficient_quota", "Free allocated quota exceeded.")]
        {
            let login = Login::new(Upstream::script([reply]));
            login.write(3600);
            assert_ne!(login.deploy().chat("qwen-plus").await.status, 200);
            assert_eq!(login.upstream.requests().len(), 1);
        }
    }
}
