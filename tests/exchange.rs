//! A login whose long-lived token is exchanged for a short-lived one, as GitHub's is: over sockets, end to end.

mod support;

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use support::{Answer, Binary, Deployed, Gate, Received, Reply, Upstream, get, guard, post_json};
use tempfile::TempDir;
use tokio::task::JoinSet;

const LONG: &str = "canary-long";

/// A folder for the file of the login, the server of the exchange, and the provider.
struct Login {
    folder: TempDir,
    github: Upstream,
    copilot: Upstream,
}

impl Login {
    /// The exchange gives `canary-short-1`, `canary-short-2`, …; the provider takes the nth of them, `from` at the least.
    fn taking(from: usize) -> Self {
        let copilot = Upstream::start(move |request| match number(&request) {
            Some(number) if number >= from => Reply::chat("hello"),
            _ => Reply::error(401, "unauthorized", "IDE token expired"),
        });
        let (count, api) = (AtomicUsize::new(0), copilot.url("/api"));
        let github = Upstream::start(move |request| match request.path() {
            "/copilot_internal/user" => {
                assert_eq!(request.header("authorization"), Some("token canary-long"));
                Reply::json(200, &json!({ "quota_snapshots": { "premium_interactions": { "remaining": 7 } } }))
            }
            _ => granted(count.fetch_add(1, Ordering::SeqCst) + 1, &api),
        });
        Self::with(github, copilot)
    }

    fn with(github: Upstream, copilot: Upstream) -> Self {
        let login = Self { folder: tempfile::tempdir().expect("a folder"), github, copilot };
        login.write(LONG);
        login
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("apps.json")
    }

    fn write(&self, token: &str) {
        let apps = json!({ "github.com:Iv1.b507": { "user": "me", "oauth_token": token, "githubAppId": "Iv1.b507" } });
        fs::write(self.path(), apps.to_string()).expect("a file");
    }

    fn config(&self, condition: &str) -> String {
        format!(
            "models: [{{ name: m, providers: [{{ provider: copilot, model: gpt, condition: \"{condition}\" }}] }}]\n\
             backends:\n  copilot:\n    type: openai\n    base_url: \"{}/unused\"\n    credentials_path: \"{}\"\n    \
             oauth:\n      fields: {{ access: \"/github.com:*/oauth_token\" }}\n      \
             exchange: {{ url: \"{}\", auth: {{ scheme: token }}, fields: {{ endpoint: /endpoints/api }}, \
             expiry: {{ field: /expires_at, unit: s }}, headers: {{ x-more: canary-header }} }}\n      \
             allow_hosts: [127.0.0.1]\n      remedy: sign in to the editor\n    \
             quota: {{ url: \"{}\" }}\n",
            self.copilot.url(""),
            self.path().display(),
            self.github.url("/copilot_internal/v2/token"),
            self.github.url("/copilot_internal/user"),
        )
        // The quota is GitHub's, and asked for in its form.
        .replace("type: openai\n", "type: openai\n    auth: { scheme: token }\n")
    }

    fn deploy(&self) -> Deployed {
        Deployed::start(&self.config("error_count < 1000"))
    }

    fn exchanges(&self) -> Vec<Received> {
        let asked = self.github.requests();
        asked.into_iter().filter(|request| request.path() == "/copilot_internal/v2/token").collect()
    }
}

/// The number of the short-lived token that a request carries.
fn number(request: &Received) -> Option<usize> {
    request.header("authorization")?.strip_prefix("Bearer canary-short-")?.parse().ok()
}

fn granted(number: usize, api: &str) -> Reply {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let token = format!("canary-short-{number}");
    Reply::json(200, &json!({ "token": token, "expires_at": now + 1800, "endpoints": { "api": api }, "sku": "free" }))
}

fn code(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["error"]["code"].clone())
}

