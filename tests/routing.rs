//! A request goes to the first provider of its route whose condition holds, and nowhere else.

mod support;

use serde_json::{Value, json};
use support::{Answer, Deployed, Gate, Received, Reply, Upstream, backend, backends, post_json};
use tokio::task::JoinSet;

/// A provider that says its name, and has this quota.
fn provider(name: &'static str, quota: Value) -> Upstream {
    Upstream::start(move |request| if is_fetch(&request) { Reply::quota(&quota) } else { Reply::chat(name) })
}

fn is_fetch(request: &Received) -> bool {
    request.path() == "/quota"
}

/// How often the provider's quota was asked for.
fn fetches(provider: &Upstream) -> usize {
    provider.requests().iter().filter(|request| is_fetch(request)).count()
}

/// The models that the provider was asked for.
fn models(provider: &Upstream) -> Vec<String> {
    let asked = provider.requests().into_iter().filter(|request| !is_fetch(request));
    asked.map(|request| request.json()["model"].as_str().expect("a name").to_owned()).collect()
}

/// A backend with a quota at its own host.
fn with_quota(name: &str, provider: &Upstream) -> String {
    backend(name, &provider.url(""), &format!("quota: {{ url: \"{}\" }}", provider.url("/quota")))
}

/// The configuration of one route, `m`, with these candidates.
fn one_route(candidates: &str, entries: impl IntoIterator<Item = String>) -> String {
    format!("models: [{{ name: m, providers: [{candidates}] }}]\n{}", backends(entries))
}

fn said(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

/// The message of an error that says that nobody could be asked.
fn not_eligible(answer: &Answer) -> String {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "no_eligible_provider");
    answer.json()["error"]["message"].as_str().expect("a text").to_owned()
}

mod the_full_example {
    use super::*;

    const EXAMPLE: &str = include_str!("data/example.yaml");

    /// The providers that the example names.
    struct Providers {
        openai: Upstream,
        pollinations: Upstream,
        yupp: Upstream,
        groq: Upstream,
        deepinfra: Upstream,
    }

    impl Providers {
        fn new(balance: f64, credits: u32) -> Self {
            Self {
                openai: provider("openai", json!({ "balance": balance })),
                pollinations: provider("pollinations", json!(null)),
                yupp: provider("yupp", json!([{ "result": { "data": { "json": credits } } }])),
                groq: provider("groq", json!(null)),
                deepinfra: provider("deepinfra", json!(null)),
            }
        }

        fn deploy(&self) -> Deployed {
            let entry = |name: &str, provider: &Upstream, more: &str| {
                format!("  {name}: {{ base_url: \"{}\", api_key: key-of-{name}, {more} }}\n", provider.url("/v1"))
            };
            let quota = |provider: &Upstream| format!("quota: {{ url: \"{}\" }}", provider.url("/quota"));
            let backends = backends([
                entry("OpenaiAccount", &self.openai, &quota(&self.openai)),
                entry("PollinationsAI", &self.pollinations, &quota(&self.pollinations)),
                entry("Yupp", &self.yupp, &quota(&self.yupp)),
                entry("Groq", &self.groq, ""),
                entry("DeepInfra", &self.deepinfra, ""),
            ]);
            Deployed::start(&format!("{EXAMPLE}\n{backends}"))
        }
    }

    #[tokio::test]
    async fn each_route_goes_to_its_first_provider() {
        let providers = Providers::new(1.5, 4);
        let gateway = providers.deploy();
        for (route, name, backend, model) in [
            ("my-gpt4", "openai", "OpenaiAccount", "gpt-4o"),
            ("yupp-chat", "yupp", "Yupp", "gpt-4o"),
            ("llama-fast", "groq", "Groq", "llama-3.3-70b"),
        ] {
            let answer = gateway.chat(route).await;
            assert_eq!(said(&answer), name, "{route}");
            assert_eq!(answer.header("x-pointsman-provider"), Some(backend));
            assert_eq!(answer.header("x-pointsman-model"), Some(model));
            assert_eq!(answer.header("x-pointsman-attempts"), Some("1"));
        }
        assert_eq!(models(&providers.openai), ["gpt-4o"]);
        assert_eq!(models(&providers.yupp), ["gpt-4o"]);
        assert_eq!(models(&providers.groq), ["llama-3.3-70b"]);
        assert!(models(&providers.pollinations).is_empty() && models(&providers.deepinfra).is_empty());
    }

