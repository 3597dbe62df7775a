//! What a backend says of its login and of its rate limit, and what becomes of it.

use std::{path::Path, time::Duration};

use pointsman::{
    config::{Backend, Config, OAuth},
    provider::presets::AuthForm,
};
use pointsman_layers::{
    oauth::{Expiry, GrantEncoding, Mode},
    rate_limit_retry::{Policy, When},
};

use super::support::{config, load};

/// The backend of this line, loaded where `HOME` is `/home/me` and these variables are set.
fn backend_with(line: &str, variables: &[(&str, &str)]) -> Backend {
    let environment = |name: &str| match name {
        "HOME" => Some("/home/me".to_owned()),
        _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
    };
    let loaded = Config::from_yaml_with(&format!("backends: {{ {line} }}"), &environment);
    loaded.unwrap_or_else(|wrong| panic!("{wrong}")).config.backends.remove(0)
}

fn oauth(line: &str) -> OAuth {
    backend_with(line, &[]).oauth.unwrap()
}

#[test]
fn the_preset_has_all_that_its_login_needs() {
    let oauth = oauth("qwen-oauth: {}");
    assert_eq!(oauth.path, Path::new("/home/me/.qwen/oauth_creds.json"));
    assert_eq!(oauth.lock.as_deref(), Some(Path::new("/home/me/.qwen/oauth_creds.lock")));
    assert_eq!(oauth.lock_stale, Duration::from_secs(35));
    assert_eq!((oauth.access.as_str(), oauth.refresh.as_str()), ("/access_token", "/refresh_token"));
    assert_eq!(oauth.endpoint.as_deref(), Some("/resource_url"));
    assert_eq!(oauth.expiry, Expiry::Millis("/expiry_date".into()));
    assert_eq!(oauth.mode, Mode::OnDemand);
    assert_eq!(oauth.allow_hosts, ["portal.qwen.ai", "*.qwen.ai", "dashscope*.aliyuncs.com"]);
    assert!(oauth.remedy.contains("qwen auth"), "{}", oauth.remedy);
    let grant = oauth.grant.unwrap();
    assert_eq!(grant.token_url, "https://chat.qwen.ai/api/v1/oauth2/token");
    assert_eq!(grant.device_url.unwrap(), "https://chat.qwen.ai/api/v1/oauth2/device/code");
    assert_eq!(grant.client_id, "f0304373b74a44d2b584a3fb70ca9e56");
    assert_eq!(grant.scope.as_deref(), Some("openid profile email model.completion"));
    assert_eq!((grant.encoding, grant.fields), (GrantEncoding::Form, Vec::new()));

    let preset = backend_with("qwen-oauth: {}", &[]).preset.unwrap();
    assert_eq!(preset.model_prefix, Some("qwen/"));
    assert_eq!(preset.base_url, Some("https://portal.qwen.ai/v1"));
}

#[test]
fn the_preset_of_github_s_login_exchanges_its_token() {
    let login = oauth("github-copilot: {}");
    assert_eq!(login.path, Path::new("/home/me/.config/github-copilot/apps.json"));
    assert_eq!(login.access, "/github.com:*/oauth_token");
    assert_eq!((login.expiry, login.mode), (Expiry::None, Mode::ReadOnly));
    assert!(login.grant.is_none());
    assert_eq!(login.allow_hosts, ["api.githubcopilot.com", "api.*.githubcopilot.com"]);
    let exchange = login.exchange.unwrap();
    assert_eq!(exchange.url, "https://api.github.com/copilot_internal/v2/token");
    assert_eq!(exchange.auth, AuthForm::Scheme("token".into()));
    assert_eq!((exchange.access.as_str(), exchange.endpoint.as_deref()), ("/token", Some("/endpoints/api")));
    assert_eq!(exchange.expiry, Expiry::Seconds("/expires_at".into()));

    let other = oauth("github-copilot: { oauth: { exchange: { url: 'http://127.0.0.1:9/token' } } }").exchange.unwrap();
    assert_eq!((other.url.to_string().as_str(), other.access.as_str()), ("http://127.0.0.1:9/token", "/token"));
    assert!(oauth("github-copilot: { oauth: { exchange: false } }").exchange.is_none());
    assert!(backend_with("github-copilot: { api_key: k }", &[]).oauth.is_none(), "a key is used as it is");
}

