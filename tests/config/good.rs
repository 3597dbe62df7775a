use std::{path::PathBuf, time::Duration};

use pointsman::config::{Config, Environment, Overrides};
use pointsman_layers::condition::OnUnknown;
use pointsman_layers::ext::Commit;
use serde_json::json;

use crate::support::{EXAMPLE, config, load, variables};

#[test]
fn the_documents_example_loads_without_any_key() {
    let loaded = load(EXAMPLE).unwrap();
    let config = loaded.config;
    let routes: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(routes, ["my-gpt4", "yupp-chat", "llama-fast"]);

    let route = config.route("my-gpt4").unwrap();
    let candidates: Vec<_> = route.candidates.iter().map(|c| (c.backend.as_str(), c.model.as_str())).collect();
    assert_eq!(candidates, [("openai-api", "gpt-4o"), ("pollinations", "openai-large")]);
    assert!(route.candidates[0].condition.is_some() && route.candidates[1].condition.is_none());

    // One backend each, however many routes name it.
    let backends: Vec<_> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(backends, ["openai-api", "pollinations", "yupp", "groq", "deepinfra"]);
    let reason = |name: &str| config.backend(name).unwrap().unavailable.clone().unwrap();
    assert_eq!(reason("OpenaiAccount"), "no credential (OPENAI_API_KEY)");
    assert_eq!(reason("Groq"), "no credential (GROQ_API_KEY)");
    assert_eq!(reason("Yupp"), "no base_url");
}

#[test]
fn keys_come_from_the_environment() {
    let with_key = |name: &str| (name == "GROQ_API_KEY").then(|| "gsk".to_owned());
    let config = Config::from_yaml_with(EXAMPLE, &with_key).unwrap().config;
    let groq = config.backend("groq").unwrap();
    assert_eq!(groq.api_key.as_ref().unwrap().expose(), "gsk");
    assert_eq!(groq.unavailable, None);
    assert!(config.backend("deepinfra").unwrap().unavailable.is_some());
}

#[test]
fn what_is_left_out_has_its_usual_value() {
    let config = config("models: [{ name: r, providers: [{ provider: ollama }] }]");
    let route = &config.routes[0];
    assert_eq!(route.candidates[0].model, "r");
    assert_eq!(route.candidates[0].on_unknown, OnUnknown::Zero);
    assert_eq!(route.commit, Commit::FirstEvent);
    assert_eq!(route.total_timeout, Duration::from_secs(90));
    assert_eq!((route.max_attempts, &route.fallback_on), (None, &None));
    assert!(route.fallback_on_ambiguous);

    let backend = &config.backends[0];
    assert_eq!(backend.timeouts.connect, Duration::from_secs(10));
    assert_eq!(backend.timeouts.headers, Duration::from_secs(60));
    assert_eq!(backend.timeouts.idle, Duration::from_secs(120));
    assert_eq!(backend.error_window, Duration::from_secs(3600));

    let server = &config.server;
    assert_eq!((server.host.as_str(), server.port), ("127.0.0.1", 8000));
    assert_eq!((server.body_limit, server.header_limit), (32 << 20, 64 << 10));
    assert_eq!((server.max_connections, server.max_in_flight), (20_000, 10_000));
    assert!(server.api_keys.is_empty());
}

#[test]
fn every_key_is_read() {
    let config = config(
        r#"
server:
  host: 0.0.0.0
  port: "${PORT}"
  api_keys: ["${A_KEY}", two]
  admin_keys: [three]
  body_limit: 10MB
  header_limit: 4096
  header_timeout: 5
  body_timeout: 0.5
  keep_alive_timeout: 1m30s
  max_connections: 10
  max_in_flight: 5
  shutdown_timeout: 500ms
  tls: { cert: Cargo.toml, key: README.md }
models:
  - name: r
    commit: headers
    total_timeout: 1m
    max_attempts: 2
    fallback_on: [429, 5xx]
    fallback_on_ambiguous: false
    targets:
      - { provider: ollama, model: m, condition: error_count < 3, on_unknown: skip }
"#,
    );
    let server = &config.server;
    assert_eq!((server.host.as_str(), server.port), ("0.0.0.0", 9000));
    let keys: Vec<_> = server.api_keys.iter().map(|key| key.expose()).collect();
    assert_eq!(keys, ["sk-from-the-environment", "two"]);
    assert_eq!(server.admin_keys[0].expose(), "three");
    assert_eq!((server.body_limit, server.header_limit), (10_000_000, 4096));
    assert_eq!(server.header_timeout, Duration::from_secs(5));
    assert_eq!(server.body_timeout, Duration::from_millis(500));
    assert_eq!(server.keep_alive_timeout, Duration::from_secs(90));
    assert_eq!(server.shutdown_timeout, Duration::from_millis(500));
    assert_eq!((server.max_connections, server.max_in_flight), (10, 5));
    let tls = server.tls.as_ref().expect("it is there");
    assert_eq!((tls.cert.to_str(), tls.key.to_str()), (Some("Cargo.toml"), Some("README.md")));

    let route = &config.routes[0];
    assert_eq!(route.commit, Commit::Headers);
    assert_eq!(route.total_timeout, Duration::from_secs(60));
    assert_eq!(route.max_attempts, Some(2));
    let statuses = route.fallback_on.as_ref().unwrap();
    assert_eq!((statuses.len(), statuses[0], statuses[100]), (101, 429, 599));
    assert!(!route.fallback_on_ambiguous);
    assert_eq!(route.candidates[0].on_unknown, OnUnknown::Skip);
}