    #[tokio::test]
    async fn without_quota_errors_decide() {
        let providers = Providers::new(0.0, 0);
        let gateway = providers.deploy();
        let rows = [
            ("my-gpt4", "OpenaiAccount", "openai", "pollinations"),
            ("yupp-chat", "Yupp", "yupp", "pollinations"),
            ("llama-fast", "Groq", "groq", "deepinfra"),
        ];
        for (route, backend, first, second) in rows {
            for _ in 0..2 {
                gateway.gateway().error_counts().record(backend);
            }
            assert_eq!(said(&gateway.chat(route).await), first, "{route} after two errors");
            gateway.gateway().error_counts().record(backend);
            let answer = gateway.chat(route).await;
            assert_eq!(said(&answer), second, "{route} after three errors");
            assert_eq!(answer.header("x-pointsman-attempts"), Some("1"), "one that is skipped was not asked");
        }
        assert_eq!(models(&providers.pollinations), ["openai-large", "openai-large"]);
        assert_eq!(models(&providers.deepinfra), ["meta-llama/Llama-3.3-70B-Instruct"]);
        assert_eq!(fetches(&providers.pollinations), 0, "it has no condition");
    }

    #[tokio::test]
    async fn quota_outweighs_errors() {
        let providers = Providers::new(0.01, 1);
        let gateway = providers.deploy();
        for backend in ["OpenaiAccount", "Yupp"] {
            for _ in 0..100 {
                gateway.gateway().error_counts().record(backend);
            }
        }
        assert_eq!(said(&gateway.chat("my-gpt4").await), "openai");
        assert_eq!(said(&gateway.chat("yupp-chat").await), "yupp");
    }

    #[tokio::test]
    async fn without_any_key_every_candidate_is_skipped_with_the_reason() {
        let gateway = Deployed::start(EXAMPLE);
        let message = not_eligible(&gateway.chat("my-gpt4").await);
        assert!(message.contains("no credential (OPENAI_API_KEY)"), "{message}");
        assert!(message.contains("no credential (POLLINATIONS_API_KEY)"), "{message}");
        let message = not_eligible(&gateway.chat("yupp-chat").await);
        assert!(message.contains("yupp: no base_url"), "{message}");
    }
}

mod conditions {
    use super::*;

    /// Whether a candidate with this condition and this quota is asked after so many errors.
    async fn is_open(condition: &str, quota: Value, errors: usize) -> bool {
        let (a, b) = (provider("a", quota), provider("b", json!(null)));
        let candidates = format!("{{ provider: a, condition: '{condition}' }}, {{ provider: b }}");
        let entries = [with_quota("a", &a), with_quota("b", &b)];
        let gateway = Deployed::start(&one_route(&candidates, entries));
        for _ in 0..errors {
            gateway.gateway().error_counts().record("a");
        }
        said(&gateway.chat("m").await) == "a"
    }

