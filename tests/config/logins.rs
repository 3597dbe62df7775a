//! Backends that use another program's login: the document's own configuration, gates, holds and instance files.

use std::path::Path;

use pointsman::config::{Config, Diagnostics, GateSource, Loaded};

use super::support::{config, errors, told};

/// What the document of the backend shows, word for word.
const DOCUMENT: &str = "
# config.yaml
backends:
  qwen-oauth:
    type: qwen-oauth
    extra:
      enable_qwen_oauth_backend_debugging_override: true
      enable_qwen_oauth_initial_rate_limit_retry: true
      qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 10.0
      qwen_oauth_initial_rate_limit_retry_random_min_seconds: 3.0
      qwen_oauth_initial_rate_limit_retry_random_max_seconds: 10.0

default_backend: qwen-oauth
";

const FLAG: &str = "enable-qwen-oauth-backend-debugging-override";
const KEY: &str = "enable_qwen_oauth_backend_debugging_override";
const VARIABLE: &str = "POINTSMAN_ENABLE_QWEN_OAUTH_BACKEND_DEBUGGING_OVERRIDE";

#[test]
fn the_document_loads_as_it_stands() {
    let config = config(DOCUMENT);
    let backend = config.backend("qwen-oauth").unwrap();
    assert_eq!(config.default_backend.as_deref(), Some("qwen-oauth"));
    assert_eq!(backend.why_closed(), None);
    assert_eq!(backend.hold.as_ref().unwrap().label, "Qwen OAuth connector-wide");
    let oauth = backend.oauth.as_ref().unwrap();
    assert!(oauth.path.ends_with(".qwen/oauth_creds.json"), "{:?}", oauth.path);
    assert_eq!(oauth.grant.as_ref().unwrap().token_url, "https://chat.qwen.ai/api/v1/oauth2/token");
    assert_eq!(backend.headers["x-dashscope-authtype"], "qwen-oauth");
    assert!(backend.models.contains(&"qwen3-coder-plus".to_owned()));
}

#[test]
fn the_retry_can_be_turned_off() {
    let off = DOCUMENT.replace(
        "enable_qwen_oauth_initial_rate_limit_retry: true",
        "enable_qwen_oauth_initial_rate_limit_retry: false",
    );
    assert!(config(&off).backends[0].hold.is_none());
}