#[tokio::test]
async fn the_token_is_exchanged_and_the_request_goes_where_it_says() {
    let login = Login::taking(1);
    let gateway = login.deploy();
    for _ in 0..3 {
        let answer = gateway.chat("m").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let exchanges = login.exchanges();
    assert_eq!(exchanges.len(), 1);
    let asked = &exchanges[0];
    assert_eq!((asked.method.as_str(), asked.header("authorization")), ("GET", Some("token canary-long")));
    assert_eq!((asked.header("accept"), asked.header("x-more")), (Some("application/json"), Some("canary-header")));
    assert!(asked.header("user-agent").is_some_and(|name| name.starts_with("pointsman/")));
    let served = login.copilot.requests();
    assert_eq!(served.len(), 3);
    for request in served {
        assert_eq!((request.path(), number(&request)), ("/api/chat/completions", Some(1)));
        assert!(!format!("{request:?}").contains(LONG), "the provider does not see the login's own token");
    }
    assert!(fs::read_to_string(login.path()).expect("a file").contains(LONG));
    assert!(!fs::read_to_string(login.path()).expect("a file").contains("canary-short"), "it is never written");
}

#[tokio::test]
async fn many_requests_at_a_time_are_one_exchange() {
    let gate = Gate::new();
    let copilot = Upstream::always(Reply::chat("hello"));
    let (held, api) = (gate.clone(), copilot.url("/api"));
    let github = Upstream::start(move |_| granted(1, &api).held_by(&held));
    let login = Login::with(github, copilot);
    let gateway = login.deploy();
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let addr = gateway.addr();
        tasks.spawn(async move { post_json(addr, "/v1/chat/completions", &json!({ "model": "m" }), &[]).await.status });
    }
    login.github.wait_for(1).await;
    gate.open();
    while let Some(status) = guard("the answers", tasks.join_next()).await {
        assert_eq!(status.expect("no panic"), 200);
    }
    assert_eq!((login.exchanges().len(), login.copilot.requests().len()), (1, 200));
}

#[tokio::test]
async fn a_token_that_the_provider_refuses_is_exchanged_anew() {
    let login = Login::taking(2);
    let gateway = login.deploy();
    assert_eq!(gateway.chat("m").await.status, 200);
    assert_eq!(gateway.chat("m").await.status, 200);
    let numbers: Vec<_> = login.copilot.requests().iter().map(number).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(2)]);
    assert_eq!((login.exchanges().len(), gateway.errors("copilot")), (2, 0));
}

#[tokio::test]
async fn a_second_refusal_goes_up() {
    let login = Login::taking(usize::MAX);
    let answer = login.deploy().chat("m").await;
    assert_eq!(code(&answer), (401, json!("unauthorized")));
    assert_eq!(login.copilot.requests().len(), 2);
}