    #[tokio::test]
    async fn do_as_the_tables_say() {
        let credits = |remaining: u32| json!({ "credits": { "remaining": remaining, "total": 5000 } });
        let buckets = json!({ "buckets": [{ "modelId": "gemini-2.5-pro", "remainingFraction": 0.25 }] });
        let models = json!({ "models": { "gpt-4.1": { "left": 3 } } });
        let table = [
            ("quota.balance > 0", json!({ "balance": 0.5 }), 0, true),
            ("quota.balance > 0", json!({ "balance": 0 }), 0, false),
            ("quota.balance > 0", json!({ "balance": -1 }), 0, false),
            ("balance > 0", json!({ "balance": 0.5 }), 0, true),
            ("balance > 0", json!({ "balance": 0.0 }), 0, false),
            ("balance > 0", json!({ "balance": "12.5" }), 0, true),
            ("balance > 0", json!({ "balance": null }), 0, false),
            ("balance > 0", json!({}), 0, false),
            ("balance", json!({ "balance": true }), 0, true),
            ("balance > 0 or error_count < 3", json!({ "balance": 0 }), 2, true),
            ("balance > 0 or error_count < 3", json!({ "balance": 0 }), 3, false),
            ("balance > 0 or error_count < 3", json!({ "balance": 1 }), 3, true),
            ("quota.credits.remaining > 0", credits(1), 0, true),
            ("quota.credits.remaining > 0", credits(0), 0, false),
            ("quota.credits.remaining > 100", credits(100), 0, false),
            ("quota.credits.remaining > 100", credits(101), 0, true),
            ("quota.credits.remaining > 0 or error_count < 3", credits(0), 0, true),
            ("quota.credits.remaining > 0 or error_count < 3", credits(0), 3, false),
            ("quota.total_requests < 1000", json!({ "total_requests": 999 }), 0, true),
            ("quota.total_requests < 1000", json!({ "total_requests": 1000 }), 0, false),
            ("quota.total_requests < 1000", json!({}), 0, true),
            ("error_count < 3", json!(null), 2, true),
            ("error_count < 3", json!(null), 3, false),
            ("error_count < 5", json!(null), 4, true),
            ("error_count < 5", json!(null), 5, false),
            ("error_count == 0", json!(null), 0, true),
            ("error_count == 0", json!(null), 1, false),
            ("error_count != 1", json!(null), 1, false),
            ("error_count >= 1", json!(null), 1, true),
            ("error_count <= 1", json!(null), 2, false),
            ("not (balance > 0 and error_count == 0)", json!({ "balance": 1 }), 0, false),
            ("not balance > 0 and error_count == 0", json!({ "balance": 0 }), 0, true),
            ("quota.buckets[0].remainingFraction > 0.2", buckets.clone(), 0, true),
            ("quota.buckets[1].remainingFraction > 0.2", buckets, 0, false),
            ("quota.models[\"gpt-4.1\"].left >= 3", models, 0, true),
            ("", json!(null), 9, true),
        ];
        for (condition, quota, errors, open) in table {
            let told = format!("{condition} with {quota} and {errors} errors");
            assert_eq!(is_open(condition, quota, errors).await, open, "{told}");
        }
    }

    #[tokio::test]
    async fn that_cannot_be_evaluated_skip_the_candidate_and_say_why() {
        let a = provider("a", json!({ "balance": "plenty" }));
        let gateway = Deployed::start(&one_route("{ provider: a, condition: balance > 0 }", [with_quota("a", &a)]));
        let message = not_eligible(&gateway.chat("m").await);
        assert!(message.contains("a: ") && message.contains("balance"), "{message}");
        assert_eq!(models(&a), [""; 0]);
        assert_eq!(gateway.errors("a"), 0);
    }

    #[tokio::test]
    async fn of_true_and_false_are_always_and_never() {
        let (a, b) = (provider("a", json!(null)), provider("b", json!(null)));
        let candidates = "{ provider: a, condition: false }, { provider: b, condition: true }";
        let gateway = Deployed::start(&one_route(candidates, [with_quota("a", &a), with_quota("b", &b)]));
        assert_eq!(said(&gateway.chat("m").await), "b");
        assert!(models(&a).is_empty());
    }
}

mod quota {
    use super::*;

    #[tokio::test]
    async fn is_fetched_once_for_many_requests() {
        let a = provider("a", json!({ "balance": 1 }));
        let gateway = Deployed::start(&one_route("{ provider: a, condition: balance > 0 }", [with_quota("a", &a)]));
        for _ in 0..5 {
            assert_eq!(said(&gateway.chat("m").await), "a");
        }
        assert_eq!((fetches(&a), models(&a).len()), (1, 5));
    }

    #[tokio::test]
    async fn is_fetched_once_for_many_requests_at_a_time() {
        let gate = Gate::new();
        let held = gate.clone();
        let a = Upstream::start(move |request| {
            if is_fetch(&request) { Reply::quota(&json!({ "balance": 1 })).held_by(&held) } else { Reply::chat("a") }
        });
        let gateway = Deployed::start(&one_route("{ provider: a, condition: balance > 0 }", [with_quota("a", &a)]));
        let mut requests = JoinSet::new();
        for _ in 0..100 {
            let mut client = gateway.client().await;
            client.post("/v1/chat/completions", &json!({ "model": "m" }), &[]).await;
            requests.spawn(async move { client.answer().await });
        }
        a.wait_for(1).await;
        assert!(models(&a).is_empty(), "nobody is asked before the quota is known");
        gate.open();
        while let Some(answer) = requests.join_next().await {
            assert_eq!(said(&answer.expect("no panic")), "a");
        }
        assert_eq!((fetches(&a), models(&a).len()), (1, 100));
    }