#[test]
fn each_bad_knob_is_told_where_it_stands() {
    let line = |key: &str| DOCUMENT.lines().position(|line| line.contains(key)).unwrap() + 1;
    let max_wait = "qwen_oauth_initial_rate_limit_retry_max_wait_seconds";
    let random_min = "qwen_oauth_initial_rate_limit_retry_random_min_seconds";
    for (key, bad, words) in [
        (max_wait, "-1", "is negative"),
        (max_wait, ".nan", "is not a finite number"),
        (max_wait, ".inf", "is not a finite number"),
        (max_wait, "soon", "expected a number of seconds"),
        (random_min, "11.0", "more than"),
        ("enable_qwen_oauth_initial_rate_limit_retry", "7", "expected a boolean"),
        (KEY, "maybe", "expected a boolean"),
    ] {
        let text: String = DOCUMENT
            .lines()
            .map(|line| match line.split_once(": ") {
                Some((name, _)) if name.trim() == key => format!("{name}: {bad}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let told = errors(&text);
        let place = format!("{}:", line(key));
        let [told] = told.as_slice() else { panic!("{key}: {bad}: {told:?}") };
        assert!(told.starts_with(&place) && told.contains(words), "{key}: {bad}: {told}");
    }
    let unknown = DOCUMENT.replace(
        "enable_qwen_oauth_initial_rate_limit_retry: true",
        "enable_qwen_oauth_initial_rate_limit_retri: true",
    );
    assert!(errors(&unknown)[0].contains("`enable_qwen_oauth_initial_rate_limit_retri`"), "{:?}", errors(&unknown));
}

#[test]
fn a_closed_gate_is_warned_of_where_something_leads_to_it() {
    let warnings = told("default_backend: qwen-oauth");
    assert!(warnings.iter().any(|warning| warning.contains("qwen-oauth") && warning.contains(FLAG)), "{warnings:?}");
}

/// A folder with a configuration and an instance file, either of which may say something of the gate.
fn load_from(
    folder: &Path,
    config: &str,
    instance: Option<&str>,
    variable: Option<&str>,
) -> Result<Loaded, Diagnostics> {
    let path = folder.join("config.yaml");
    std::fs::write(&path, config).unwrap();
    let instances = folder.join("config/backends/backend-instances");
    std::fs::create_dir_all(&instances).unwrap();
    let file = instances.join("qwen-oauth.default.yaml");
    match instance {
        Some(text) => std::fs::write(file, text).unwrap(),
        None => drop(std::fs::remove_file(file)),
    }
    let environment = |name: &str| match name {
        VARIABLE => variable.map(str::to_owned),
        "HOME" => Some("/nowhere".to_owned()),
        _ => None,
    };
    Config::load_with(&path, &environment)
}

#[test]
fn the_strongest_word_on_the_gate_counts() {
    let folder = tempfile::tempdir().unwrap();
    let words = [None, Some(true), Some(false)];
    for file in words {
        for instance in words {
            for variable in words {
                for flag in words {
                    let extra = |word: Option<bool>| word.map_or(String::new(), |word| format!("{KEY}: {word}"));
                    let config = format!("backends: {{ qwen-oauth: {{ extra: {{ {} }} }} }}", extra(file));
                    let instance_text = format!("connector: qwen-oauth\nextra: {{ {} }}", extra(instance));
                    let variable_text = variable.map(|word| word.to_string());
                    let mut loaded =
                        load_from(folder.path(), &config, Some(&instance_text), variable_text.as_deref()).unwrap();
                    if let Some(open) = flag {
                        loaded.say(FLAG, open, GateSource::CommandLine);
                    }
                    let open = loaded.config.backends[0].gate.as_ref().unwrap().is_open();
                    let expected = flag.or(variable).or(instance).or(file).unwrap_or(false);
                    assert_eq!(open, expected, "{file:?} {instance:?} {variable:?} {flag:?}");
                }
            }
        }
    }
}

#[test]
fn an_instance_file_is_laid_over_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = "backends: { qwen-oauth: { base_url: 'http://127.0.0.1:1/v1', timeouts: { connect: 1s, idle: 7s } } }";
    let instance = "connector: qwen-oauth\ntimeouts: { idle: 9s }\nmodels: [one]\n";
    let loaded = load_from(folder.path(), config, Some(instance), None).unwrap();
    let backend = &loaded.config.backends[0];
    assert_eq!((backend.timeouts.connect.as_secs(), backend.timeouts.idle.as_secs()), (1, 9));
    assert_eq!(backend.models, ["one"]);
    assert_eq!(backend.base_url.as_ref().unwrap(), "http://127.0.0.1:1/v1");

    // Without an entry in the configuration, it makes the backend.
    let loaded = load_from(folder.path(), "default_backend: qwen-oauth", Some(instance), None).unwrap();
    assert_eq!(loaded.config.backends[0].models, ["one"]);
}

#[test]
fn what_is_wrong_with_an_instance_file_is_told_there() {
    let folder = tempfile::tempdir().unwrap();
    for (instance, line, words) in [
        (
            "connector: qwen-oauth\nextra: { qwen_oauth_initial_rate_limit_retry_max_wait_seconds: -1 }",
            2,
            "is negative",
        ),
        ("connector: qwen-oauth\n\nextre: {}", 3, "unknown key `extre`"),
        ("- connector", 1, "an instance file is a mapping"),
        ("a: [", 1, "not valid YAML"),
    ] {
        let wrong = load_from(folder.path(), "", Some(instance), None).unwrap_err();
        let shown = wrong.to_string();
        assert!(shown.contains("qwen-oauth.default.yaml:") && shown.contains(words), "{shown}");
        let told = wrong.iter().find(|told| told.message().contains(words)).unwrap();
        assert!(told.line().is_some_and(|at| at >= line), "{shown}");
    }
}

#[test]
fn a_word_on_the_gate_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = load_from(folder.path(), "default_backend: qwen-oauth", None, Some("perhaps")).unwrap_err();
    assert!(wrong.to_string().contains(VARIABLE), "{wrong}");
}

#[test]
fn tokens_go_nowhere_in_the_clear() {
    let told = errors(
        "backends: { x: { type: openai, base_url: 'https://h/v1', oauth: { path: f, refresh: { url: 'http://h/token', client_id: c } } } }",
    );
    assert!(told[0].contains("would send tokens in the clear"), "{told:?}");
}