#[test]
fn a_condition_may_be_a_boolean_or_left_empty() {
    let condition = |written: &str| {
        let text = format!("models: [{{ name: r, providers: [{{ provider: ollama, condition: {written} }}] }}]");
        config(&text).routes[0].candidates[0].condition.clone()
    };
    for always in ["true", "", "~", "''", "'  '"] {
        assert!(condition(always).is_none(), "{always}");
    }
    let never = condition("false").unwrap();
    assert_eq!(never.evaluate(&json!({ "balance": 1 }), 0), Ok(false));
}

#[test]
fn anchors_and_merged_mappings_work() {
    let config = config(
        "
backends:
  a: &base { type: openai, base_url: 'http://127.0.0.1:1/v1', models: [m] }
  b: { <<: *base, models: [n] }
  c:
    <<: [{ error_window: 1m }, *base]
",
    );
    let b = config.backend("b").unwrap();
    assert_eq!(b.base_url.as_ref().unwrap(), "http://127.0.0.1:1/v1");
    assert_eq!(b.models, ["n"]);
    let c = config.backend("c").unwrap();
    assert_eq!((c.error_window, c.models.as_slice()), (Duration::from_secs(60), ["m".to_owned()].as_slice()));
}

#[test]
fn references_are_resolved_in_every_string() {
    struct Files;
    impl Environment for Files {
        fn variable(&self, name: &str) -> Option<String> {
            variables(name).or_else(|| (name == "HOME").then(|| "/home/me".to_owned()))
        }

        fn read(&self, path: &std::path::Path) -> std::io::Result<String> {
            Ok(format!("content of {}\n", path.display()))
        }
    }
    let text = "
backends:
  x:
    type: openai
    base_url: 'http://${HOST:-127.0.0.1}:${EMPTY:-80}/v1'
    api_key: ${file:~/key}
    credentials_path: ~/login.json
    extra: { a: ['$${A_KEY}', '${A_KEY}', '${EMPTY}'] }
    models: ['${FAMILY:-}x']
";
    let config = Config::from_yaml_with(text, &Files).unwrap_or_else(|wrong| panic!("{wrong}")).config;
    let x = &config.backends[0];
    assert_eq!(x.base_url.as_ref().unwrap(), "http://127.0.0.1:80/v1");
    assert_eq!(x.api_key.as_ref().unwrap().expose(), "content of /home/me/key");
    assert_eq!(x.credentials_path, Some(PathBuf::from("/home/me/login.json")));
    assert_eq!(x.extra["a"], json!(["${A_KEY}", "sk-from-the-environment", ""]));
    assert_eq!(x.models, ["x"]);
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(folder.path().join("key"), "sk-file\n").unwrap();
    std::fs::write(&path, "\u{feff}backends:\n  ollama: { api_key: '${file:key}', credentials_path: c.json }\n")
        .unwrap();
    let config = Config::load_with(&path, &variables).unwrap().config;
    assert_eq!(config.backends[0].api_key.as_ref().unwrap().expose(), "sk-file");
    assert_eq!(config.backends[0].credentials_path, Some(folder.path().join("c.json")));
    assert_eq!(config.source, Some(path));
}

#[test]
fn nothing_shows_a_credential() {
    let loaded = load(
        "
server: { api_keys: [sk-one] }
backends:
  a:
    type: openai
    base_url: http://127.0.0.1/v1
    api_key: sk-two
    headers: { x-team: sk-three }
    extra: { client_secret: sk-four }
    quota: { url: 'http://127.0.0.1/?token=sk-five', headers: { authorization: sk-six } }
",
    )
    .unwrap();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("sk-"), "{shown}");
}

#[test]
fn a_preset_that_an_alias_or_the_forced_model_names_is_a_backend() {
    let aliases = "model_aliases:\n  - { pattern: ^gpt-4o$, replacement: 'groq:llama-3.3-70b|deepinfra:$0' }\n";
    let mut loaded = load(aliases).unwrap();
    let names = |config: &Config| config.backends.iter().map(|backend| backend.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&loaded.config), ["groq", "deepinfra"]);
    assert!(loaded.warnings.to_string().contains("`groq` cannot be used: no credential (GROQ_API_KEY)"));

    let force_model = Some("ollama:llama3:8b|llama3:8b|groq:x".to_owned());
    loaded.config.apply(Overrides { force_model, ..Overrides::default() }, &variables).unwrap();
    assert_eq!(names(&loaded.config), ["groq", "deepinfra", "ollama"]);
}

#[test]
fn an_alias_may_make_a_parameter_of_a_group() {
    let aliases = "
backends: { x: { base_url: 'http://127.0.0.1:1/v1' } }
model_aliases:
  - { pattern: '^(?P<model>.+)@(.+)$', replacement: 'x:${model}?temperature=$2&seed=${A_SEED:-7}&$0' }
";
    let config = config(aliases);
    let replaced = config.model_aliases[0].replace("m@0.5");
    assert_eq!(replaced.as_deref(), Some("x:m?temperature=0.5&seed=7&m@0.5"));
}

/// No time means something where it can.
#[test]
fn no_time_has_a_meaning_where_it_can_have_one() {
    let config = config(
        r#"
server: { keep_alive_timeout: 0, shutdown_timeout: 0s }
backends:
  groq: { error_window: 0, quota: { url: "https://example.com/", ttl: 0 } }
"#,
    );
    assert_eq!((config.server.keep_alive_timeout, config.server.shutdown_timeout), (Duration::ZERO, Duration::ZERO));
    let backend = config.backends.iter().find(|backend| backend.name == "groq").expect("it is there");
    assert_eq!(backend.error_window, Duration::ZERO);
    assert_eq!(backend.quota.as_ref().map(|quota| quota.ttl), Some(Duration::ZERO));
}