    #[tokio::test]
    async fn is_left_alone_by_conditions_that_do_not_need_it() {
        let (a, b) = (provider("a", json!({ "balance": 1 })), provider("b", json!({ "balance": 1 })));
        let candidates = "{ provider: a, condition: error_count == 0 and (error_count == 0 or balance > 0) }, \
                          { provider: b, condition: error_count < 1 or balance > 0 }";
        let gateway = Deployed::start(&one_route(candidates, [with_quota("a", &a), with_quota("b", &b)]));
        assert_eq!(said(&gateway.chat("m").await), "a");
        gateway.gateway().error_counts().record("a");
        assert_eq!(said(&gateway.chat("m").await), "b");
        assert_eq!((fetches(&a), fetches(&b)), (0, 0));
    }

    #[tokio::test]
    async fn is_fetched_anew_after_a_429_and_a_402() {
        for status in [429, 402] {
            let a = Upstream::script([
                Reply::quota(&json!({ "balance": 1 })),
                Reply::chat("a"),
                Reply::error(status, "limited", "no more"),
                Reply::quota(&json!({ "balance": 0 })),
            ]);
            let b = provider("b", json!(null));
            let candidates = "{ provider: a, condition: balance > 0 }, { provider: b }";
            let gateway = Deployed::start(&one_route(candidates, [with_quota("a", &a), with_quota("b", &b)]));
            for name in ["a", "b", "b", "b"] {
                assert_eq!(said(&gateway.chat("m").await), name, "after {status}");
            }
            assert_eq!((fetches(&a), models(&a).len()), (2, 2), "after {status}");
        }
    }

    #[tokio::test]
    async fn survives_other_failures() {
        let a = Upstream::script([
            Reply::quota(&json!({ "balance": 1 })),
            Reply::error(500, "oops", "oops"),
            Reply::error(503, "overloaded", "oops"),
            Reply::chat("a"),
        ]);
        let b = provider("b", json!(null));
        let candidates = "{ provider: a, condition: balance > 0 }, { provider: b }";
        let gateway = Deployed::start(&one_route(candidates, [with_quota("a", &a), with_quota("b", &b)]));
        for name in ["b", "b", "a"] {
            assert_eq!(said(&gateway.chat("m").await), name);
        }
        assert_eq!(fetches(&a), 1);
    }

    /// A backend whose quota cannot be had, with this rule for that.
    async fn unknown(condition: &str, on_unknown: &str) -> (Answer, Answer, usize) {
        let a = Upstream::start(
            |request| {
                if is_fetch(&request) { Reply::error(500, "oops", "oops") } else { Reply::chat("a") }
            },
        );
        let candidates = format!("{{ provider: a, condition: {condition}, {on_unknown} }}");
        let gateway = Deployed::start(&one_route(&candidates, [with_quota("a", &a)]));
        (gateway.chat("m").await, gateway.chat("m").await, fetches(&a))
    }

    #[tokio::test]
    async fn that_is_unknown_counts_as_zero() {
        let (answer, again, fetches) = unknown("balance > 0", "").await;
        assert!(not_eligible(&answer).contains("a: closed: balance > 0 (balance = 0)"), "{}", answer.text());
        not_eligible(&again);
        assert_eq!(fetches, 1, "a failed fetch is remembered");
        for on_unknown in ["", "on_unknown: zero"] {
            let (answer, again, _) = unknown("quota.used < 90", on_unknown).await;
            assert_eq!((said(&answer), said(&again)), ("a".into(), "a".into()));
        }
    }

    #[tokio::test]
    async fn that_is_unknown_skips_or_allows_if_told_so() {
        for condition in ["balance > 0", "quota.used < 90"] {
            let (answer, again, fetches) = unknown(condition, "on_unknown: skip").await;
            assert!(not_eligible(&answer).contains("a: quota unknown: "), "{}", answer.text());
            not_eligible(&again);
            assert_eq!(fetches, 1);
            let (answer, again, fetches) = unknown(condition, "on_unknown: allow").await;
            assert_eq!((said(&answer), said(&again), fetches), ("a".into(), "a".into(), 1));
        }
    }

