//! Instance files: which there are, how they are laid over the configuration, and where their mistakes are told.

use std::path::{Path, PathBuf};

use pointsman::config::{Backend, Config, Diagnostics, Gate, Loaded};
use tempfile::TempDir;

use super::support::{line, variables};

const FOLDER: &str = "config/backends/backend-instances";

/// A folder with a configuration and these instance files.
struct Case(TempDir);

impl Case {
    fn new(config: &str, instances: &[(&str, &str)]) -> Self {
        let case = Self(tempfile::tempdir().unwrap());
        std::fs::write(case.path("config.yaml"), config).unwrap();
        std::fs::create_dir_all(case.path(FOLDER)).unwrap();
        for (name, text) in instances {
            std::fs::write(case.path(FOLDER).join(name), text).unwrap();
        }
        case
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn load(&self) -> Result<Loaded, Diagnostics> {
        Config::load_with(&self.path("config.yaml"), &variables)
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|wrong| panic!("{wrong}")).config
    }

    /// What is told, each with the name of the file that it is about.
    fn told(&self) -> Vec<String> {
        let list = match self.load() {
            Ok(loaded) => loaded.warnings,
            Err(wrong) => wrong,
        };
        let name = |path: &str| Path::new(path).file_name().unwrap().to_str().unwrap().to_owned();
        list.iter().map(|told| format!("{}: {}", name(told.file().unwrap()), line(told))).collect()
    }
}

#[test]
fn the_name_of_a_file_is_that_of_its_backend() {
    let case = Case::new(
        "backends: { ollama: {} }",
        &[
            ("openai.work.yaml", "api_key: k"),
            ("groq.default.yaml", "api_key: k"),
            ("vllm.yaml", ""),
            ("mine.yaml", "connector: openai\nbase_url: http://h"),
            ("notes.txt", "- not YAML that anybody reads"),
            (".#groq.yaml", "- an editor's"),
        ],
    );
    let config = case.config();
    let names: Vec<_> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["ollama", "groq", "mine", "openai.work", "vllm"]);
    assert_eq!(config.backend("openai.work").unwrap().preset.unwrap().name, "openai-api");
}

#[test]
fn mappings_merge_and_all_else_replaces() {
    let case = Case::new(
        "
backends:
  base: &base
    base_url: http://base
    headers: { x-base: '1', x-both: base }
  x:
    <<: *base
    type: groq
    timeouts: { connect: 1s, headers: 2s }
    default_params: { a: { b: 1, c: [1, 2] }, kept: true }
    models: [one, two]
    error_window: 5m
",
        &[
            (
                "x.default.yaml",
                "
connector: openai
base_url: http://instance
headers: { x-both: instance }
timeouts: { headers: 3s }
default_params: { a: { b: 2, c: [3] } }
models: [three]
error_window:
extra:
",
            ),
            // Later in the order of names, so stronger.
            ("x.yaml", "<<: { timeouts: { headers: 4s, idle: 5s } }"),
        ],
    );
    let config = case.config();
    let x = config.backend("x").unwrap();
    assert_eq!(x.preset.map(|preset| preset.name), None, "`connector` goes before `type`");
    assert_eq!(x.base_url.as_ref().unwrap(), "http://instance");
    assert_eq!([&x.headers["x-base"], &x.headers["x-both"]], ["1", "instance"]);
    let timeouts = [x.timeouts.connect, x.timeouts.headers, x.timeouts.idle].map(|time| time.as_secs());
    assert_eq!(timeouts, [1, 4, 5]);
    assert_eq!(
        serde_json::Value::Object(x.default_params.clone()),
        serde_json::json!({ "a": { "b": 2, "c": [3] }, "kept": true })
    );
    assert_eq!(x.models, ["three"]);
    assert_eq!(x.error_window.as_secs(), 300, "what has no value is left out");
    // The others are as they were.
    assert_eq!(config.backend("base").unwrap().headers["x-both"], "base");
}

#[test]
fn paths_are_relative_to_the_configuration() {
    let case = Case::new("", &[("qwen-oauth.default.yaml", "credentials_path: login/f.json")]);
    let oauth = case.config().backends.remove(0).oauth.unwrap();
    assert_eq!(oauth.path, case.path("login/f.json"));
    assert_eq!(oauth.lock.unwrap(), case.path("login/oauth_creds.lock"));
}