#[tokio::test]
async fn a_login_without_access_is_told_with_the_remedy() {
    for (status, says) in
        [(401, "refuses the login's token"), (403, "may not have access"), (404, "may not have access")]
    {
        let copilot = Upstream::script([]);
        let github = Upstream::always(Reply::json(status, &json!({ "message": "canary-echo" })));
        let login = Login::with(github, copilot);
        let gateway = login.deploy();
        for _ in 0..3 {
            let answer = gateway.chat("m").await;
            assert_eq!(code(&answer), (401, json!("oauth_credentials_invalid")));
            let text = answer.text();
            assert!(
                text.contains(says) && text.contains("sign in to the editor") && !text.contains("canary"),
                "{text}"
            );
        }
        assert_eq!(login.exchanges().len(), 1, "it is not asked for over and over");
        let health = get(gateway.addr(), "/health", &[]).await;
        assert!(health.json()["credential_problems"]["copilot"].as_str().is_some_and(|problem| problem.contains(says)));
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_a_503_with_a_time_to_come_back() {
    let login = Login::with(Upstream::always(Reply::error(500, "oops", "canary")), Upstream::script([]));
    let answer = login.deploy().chat("m").await;
    assert_eq!(code(&answer), (503, json!("oauth_refresh_failed")));
    assert!(answer.header("retry-after").is_some() && !answer.text().contains("canary"), "{}", answer.text());
}

#[tokio::test]
async fn an_endpoint_elsewhere_gets_no_token() {
    let copilot = Upstream::script([]);
    let login = Login::with(Upstream::start(|_| granted(1, "https://canary.example")), copilot);
    let answer = login.deploy().chat("m").await;
    assert_eq!(code(&answer), (401, json!("oauth_credentials_invalid")));
    assert!(
        answer.text().contains("not among those allowed") && !answer.text().contains("canary"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_file_that_comes_later_is_taken_without_a_restart() {
    let login = Login::taking(1);
    fs::remove_file(login.path()).expect("it was there");
    let gateway = login.deploy();
    let answer = gateway.chat("m").await;
    assert_eq!(code(&answer), (401, json!("oauth_credentials_invalid")));
    assert!(answer.text().contains("apps.json does not exist; sign in to the editor"), "{}", answer.text());
    assert!(login.exchanges().is_empty());
    login.write(LONG);
    guard("the file to be seen", async {
        while gateway.chat("m").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_quota_is_asked_for_with_the_login_s_own_token() {
    let login = Login::taking(1);
    let open = Deployed::start(&login.config("quota.quota_snapshots.premium_interactions.remaining > 6"));
    assert_eq!(open.chat("m").await.status, 200);
    let closed = Deployed::start(&login.config("quota.quota_snapshots.premium_interactions.remaining > 7"));
    assert_eq!(code(&closed.chat("m").await), (503, json!("no_eligible_provider")));
    let asked = login.github.requests();
    assert_eq!(asked.iter().filter(|request| request.path() == "/copilot_internal/user").count(), 2);
}

#[tokio::test]
async fn no_token_is_in_the_log_nor_in_answers() {
    let login = Login::taking(2);
    let running = Binary::new(["--port", "0", "--config", "c.yaml"])
        .env("POINTSMAN_LOG", "trace")
        .file("c.yaml", login.config("error_count < 1000"))
        .start();
    let answer = post_json(running.listening().await, "/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(login.exchanges().len(), 2);
    let log = format!("{}{}", running.stdout(), running.stderr());
    assert!(log.contains("exchanged the token") && !log.contains("canary"), "{log}");
    assert!(!format!("{:?}{}", answer.headers, answer.text()).contains("canary"));
}

#[tokio::test]
async fn the_login_is_listed_with_its_exchange() {
    let login = Login::taking(1);
    let listed =
        Binary::new(["credentials", "--config", "c.yaml"]).file("c.yaml", login.config("error_count < 9")).run().await;
    assert!(listed.stdout.contains("exchange: at 127.0.0.1"), "{}", listed.stdout);
    assert!(!listed.stdout.contains("canary") && login.exchanges().is_empty(), "{}", listed.stdout);
}

#[tokio::test]
async fn the_preset_of_github_s_login_is_such_a_backend_behind_its_terms() {
    let login = Login::taking(2);
    let config = |more: &str| {
        format!(
            "models:\n  - name: m\n    providers:\n      - provider: GithubCopilot\n        model: gpt-4.1\n        \
             condition: quota.quota_snapshots.premium_interactions.remaining > 0\n\
             backends:\n  github-copilot:\n    {more}\n    credentials_path: \"{}\"\n    base_url: \"{}\"\n    \
             oauth: {{ exchange: {{ url: \"{}\" }}, allow_hosts: [127.0.0.1] }}\n    quota: {{ url: \"{}\" }}\n",
            login.path().display(),
            login.copilot.url(""),
            login.github.url("/copilot_internal/v2/token"),
            login.github.url("/copilot_internal/user"),
        )
    };
    let answer = Deployed::start(&config("accept_terms: true")).chat("m").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(login.copilot.requests().iter().map(number).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!((login.exchanges().len(), login.github.requests().len()), (2, 3));
    let answer = Deployed::start(&config("accept_terms: false")).chat("m").await;
    assert_eq!(code(&answer), (503, json!("no_eligible_provider")));
    assert!(answer.text().contains("accept_terms: true"), "{}", answer.text());
    assert_eq!(login.github.requests().len(), 3, "nothing is asked for");
}