    #[tokio::test]
    async fn of_a_backend_without_a_source_is_unknown() {
        let a = provider("a", json!({ "balance": 1 }));
        let candidate = |rule: &str| format!("{{ provider: a, condition: balance > 0, {rule} }}");
        for (rule, asked) in [("", 0), ("on_unknown: skip", 0), ("on_unknown: allow", 1)] {
            let config = one_route(&candidate(rule), [backend("a", &a.url(""), "")]);
            Deployed::start(&config).chat("m").await;
            assert_eq!(models(&a).len(), asked, "{rule}");
        }
        assert_eq!(fetches(&a), 0);
    }

    #[tokio::test]
    async fn requests_are_what_the_configuration_says() {
        let a = Upstream::start(|request| match request.path() {
            "/usage" => Reply::json(200, &json!({ "data": { "left": "7", "spent": 2 } })),
            _ => Reply::chat("a"),
        });
        let quota = format!(
            "quota: {{ url: \"{}\", method: POST, body: '{{\"project\":\"p\"}}', pointer: /data, \
             headers: {{ x-key: \"<${{api_key}}>\" }}, map: {{ balance: /left }} }}",
            a.url("/usage?window=day"),
        );
        let candidates = "{ provider: a, condition: balance == 7 and quota.spent == 2 }";
        let gateway = Deployed::start(&one_route(candidates, [backend("a", &a.url(""), &quota)]));
        assert_eq!(said(&gateway.chat("m").await), "a");
        let fetch = &a.requests()[0];
        assert_eq!((fetch.method.as_str(), fetch.target.as_str()), ("POST", "/usage?window=day"));
        assert_eq!(fetch.body, r#"{"project":"p"}"#);
        assert_eq!(fetch.header("x-key"), Some("<key-of-a>"));
        assert_eq!(fetch.header("authorization"), None, "the headers that are given take the place of the usual one");
    }
}

mod state {
    use super::*;

    #[tokio::test]
    async fn errors_close_a_gate() {
        let (a, b) = (Upstream::always(Reply::error(500, "oops", "oops")), provider("b", json!(null)));
        let candidates = "{ provider: a, condition: error_count < 3 }, { provider: b }";
        let gateway = Deployed::start(&one_route(candidates, [with_quota("a", &a), with_quota("b", &b)]));
        let mut attempts = Vec::new();
        for _ in 0..5 {
            let answer = gateway.chat("m").await;
            assert_eq!(said(&answer), "b");
            attempts.push(answer.header("x-pointsman-attempts").expect("it is there").to_owned());
        }
        assert_eq!(attempts, ["2", "2", "2", "1", "1"]);
        assert_eq!((gateway.errors("a"), gateway.errors("b")), (3, 0));
        gateway.gateway().error_counts().reset("a");
        gateway.chat("m").await;
        assert_eq!((gateway.errors("a"), models(&a).len()), (1, 4));
    }

    #[tokio::test]
    async fn a_success_forgives_nothing() {
        let a = Upstream::script([Reply::error(500, "oops", "oops"), Reply::chat("a"), Reply::chat("a")]);
        let gateway = Deployed::start(&one_route("{ provider: a }", [with_quota("a", &a)]));
        for errors in [1, 1, 1] {
            gateway.chat("m").await;
            assert_eq!(gateway.errors("a"), errors);
        }
    }

    #[tokio::test]
    async fn belongs_to_the_backend_whatever_the_route() {
        let a = Upstream::start(|request| {
            if is_fetch(&request) { Reply::quota(&json!({ "balance": 1 })) } else { Reply::error(500, "oops", "oops") }
        });
        let candidates = "[{ provider: a, condition: balance > 0 and error_count < 2 }]";
        let gateway = Deployed::start(&format!(
            "models:\n  - {{ name: one, providers: {candidates} }}\n  - {{ name: two, providers: {candidates} }}\n{}",
            backends([with_quota("a", &a)])
        ));
        assert_eq!(gateway.chat("one").await.status, 500);
        assert_eq!(gateway.chat("two").await.status, 500);
        assert_eq!(gateway.errors("a"), 2);
        for route in ["one", "two"] {
            not_eligible(&gateway.chat(route).await);
        }
        assert_eq!((models(&a), fetches(&a)), (vec!["one".to_owned(), "two".to_owned()], 1));
    }

