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
            "warning: 9:21: `openai-api` has no quota source (its answers report their limits as \
             `quota.headers.<name>`)"
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
        ["warning: 10:36: `d` has no `quota.bucket[0].remainingFraction` (it has quota.buckets.*.*, quota.models.*.*)"]
    );
}

#[test]
fn a_quota_condition_without_a_quota_source() {
    assert_eq!(
        about("{ provider: o, condition: 'balance > 0' }"),
        ["warning: 10:36: `o` has no quota source (give `backends.o.quota`, or decide by `error_count`)"]
    );
    assert_eq!(
        about("{ provider: g, condition: 'balance > 0' }"),
        ["warning: 10:36: `g` has no quota source (its answers report their limits as `quota.headers.<name>`)"]
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
