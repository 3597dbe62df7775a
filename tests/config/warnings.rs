use pointsman::Config;

use crate::support::{EXAMPLE, told};

/// What is told about a candidate of a route beside these backends.
fn about(candidates: &str) -> Vec<String> {
    let backends = "\
backends:
  p: { type: pollinations, api_key: k }
  y: { type: yupp, base_url: 'http://h', api_key: k }
  o: { base_url: 'http://h' }
  g: { type: groq, api_key: k }
  d: { type: gemini-cli, api_key: k, quota: { headers: { authorization: x } } }
models:
  - name: r
    providers:
";
    told(&format!("{backends}      - {candidates}\n"))
}

#[test]
fn the_documents_example_has_its_missing_credentials_named() {
    let set = |variable: &str, backend: &str| {
        format!(
            "no credential ({variable}) (set the environment variable `{variable}`, or `backends.{backend}.api_key`)"
        )
    };
    assert_eq!(
        told(EXAMPLE),
        [
            format!("warning: 7:19: `openai-api` cannot be used: {}", set("OPENAI_API_KEY", "openai-api")),
            "warning: 9:21: `openai-api` has no quota source (its answers say what is left in headers, such as \
             `quota.headers.x-ratelimit-remaining-requests`)"
                .to_owned(),
            format!("warning: 10:19: `pollinations` cannot be used: {}", set("POLLINATIONS_API_KEY", "pollinations")),
            "warning: 16:19: `yupp` cannot be used: no base_url (set `backends.yupp.base_url`)".to_owned(),
            format!("warning: 25:19: `groq` cannot be used: {}", set("GROQ_API_KEY", "groq")),
            format!("warning: 28:19: `deepinfra` cannot be used: {}", set("DEEPINFRA_API_KEY", "deepinfra")),
        ]
    );
}

#[test]
fn a_field_that_the_quota_does_not_have() {
    assert_eq!(
        about("{ provider: p, condition: quota.balanc > 0 }"),
        ["warning: 10:35: `p` has no `quota.balanc` (did you mean `quota.balance`?)"]
    );
    assert_eq!(
        about("{ provider: y, condition: 'error_count < 3 or quota.credit.remaining > 0' }"),
        ["warning: 10:55: `y` has no `quota.credit.remaining` (did you mean `quota.credits.remaining`?)"]
    );
    assert_eq!(
        about("{ provider: y, condition: 'balance > 0 and balance < 9' }"),
        ["warning: 10:36: `y` has no `balance` (it has quota.credits.remaining, quota.credits.total)"]
    );
    assert_eq!(about("{ provider: p, condition: balance > 0 }"), [""; 0]);
    let by_model =
        "quota.buckets[0].remainingFraction > 0.1 and quota.models[\"gemini-2.5-pro\"].remainingFraction > 0";
    assert_eq!(about(&format!("{{ provider: d, condition: '{by_model}' }}")), [""; 0]);
    assert_eq!(
        about("{ provider: d, condition: 'quota.bucket[0].remainingFraction > 0' }"),
        ["warning: 10:36: `d` has no `quota.bucket[0].remainingFraction` (did you mean \
          `quota.buckets[0].remainingFraction`?)"]
    );
    // The part that a field leaves open is the condition's own.
    assert_eq!(
        about("{ provider: d, condition: 'quota.models[\"gemini-2.5-pro\"].remainingFractions > 0' }"),
        ["warning: 10:36: `d` has no `quota.models[\"gemini-2.5-pro\"].remainingFractions` (did you mean \
          `quota.models[\"gemini-2.5-pro\"].remainingFraction`?)"]
    );
    assert_eq!(
        about("{ provider: d, condition: 'quota.left > 0' }"),
        ["warning: 10:36: `d` has no `quota.left` (it has quota.models.*.remainingFraction, \
          quota.models.*.remainingAmount, quota.buckets.*.remainingFraction, quota.buckets.*.remainingAmount)"]
    );
}

#[test]
fn a_header_that_the_provider_is_not_known_to_send() {
    assert_eq!(
        about("{ provider: g, condition: 'quota.headers.x-ratelimit-remaning-requests > 0' }"),
        ["warning: 10:36: `g` is not known to send this header (did you mean \
          `quota.headers.x-ratelimit-remaining-requests`?)"]
    );
    for known in ["quota.headers.x-ratelimit-remaining-tokens > 0", "quota.headers.X-RateLimit-Reset-Tokens < 60"] {
        assert_eq!(about(&format!("{{ provider: g, condition: '{known}' }}")), [""; 0]);
    }
    // Nothing is known of what these send.
    assert_eq!(about("{ provider: o, condition: 'quota.headers.x-left > 0' }"), [""; 0]);
    assert_eq!(about("{ provider: ollama, condition: 'quota.headers.x-left > 0' }"), [""; 0]);
    // A family, of which any may be there, with its parts.
    let copilot = "backends: { c: { type: github-copilot, api_key: k, accept_terms: true } }\nmodels: [{ name: r, \
                   providers: [{ provider: c, condition: 'quota.headers.x-quota-snapshot-chat.rem > 0' }] }]";
    assert_eq!(told(copilot), [""; 0]);
}