    #[tokio::test]
    async fn an_error_window_of_the_backend_s_own_is_kept() {
        let (a, b) = (Upstream::always(Reply::error(500, "oops", "oops")), provider("b", json!(null)));
        // Errors of no age at all count: none ever does.
        let entry = |name: &str, provider: &Upstream, window: &str| backend(name, &provider.url(""), window);
        let entries = [entry("a", &a, "error_window: 0s"), entry("b", &b, "")];
        let candidates = "{ provider: a, condition: error_count == 0 }, { provider: b }";
        let gateway = Deployed::start(&one_route(candidates, entries));
        for _ in 0..3 {
            assert_eq!(gateway.chat("m").await.header("x-pointsman-attempts"), Some("2"));
        }
        assert_eq!(gateway.errors("a"), 0);
    }
}

mod nobody_to_ask {
    use super::*;

    #[tokio::test]
    async fn is_answered_with_each_reason() {
        let a = provider("a", json!({ "balance": 0 }));
        let config = format!(
            "models: [{{ name: m, providers: [\
             {{ provider: a, condition: balance > 0 }}, {{ provider: b, condition: error_count < 1 }}, \
             {{ provider: c }}, {{ provider: d, condition: false }}] }}]\n{}",
            backends([
                with_quota("a", &a),
                backend("b", &a.url(""), ""),
                "  c: { type: groq }\n".to_owned(),
                backend("d", &a.url(""), ""),
            ])
        );
        let gateway = Deployed::start(&config);
        gateway.gateway().error_counts().record("b");
        let answer = gateway.chat("m").await;
        let message = not_eligible(&answer);
        for reason in [
            "a: closed: balance > 0 (balance = 0)",
            "b: closed: error_count < 1 (error_count = 1)",
            "c: no credential (GROQ_API_KEY)",
            "d: closed",
        ] {
            assert!(message.contains(reason), "{reason} in {message}");
        }
        let wait: u32 = answer.header("retry-after").expect("it is there").parse().expect("whole seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(answer.header("x-pointsman-attempts"), Some("0"));
        assert_eq!(answer.header("x-pointsman-provider"), None);
        assert_eq!(answer.headers.all("server-timing").count(), 4);
        assert!(models(&a).is_empty());
    }

    #[tokio::test]
    async fn a_candidate_without_a_credential_is_passed_over() {
        let b = provider("b", json!(null));
        let config = one_route(
            "{ provider: Groq }, { provider: b }",
            ["  Groq: { base_url: \"http://192.0.2.1/v1\" }\n".to_owned(), backend("b", &b.url(""), "")],
        );
        let answer = Deployed::start(&config).chat("m").await;
        assert_eq!(said(&answer), "b");
        assert_eq!(answer.header("x-pointsman-attempts"), Some("1"));
        let timing = answer.headers.get("server-timing").expect("it is there");
        assert!(timing.contains("no credential (GROQ_API_KEY)"), "{timing}");
    }
}

mod secrets {
    use super::*;

    const CLIENTS: [(&str, &str); 6] = [
        ("authorization", "Bearer canary"),
        ("x-api-key", "canary"),
        ("api-key", "canary"),
        ("x-goog-api-key", "canary"),
        ("cookie", "session=canary"),
        ("proxy-authorization", "Basic canary"),
    ];