#[test]
fn of_two_files_the_one_that_is_there_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/github-copilot");
    std::fs::create_dir_all(&folder).unwrap();
    let path = || {
        let environment = |name: &str| (name == "HOME").then(|| home.path().to_str().unwrap().to_owned());
        let loaded = Config::from_yaml_with("backends: { github-copilot: {} }", &environment);
        loaded.unwrap().config.backends.remove(0).oauth.unwrap().path
    };
    assert_eq!(path(), folder.join("apps.json"));
    std::fs::write(folder.join("hosts.json"), "{}").unwrap();
    assert_eq!(path(), folder.join("hosts.json"));
    std::fs::write(folder.join("apps.json"), "{}").unwrap();
    assert_eq!(path(), folder.join("apps.json"));
}

#[test]
fn an_exchange_of_one_s_own_is_as_the_block_says() {
    let exchange = oauth(
        "x: { base_url: 'https://h/v1', oauth: { path: f, exchange: { url: 'https://h/token', auth: { header: x-key }, \
         fields: { access: /a, endpoint: /e }, expiry: { unit: jwt }, headers: { x-more: canary } } } }",
    )
    .exchange
    .unwrap();
    assert_eq!(exchange.auth, AuthForm::Header("x-key".parse().unwrap()));
    assert_eq!((exchange.access.as_str(), exchange.endpoint.as_deref()), ("/a", Some("/e")));
    assert_eq!(exchange.expiry, Expiry::Jwt);
    assert_eq!(exchange.headers["x-more"], "canary");
    assert!(!format!("{exchange:?}").contains("canary"));
    let least = oauth("x: { base_url: 'https://h/v1', oauth: { path: f, exchange: { url: 'https://h/token' } } }");
    let least = least.exchange.unwrap();
    assert_eq!((least.auth, least.access.as_str(), least.expiry), (AuthForm::Bearer, "/token", Expiry::None));
}

#[test]
fn a_login_lies_where_the_strongest_word_says() {
    let paths = |line: &str, home: &str| {
        let oauth = backend_with(line, &[("QWEN_HOME", home)]).oauth.unwrap();
        let [path, lock] = [Some(oauth.path), oauth.lock].map(|path| path.unwrap().to_str().unwrap().to_owned());
        (path, lock)
    };
    let pair = |path: &str, lock: &str| (path.to_owned(), lock.to_owned());
    let home = pair("/home/me/.qwen/oauth_creds.json", "/home/me/.qwen/oauth_creds.lock");
    assert_eq!(paths("qwen-oauth: {}", ""), home);
    assert_eq!(paths("qwen-oauth: {}", "/q"), pair("/q/oauth_creds.json", "/q/oauth_creds.lock"));
    assert_eq!(paths("qwen-oauth: {}", "~/q"), pair("/home/me/q/oauth_creds.json", "/home/me/q/oauth_creds.lock"));
    // The lock goes with the file, unless it is told where to be.
    assert_eq!(paths("qwen-oauth: { oauth: { path: /a/f } }", "/q"), pair("/a/f", "/a/oauth_creds.lock"));
    let both = "qwen-oauth: { credentials_path: ~/b/f, oauth: { path: /a/f } }";
    assert_eq!(paths(both, "/q"), pair("/home/me/b/f", "/home/me/b/oauth_creds.lock"));
    let own_lock = "qwen-oauth: { credentials_path: /b/f, oauth: { lock: { path: /l } } }";
    assert_eq!(paths(own_lock, "/q"), pair("/b/f", "/l"));
    assert_eq!(oauth("qwen-oauth: { oauth: { lock: false } }").lock, None);
    assert_eq!(oauth("qwen-oauth: { oauth: { lock: { stale: 1m } } }").lock_stale, Duration::from_secs(60));
}

#[test]
fn everything_about_a_login_is_read() {
    let text = r#"
backends:
  mine:
    base_url: https://llm.example.com/v1
    oauth:
      path: /f
      fields: { access: /a, refresh: /r, endpoint: /e }
      expiry: { field: /x, unit: s }
      mode: proactive
      refresh: { url: 'https://h/token', body: json, client_id: me, fields: { grant_type: refresh_token, client_secret: "${A_KEY}" } }
      login: { url: 'http://127.0.0.1:1/code', scope: all }
      lock: { path: /l, stale: 5s }
      allow_hosts: [h, '*.h']
      headers: { x-team: search }
      remedy: run `mine login`
"#;
    let backend = config(text).backends.remove(0);
    assert_eq!(backend.unavailable, None);
    let oauth = backend.oauth.unwrap();
    assert!(!format!("{oauth:?}").contains("sk-from"), "{oauth:?}");
    assert_eq!((oauth.path.to_str(), oauth.lock.unwrap().to_str()), (Some("/f"), Some("/l")));
    assert_eq!([oauth.access, oauth.refresh, oauth.endpoint.unwrap()], ["/a", "/r", "/e"]);
    assert_eq!((oauth.expiry, oauth.mode), (Expiry::Seconds("/x".into()), Mode::Proactive));
    assert_eq!((oauth.lock_stale, oauth.allow_hosts), (Duration::from_secs(5), vec!["h".to_owned(), "*.h".to_owned()]));
    assert_eq!(oauth.headers["x-team"], "search");
    assert_eq!(oauth.remedy, "run `mine login`");
    let grant = oauth.grant.unwrap();
    assert_eq!((grant.token_url, grant.client_id), ("https://h/token".parse().unwrap(), "me".to_owned()));
    assert_eq!(grant.device_url.unwrap(), "http://127.0.0.1:1/code");
    assert_eq!((grant.scope.as_deref(), grant.encoding), (Some("all"), GrantEncoding::Json));
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let fields = [field("grant_type", "refresh_token"), field("client_secret", "sk-from-the-environment")];
    assert_eq!(grant.fields, fields);
}