#[test]
fn every_provider_with_a_quota_says_what_is_near_a_field() {
    for preset in &pointsman::provider::presets::PRESETS {
        let fields = preset.quota.iter().filter_map(|quota| quota.fields).flatten().copied();
        let headers = preset.quota_headers.iter().filter(|name| !name.ends_with('*'));
        let known = fields.map(str::to_owned).chain(headers.map(|name| format!("headers.{name}")));
        for field in known {
            let field = field.replace('*', "x0");
            let about = |path: &str| {
                let backend = format!(
                    "{{ type: {}, api_key: k, base_url: '{}', quota: {} }}",
                    preset.name,
                    preset.base_url.unwrap_or("https://h"),
                    if preset.quota.is_some() { "{ headers: { x: y } }" } else { "false" },
                );
                told(&format!(
                    "backends: {{ b: {backend} }}\nmodels: [{{ name: r, providers: [{{ provider: b, on_unknown: skip, \
                     condition: '{path} > 1' }}] }}]"
                ))
                .into_iter()
                .filter(|told| !told.contains("is disabled"))
                .collect::<Vec<_>>()
            };
            assert_eq!(about(&format!("quota.{field}")), [""; 0], "{}", preset.name);
            let slip = about(&format!("quota.{field}z"));
            let expected = format!("(did you mean `quota.{field}`");
            // What is open at its end takes any name.
            let is_open = preset
                .quota
                .iter()
                .filter_map(|quota| quota.fields)
                .flatten()
                .any(|it| it.ends_with(".*") && field.starts_with(it.split('*').next().unwrap_or_default()));
            assert!(is_open || slip[0].contains(&expected), "{}: {slip:?}", preset.name);
        }
    }
}

#[test]
fn a_quota_condition_without_a_quota_source() {
    assert_eq!(
        about("{ provider: o, condition: 'balance > 0' }"),
        ["warning: 10:36: `o` has no quota source (give `backends.o.quota`, or decide by `error_count`)"]
    );
    assert_eq!(
        about("{ provider: g, condition: 'balance > 0' }"),
        ["warning: 10:36: `g` has no quota source (its answers say what is left in headers, such as \
          `quota.headers.x-ratelimit-remaining-requests`)"]
    );
    assert_eq!(about("{ provider: g, condition: 'quota.headers.x-ratelimit-remaining-requests > 0' }"), [""; 0]);
}

#[test]
fn a_condition_that_cannot_change() {
    let always = ["warning: 10:35: this condition is always true"];
    assert_eq!(about("{ provider: p, condition: 1 < 2 }"), always);
    assert_eq!(about("{ provider: p, condition: 1 > 2 }"), ["warning: 10:35: this condition is always false"]);
    // Said outright, it is meant.
    assert_eq!(about("{ provider: p, condition: false }"), [""; 0]);
}

#[test]
fn a_condition_that_holds_when_nothing_is_known() {
    let warning = "warning: 10:35: this condition holds when nothing is known about the quota (a missing field counts \
                   as 0; with `on_unknown: skip` the candidate is skipped instead)";
    assert_eq!(about("{ provider: p, condition: balance < 90 }"), [warning]);
    assert_eq!(about("{ provider: p, condition: balance < 90 and error_count < 3 }"), [warning]);
    assert_eq!(about("{ provider: p, condition: balance < 90, on_unknown: skip }"), [""; 0]);
    assert_eq!(about("{ provider: p, condition: balance > 0 or error_count < 3 }"), [""; 0]);
}

#[test]
fn a_candidate_that_is_listed_twice() {
    assert_eq!(
        about("{ provider: p }\n      - { provider: p, condition: error_count < 3 }"),
        ["warning: 11:9: `p` is listed twice with the same model"]
    );
    assert_eq!(about("{ provider: p, model: a }\n      - { provider: p, model: b }"), [""; 0]);
}

#[test]
fn names_in_other_letters_case() {
    assert_eq!(about("{ provider: OLLAMA }"), ["warning: 10:21: `OLLAMA` is written `ollama` (write `ollama`)"]);
    assert_eq!(about("{ provider: G }"), ["warning: 10:21: `G` is written `g` (write `g`)"]);
    assert_eq!(told("backends: { OLLAMA: {} }"), ["warning: 1:13: `OLLAMA` is written `ollama`"]);
    assert_eq!(told("backends: { x: { type: OLLAMA } }"), ["warning: 1:24: `OLLAMA` is written `ollama`"]);
}

#[test]
fn nothing_at_all() {
    let nothing = ["warning: 1:1: nothing is configured: there are neither routes nor backends"];
    assert_eq!(told(""), nothing);
    assert_eq!(told("backends:\nmodels:\n"), nothing);
}

#[cfg(unix)]
#[test]
fn a_credential_that_everybody_may_read() {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("config.yaml");
    let warnings = |text: &str, mode: u32| {
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("rights");
        let key = |_: &str| Some("k".to_owned());
        let loaded = Config::load_with(&path, &key).unwrap_or_else(|wrong| panic!("{wrong}"));
        let warnings = loaded.warnings.iter().filter(|warning| warning.message().contains("credential"));
        warnings.map(|warning| format!("{:?} {}", warning.line(), warning.message())).collect::<Vec<_>>()
    };
    let of_server = "server:\n  api_keys: [one, two]\n";
    let of_backend = "backends:\n  a:\n    { type: openai, base_url: \"http://h/v1\", api_key: one }\n";
    for (text, line) in [(of_server, 2), (of_backend, 3)] {
        let expected = [format!("Some({line}) every user of this machine can read this credential")];
        assert_eq!(warnings(text, 0o644), expected);
        assert_eq!(warnings(text, 0o604), expected);
        assert!(warnings(text, 0o600).is_empty() && warnings(text, 0o640).is_empty());
        let from_environment = text.replace("one", "\"${KEY}\"").replace(", two", "");
        assert!(warnings(&from_environment, 0o644).is_empty(), "{from_environment}");
    }
}