    /// The header fields of a request that hold this.
    fn with(request: &Received, secret: &str) -> Vec<String> {
        let fields = request.headers.iter().filter(|(_, value)| value.contains(secret));
        fields.map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[tokio::test]
    async fn go_to_their_own_backend_alone() {
        let a = Upstream::start(|request| {
            if is_fetch(&request) { Reply::quota(&json!({ "balance": 1 })) } else { Reply::error(500, "oops", "oops") }
        });
        let b = provider("b", json!({ "balance": 1 }));
        let candidates = "{ provider: a, condition: balance > 0 }, { provider: b, condition: balance > 0 }";
        let gateway = Deployed::start(&one_route(candidates, [with_quota("a", &a), with_quota("b", &b)]));
        let answer = post_json(gateway.addr(), "/v1/chat/completions", &json!({ "model": "m" }), &CLIENTS).await;
        assert_eq!(said(&answer), "b");
        for (provider, own, other) in [(&a, "key-of-a", "key-of-b"), (&b, "key-of-b", "key-of-a")] {
            assert_eq!((provider.requests().len(), fetches(provider)), (2, 1));
            for request in provider.requests() {
                assert_eq!(with(&request, own), [format!("authorization: Bearer {own}")]);
                assert_eq!(with(&request, other), [""; 0]);
                assert_eq!(with(&request, "canary"), [""; 0]);
            }
        }
    }

    #[tokio::test]
    async fn of_the_client_travel_where_the_backend_says_so() {
        let a = provider("a", json!({ "balance": 1 }));
        let entry = format!(
            "  a: {{ type: openai, base_url: \"{}\", forward_client_auth: true, quota: {{ url: \"{}\" }} }}\n",
            a.url("/v1"),
            a.url("/quota"),
        );
        let gateway = Deployed::start(&one_route("{ provider: a, condition: balance > 0 }", [entry]));
        post_json(gateway.addr(), "/v1/chat/completions", &json!({ "model": "m" }), &CLIENTS).await;
        let [fetch, request] = a.requests().try_into().expect("two requests");
        assert_eq!(with(&fetch, "canary"), [""; 0]);
        assert_eq!(request.header("authorization"), Some("Bearer canary"));
        assert_eq!(request.header("x-api-key"), Some("canary"));
        assert_eq!(request.header("cookie"), None);
        assert_eq!(request.header("proxy-authorization"), None);
    }

    #[tokio::test]
    async fn of_the_gateway_stay_when_clients_have_keys_of_its_own() {
        let a = provider("a", json!(null));
        let config = format!(
            "server: {{ api_keys: [canary] }}\n{}",
            one_route("{ provider: a }", ["  a: { type: openai, base_url: \"".to_owned() + &a.url("/v1") + "\" }\n"])
        );
        let gateway = Deployed::start(&config);
        post_json(gateway.addr(), "/v1/chat/completions", &json!({ "model": "m" }), &CLIENTS).await;
        assert_eq!(with(&a.request(), "canary"), [""; 0]);
        assert_eq!(a.request().header("authorization"), None);
    }

    #[tokio::test]
    async fn that_a_provider_echoes_do_not_reach_the_client() {
        let reply = Reply::chat("hello")
            .header("x-your-key", "Bearer key-of-a")
            .header("set-cookie", "session=canary")
            .header("x-other", "stays");
        let a = Upstream::always(reply);
        let gateway = Deployed::start(&one_route("{ provider: a }", [backend("a", &a.url(""), "")]));
        let answer = gateway.chat("m").await;
        assert!(!format!("{:?}", answer.headers).contains("key-of-a"), "{:?}", answer.headers);
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-other"), Some("stays"));
    }
}

#[tokio::test]
async fn the_client_learns_what_happened() {
    let (a, b) = (Upstream::always(Reply::error(500, "oops", "oops")), provider("b", json!(null)));
    let candidates = "{ provider: z, condition: false }, { provider: a, model: \"say \\\"cheese\\\"\" }, \
                      { provider: b, model: x/y }";
    let entries = [backend("z", &a.url(""), ""), backend("a", &a.url(""), ""), backend("b", &b.url(""), "")];
    let answer = Deployed::start(&one_route(candidates, entries)).chat("m").await;
    assert_eq!(answer.header("x-pointsman-provider"), Some("b"));
    assert_eq!(answer.header("x-pointsman-model"), Some("x/y"));
    assert_eq!(answer.header("x-pointsman-attempts"), Some("2"));
    let entries: Vec<_> = answer.headers.all("server-timing").collect();
    let [z, a, b] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(z.starts_with("attempt1;dur=") && z.contains("desc=\"z/m: skipped (closed"), "{z}");
    assert!(a.starts_with("attempt2;dur=") && a.ends_with(r#"desc="a/say \"cheese\": 500""#), "{a}");
    assert!(b.starts_with("attempt3;dur=") && b.ends_with(r#"desc="b/x/y: 200""#), "{b}");
    let duration = b.split(['=', ';']).nth(2).expect("there is one");
    assert!(duration.parse::<f64>().is_ok_and(|milliseconds| milliseconds >= 0.0), "{b}");
}

/// Files, batches, stored responses: they go to the default backend.
mod requests_without_a_model {
    use super::*;

    fn deploy(upstream: &Upstream, default: &str) -> Deployed {
        let entries = [backend("a", &upstream.url(""), "models: [small]"), backend("b", "http://127.0.0.1:1", "")];
        Deployed::start(&format!("{default}\n{}", backends(entries)))
    }

    #[tokio::test]
    async fn go_to_the_default_backend_as_they_are() {
        let upstream = Upstream::start(|request| match request.method.as_str() {
            "HEAD" => Reply::new(200).header("content-length", "7"),
            "DELETE" => Reply::new(204),
            "GET" if request.path().ends_with("/content") => Reply::body(200, "text/plain", ""),
            _ => Reply::json(200, &json!({ "id": "file-1" })),
        });
        let gateway = deploy(&upstream, "default_backend: a");
        let mut client = gateway.client().await;
        let form = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b--\r\n";
        for (method, target, content_type, body, status) in [
            ("GET", "/v1/files?limit=2", "", "", 200),
            ("GET", "/v1/files/file-1/content", "", "", 200),
            ("HEAD", "/v1/files/file-1", "", "", 200),
            ("DELETE", "/v1/files/file-1", "", "", 204),
            ("POST", "/v1/responses/resp_1/cancel", "", "", 200),
            ("POST", "/v1/batches", "application/json", "{\"input_file_id\":\"file-1\"}", 200),
            ("POST", "/v1/files", "multipart/form-data; boundary=b", form, 200),
            ("PUT", "/v1/things/1", "text/plain", "anything", 200),
            ("PATCH", "/v1/things/1", "application/json", "{\"model\":\"small\"}", 200),
        ] {
            let headers = [("content-type", content_type)];
            client.request(method, target, if content_type.is_empty() { &[] } else { &headers }, body.as_bytes()).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
            assert_eq!((answer.header("x-pointsman-provider"), answer.header("x-pointsman-model")), (Some("a"), None));
            let received = upstream.requests().pop().expect("a request");
            assert_eq!((received.method.as_str(), received.target.as_str()), (method, target));
            assert_eq!((received.header("authorization"), &*received.body), (Some("Bearer key-of-a"), body.as_bytes()));
        }
        assert_eq!(gateway.errors("a"), 0);
    }

    #[tokio::test]
    async fn still_need_one_where_the_path_asks_for_it() {
        let upstream = Upstream::script([]);
        let gateway = deploy(&upstream, "default_backend: a");
        let mut client = gateway.client().await;
        for (method, path, body, status, code) in [
            ("POST", "/v1/chat/completions", "{}", 400, "missing_model"),
            ("POST", "/v1/embeddings", "", 400, "invalid_json"),
            ("POST", "/v1/batches", "{", 400, "invalid_json"),
            ("POST", "/v1/batches", "{\"model\":7}", 400, "invalid_model"),
            ("GET", "/v1/chat/completions", "", 405, "method_not_allowed"),
            ("DELETE", "/v1/models/small", "", 405, "method_not_allowed"),
            ("OPTIONS", "/v1/files", "", 404, "unknown_path"),
            ("GET", "/files", "", 404, "unknown_path"),
        ] {
            client.request(method, path, &[], body.as_bytes()).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn go_by_their_model_if_they_have_one_after_all() {
        let upstream = Upstream::always(Reply::json(200, &json!({})));
        let gateway = deploy(&upstream, "default_backend: b");
        let answer = post_json(gateway.addr(), "/v1/fine_tuning/jobs", &json!({ "model": "small" }), &[]).await;
        assert_eq!((answer.status, answer.header("x-pointsman-provider")), (200, Some("a")));
    }

    #[tokio::test]
    async fn are_refused_without_a_default_backend() {
        let upstream = Upstream::script([]);
        let gateway = deploy(&upstream, "");
        let mut client = gateway.client().await;
        for (method, body, status, code) in [
            ("GET", "", 404, "unknown_path"),
            ("DELETE", "", 404, "unknown_path"),
            ("POST", "{}", 400, "missing_model"),
        ] {
            client.request(method, "/v1/files", &[], body.as_bytes()).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{method}");
        }
        let closed = Deployed::start("default_backend: qwen-oauth\nbackends: { qwen-oauth: {} }\n");
        let answer = support::get(closed.addr(), "/v1/files", &[]).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("backend_disabled")));
    }
}