#[test]
fn the_documents_settings_may_stand_in_its_instance_file() {
    let instance = "
connector: qwen-oauth
extra:
  enable_qwen_oauth_backend_debugging_override: true
  enable_qwen_oauth_initial_rate_limit_retry: true
  qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 10.0
  qwen_oauth_initial_rate_limit_retry_random_min_seconds: 3.0
  qwen_oauth_initial_rate_limit_retry_random_max_seconds: 10.0
";
    for config in [
        "default_backend: qwen-oauth",
        "backends: { default_backend: qwen-oauth }",
        "backends: { qwen-oauth: { type: qwen-oauth } }\ndefault_backend: qwen-oauth",
    ] {
        let case = Case::new(config, &[("qwen-oauth.default.yaml", instance)]);
        assert_eq!(case.told(), [""; 0], "{config}");
        let config = case.config();
        assert_eq!(config.default_backend.as_deref(), Some("qwen-oauth"));
        assert_eq!(config.backends.len(), 1);
        assert_eq!(config.backends[0].why_closed(), None);
        assert!(config.backends[0].hold.is_some());
    }
}

#[test]
fn a_backend_with_another_name_of_its_provider_has_its_instance_file() {
    let instance = ("qwen-oauth.default.yaml", "extra: { enable_qwen_oauth_backend_debugging_override: true }");
    let backends = |config: &str, instances: &[(&str, &str)]| {
        let config = Case::new(config, instances).config();
        let describe = |backend: &Backend| (backend.name.clone(), backend.gate.as_ref().map(Gate::is_open));
        config.backends.iter().map(describe).collect::<Vec<_>>()
    };
    let open = |name: &str| (name.to_owned(), Some(true));
    let closed = |name: &str| (name.to_owned(), Some(false));
    for (config, expected) in [
        ("backends: { QwenCode: {} }", vec![open("QwenCode")]),
        ("backends: { QwenCode: { connector: qwen-oauth } }", vec![open("QwenCode")]),
        ("backends: { work: { type: QwenCode } }", vec![open("work")]),
        (
            "backends: { work: { type: qwen-oauth }, QwenCode: }",
            vec![closed("work"), closed("QwenCode"), open("qwen-oauth")],
        ),
        ("backends: { QwenCode: , qwen-oauth: }", vec![closed("QwenCode"), open("qwen-oauth")]),
        (
            "backends: { QwenCode: { type: openai, base_url: 'http://h' } }",
            vec![("QwenCode".to_owned(), None), open("qwen-oauth")],
        ),
    ] {
        assert_eq!(backends(config, &[instance]), expected, "{config}");
    }

    // Of a provider with keys, a machine may have any number.
    let key = [("groq.default.yaml", "api_key: k")];
    let names = |config: &str, instances: &[(&str, &str)]| {
        backends(config, instances).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("backends: { work: { type: groq, api_key: k } }", &key), ["work", "groq"]);
    assert_eq!(names("backends: { Groq: }", &key), ["Groq"]);
    // That is a server of someone's own.
    let openai = [("openai-api.default.yaml", "api_key: k")];
    assert_eq!(names("backends: { openai: { base_url: 'http://h' } }", &openai), ["openai", "openai-api"]);
}

#[test]
fn each_mistake_is_told_in_its_own_file() {
    let case = Case::new(
        "# A comment, so that the lines differ.\nbackends:\n  groq: { timeouts: { conect: 1s, idle: soon } }\n",
        &[
            ("groq.default.yaml", "timeouts:\n  headers: never\n  idle: 1s\napi_key: k\napi_key: k\n"),
            ("mine.yaml", "# no type\nmodels: [a]\n"),
            ("other.yaml", "connector: opneai\n"),
        ],
    );
    assert_eq!(
        case.told(),
        [
            "config.yaml: 3:23: unknown key `conect` (did you mean `connect`?)",
            "groq.default.yaml: 2:12: `headers` is not a duration (write `10s`, `1m30s`, `500ms` or a number of \
             seconds)",
            "groq.default.yaml: 5:1: the key `api_key` is given twice",
            "mine.yaml: 2:1: `mine` is no provider that is known by name, so it needs a `type` (for any server that \
             speaks OpenAI's API: `type: openai` and a `base_url`)",
            "other.yaml: 1:12: unknown type `opneai` (did you mean `openai`?)",
        ]
    );
}