#[test]
fn a_part_of_a_login_replaces_that_part_alone() {
    let grant = |refresh: &str| oauth(&format!("qwen-oauth: {{ oauth: {{ refresh: {refresh} }} }}")).grant.unwrap();
    let moved = grant("{ url: 'http://localhost:1/token' }");
    assert_eq!(moved.token_url, "http://localhost:1/token");
    assert_eq!(moved.client_id, "f0304373b74a44d2b584a3fb70ca9e56");
    assert!(moved.device_url.is_some() && moved.scope.is_some());
    assert_eq!(grant("{ client_id: me }").token_url, "https://chat.qwen.ai/api/v1/oauth2/token");

    let expiry = |expiry: &str| oauth(&format!("qwen-oauth: {{ oauth: {{ expiry: {expiry} }} }}")).expiry;
    assert_eq!(expiry("{ field: /x }"), Expiry::Millis("/x".into()));
    assert_eq!(expiry("{ unit: rfc3339 }"), Expiry::Rfc3339("/expiry_date".into()));
    assert_eq!(expiry("{ unit: jwt }"), Expiry::Jwt);
    assert_eq!(expiry("{ unit: none }"), Expiry::None);
    let fields = oauth("qwen-oauth: { oauth: { fields: { access: /a } } }");
    assert_eq!((fields.access.as_str(), fields.refresh.as_str()), ("/a", "/refresh_token"));
}

#[test]
fn a_credential_is_a_key_or_a_login() {
    assert!(backend_with("qwen-oauth: { api_key: k }", &[]).oauth.is_none());
    assert!(backend_with("groq: { api_key: k, oauth: { path: f } }", &[]).oauth.is_none());
    assert!(backend_with("groq: { api_key: k, credentials_path: f }", &[]).oauth.is_none());
    assert!(backend_with("groq: {}", &[]).oauth.is_none());

    // A login that is asked for goes before a key that happens to be in the environment.
    let key = [("GROQ_API_KEY", "k")];
    let groq = backend_with("groq: { oauth: { path: f } }", &key);
    assert!(groq.oauth.is_some() && groq.api_key.is_none());
    assert_eq!(groq.unavailable, None);
    // A file alone has the usual names in it.
    let file = oauth("x: { base_url: 'http://h', credentials_path: /f }");
    assert_eq!((file.path.to_str(), file.access.as_str()), (Some("/f"), "/access_token"));
    assert!(file.grant.is_none() && file.lock.is_none());
}

/// The policy of a backend's hold, as `Debug` shows it.
fn policy(line: &str) -> Option<String> {
    backend_with(line, &[]).hold.map(|hold| format!("{:?}", hold.policy))
}

#[test]
fn a_hold_is_the_documents_unless_it_says_otherwise() {
    let shown = |policy: &Policy| Some(format!("{policy:?}"));
    let seconds = |max, from, to| Policy::from_seconds(max, from, to).unwrap();

    assert_eq!(policy("qwen-oauth: {}"), shown(&Policy::default()));
    let knobs = "\
        qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 0, \
        qwen_oauth_initial_rate_limit_retry_random_min_seconds: 1.5, \
        qwen_oauth_initial_rate_limit_retry_random_max_seconds: 1.5";
    assert_eq!(policy(&format!("qwen-oauth: {{ extra: {{ {knobs} }} }}")), shown(&seconds(0.0, 1.5, 1.5)));
    for on in ["true", "{}", "{ enabled: true }", "{ enable_initial_rate_limit_retry: true }"] {
        assert_eq!(policy(&format!("ollama: {{ rate_limit_retry: {on} }}")), shown(&Policy::default()), "{on}");
    }
    for written in [
        "{ max_wait: 1m, random_min: 1s, random_max: 2.5 }",
        "{ initial_rate_limit_retry_max_wait_seconds: 60, initial_rate_limit_retry_random_min_seconds: 1, \
         initial_rate_limit_retry_random_max_seconds: 2.5 }",
    ] {
        let line = format!("ollama: {{ rate_limit_retry: {written} }}");
        assert_eq!(policy(&line), shown(&seconds(60.0, 1.0, 2.5)), "{written}");
    }
    let last = Policy::default().when(When::LastCandidate).max_waiters(0);
    let settings = "rate_limit_retry: { when: last_candidate, max_waiters: 0 }";
    assert_eq!(policy(&format!("ollama: {{ {settings} }}")), shown(&last));
    // What has no name under `extra` can be set all the same.
    assert_eq!(policy(&format!("qwen-oauth: {{ {settings}, extra: {{}} }}")), shown(&last));
}