#[test]
fn a_mistake_between_two_files_shows_both() {
    let case = Case::new(
        "backends:\n  ollama:\n    rate_limit_retry: { random_max: 4 }\n",
        &[("ollama.default.yaml", "rate_limit_retry:\n  random_min: 5\n")],
    );
    let shown = case.load().unwrap_err().to_string();
    let instance = case.path(FOLDER).join("ollama.default.yaml");
    assert_eq!(
        shown,
        format!(
            "\
error: `random_min` is 5 s, more than `random_max`, 4 s
 --> {}:2:15
  |
2 |   random_min: 5
  |               ^ longer than the longest wait
  |
 ::: {}:3:37
  |
3 |     rate_limit_retry: {{ random_max: 4 }}
  |                                     - the longest wait",
            instance.display(),
            case.path("config.yaml").display()
        )
    );
}

#[test]
fn a_synonym_of_a_key_replaces_it_only_from_another_file() {
    let backends = "backends: { x: { type: groq, api_key: k } }";
    let kind = |text: &str| Case::new(backends, &[("x.yaml", text)]).config().backends[0].preset.unwrap().name;
    assert_eq!(kind("connector: mistral"), "mistral");
    assert_eq!(kind("connector: "), "groq");
    let twice = Case::new(backends, &[("x.yaml", "connector: mistral\ntype: mistral")]);
    assert_eq!(twice.told(), ["x.yaml: 1:1: `connector` is another name for `type`; only one can be given"]);
}

#[test]
fn a_file_that_is_no_instance_is_an_error() {
    let case = Case::new("backends: { groq: { api_key: k } }", &[("groq.default.yaml", "- a list")]);
    assert_eq!(case.told(), ["groq.default.yaml: 1:1: an instance file is a mapping, this is a list"]);
    let case = Case::new("models: [", &[("groq.default.yaml", "- a list")]);
    assert!(case.told()[0].starts_with("config.yaml: "), "{:?}", case.told());
    // What is wrong with the place that it is laid over is not covered up by it.
    let case = Case::new("backends: [groq]", &[("groq.default.yaml", "api_key: k")]);
    assert_eq!(case.told(), ["config.yaml: 1:11: `backends`: expected a mapping, found a list"]);
    let case = Case::new("just text", &[("groq.default.yaml", "api_key: k")]);
    assert_eq!(case.told(), ["config.yaml: 1:1: a configuration is a mapping, this is a string"]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let case = Case::new("", &[]);
    std::fs::create_dir(case.path(FOLDER).join("groq.yaml")).unwrap();
    std::fs::write(case.path(FOLDER).join("vllm.yaml"), b"api_key: \xff").unwrap();
    let told = case.told();
    assert!(told[0].starts_with("groq.yaml: cannot read the instance file: "), "{told:?}");
    assert!(told[1].starts_with("vllm.yaml: cannot read the instance file: "), "{told:?}");
    let shown = case.load().unwrap_err().to_string();
    assert!(shown.contains("groq.yaml"), "{shown}");
}

#[test]
fn a_file_in_the_way_of_the_folder_is_no_mistake() {
    for in_the_way in ["config", "config/backends"] {
        let case = Case::new("backends: { ollama: {} }", &[]);
        std::fs::remove_dir_all(case.path(in_the_way)).unwrap();
        std::fs::write(case.path(in_the_way), "").unwrap();
        assert_eq!(case.config().backends.len(), 1);
    }
}

#[test]
fn nothing_shows_a_credential_of_an_instance_file() {
    let case = Case::new("", &[("groq.default.yaml", "apikey: sk-123\nmodels: { api_key: sk-123 }\n")]);
    let wrong = case.load().unwrap_err();
    assert!(!wrong.to_string().contains("sk-123") && !format!("{wrong:?}").contains("sk-123"), "{wrong}");
}