#[test]
fn a_hold_is_off_unless_something_turns_it_on() {
    for off in [
        "ollama: {}",
        "ollama: { rate_limit_retry: }",
        "ollama: { rate_limit_retry: false }",
        "ollama: { rate_limit_retry: { enabled: false } }",
        "ollama: { rate_limit_retry: { enable_initial_rate_limit_retry: false, max_wait: 1 } }",
        "qwen-oauth: { rate_limit_retry: false }",
        "qwen-oauth: { rate_limit_retry: true, extra: { enable_qwen_oauth_initial_rate_limit_retry: false } }",
    ] {
        assert_eq!(policy(off), None, "{off}");
    }
    assert!(policy("qwen-oauth: { rate_limit_retry: }").is_some());
}

#[test]
fn each_provider_has_its_own_words_for_a_limit_that_does_not_heal() {
    let says = |name: &str, body: &str| {
        let line = format!("x: {{ type: {name}, rate_limit_retry: true }}");
        let hold = backend_with(&line, &[]).hold.unwrap();
        (hold.label, hold.exhausted.is_said_by(body))
    };
    let billing = "insufficient_quota";
    assert_eq!(says("qwen-oauth", billing), ("Qwen OAuth connector-wide".to_owned(), false));
    assert_eq!(says("dashscope", billing), ("x".to_owned(), false));
    for (name, words) in [
        ("qwen-oauth", "Free allocated quota exceeded"),
        ("openai-api", billing),
        ("gemini", "limit: 0"),
        ("anthropic", "billing_error"),
        ("github-copilot", "quota_exceeded"),
        ("groq", billing),
    ] {
        assert!(says(name, words).1, "{name}");
    }
}

#[test]
fn the_words_are_those_of_the_host_where_no_provider_is_named() {
    for (host, heals) in [
        ("dashscope.aliyuncs.com", true),
        ("DashScope-intl.aliyuncs.com", true),
        ("portal.qwen.ai", true),
        ("dashscope.aliyuncs.com.example", false),
        ("llm.example.com", false),
    ] {
        let line = format!("x: {{ type: openai, base_url: 'https://{host}/v1', rate_limit_retry: true }}");
        let hold = backend_with(&line, &[]).hold.unwrap();
        assert_eq!(!hold.exhausted.is_said_by("insufficient_quota"), heals, "{host}");
    }
}

#[test]
fn the_extra_of_other_backends_stays_as_it_is() {
    let extra = backend_with("ollama: { extra: { anything: [1], max_wait: .5 } }", &[]).extra;
    assert_eq!(extra["anything"], serde_json::json!([1]));
    let extra = backend_with("qwen-oauth: { extra: { enable_qwen_oauth_initial_rate_limit_retry: true } }", &[]).extra;
    assert_eq!(extra["enable_qwen_oauth_initial_rate_limit_retry"], true);
}

#[test]
fn the_gate_is_closed_whatever_the_credential() {
    for line in ["qwen-oauth: {}", "qwen-oauth: { api_key: k }", "mine: { type: qwen-oauth }", "qwen-oauth.work: {}"] {
        let backend = backend_with(line, &[]);
        assert!(!backend.gate.as_ref().unwrap().is_open(), "{line}");
        let why = backend.why_closed().unwrap();
        assert!(why.contains("--enable-qwen-oauth-backend-debugging-override"), "{why}");
    }
    assert!(backend_with("ollama: {}", &[]).gate.is_none());
    let named = load("models: [{ name: r, providers: [{ provider: QwenCode }] }]").unwrap().config;
    assert!(named.backends[0].gate.is_some() && named.backends[0].oauth.is_some() && named.backends[0].hold.is_some());
}
