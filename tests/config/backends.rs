use http::{Method, Uri};
use pointsman::config::{AuthForm, Backend, Reshape};
use pointsman_layers::condition::OnUnknown;
use serde_json::json;

use crate::support::{config, load, told};

/// The backend `x` of a configuration that has `x: <text>` for backends.
fn backend(text: &str) -> Backend {
    config(&format!("backends: {{ {text} }}")).backends.remove(0)
}

fn url(backend: &Backend) -> String {
    backend.base_url.as_ref().map(Uri::to_string).unwrap_or_default()
}

#[test]
fn a_backend_is_a_preset_and_what_is_different() {
    let groq = backend("groq: { api_key: k }");
    assert_eq!((groq.preset.unwrap().name, url(&groq).as_str()), ("groq", "https://api.groq.com/openai/v1"));
    // By an alias, by the part before the dot, by type, by connector.
    assert_eq!(backend("PollinationsAI: { api_key: k }").preset.unwrap().name, "pollinations");
    assert_eq!(backend("openai.work: { api_key: k }").preset.unwrap().name, "openai-api");
    assert_eq!(backend("x: { type: Groq, api_key: k }").preset.unwrap().name, "groq");
    assert_eq!(backend("x: { connector: groq, api_key: k }").preset.unwrap().name, "groq");
    let moved = backend("groq: { base_url: 'http://127.0.0.1:1/v1' }");
    assert_eq!(url(&moved), "http://127.0.0.1:1/v1");
}

#[test]
fn any_server_that_speaks_openais_api_will_do() {
    for text in [
        "x: { type: openai, base_url: 'https://h/v1' }",
        "x: { base_url: 'https://h/v1' }",
        "openai: { base_url: 'https://h/v1' }",
        "openai.mine: { base_url: 'https://h/v1' }",
        "Grok: { base_url: 'https://h/v1' }",
    ] {
        let generic = backend(text);
        assert!(generic.preset.is_none(), "{text}");
        assert_eq!((generic.key_variable, generic.auth, generic.unavailable), (None, AuthForm::Bearer, None));
    }
    // Without a URL it is the preset.
    assert_eq!(backend("x: { type: openai, api_key: k }").preset.unwrap().name, "openai-api");
}

#[test]
fn headers_of_the_connection_cannot_be_set() {
    for name in ["Transfer-Encoding", "connection", "content-length", "te", "upgrade", "Expect"] {
        let told = told(&format!("backends: {{ x: {{ base_url: 'http://h/v1', headers: {{ {name}: chunked }} }} }}"));
        let expected = format!("`{}` cannot be set: each connection has its own", name.to_lowercase());
        assert!(told.iter().any(|line| line.contains(&expected)), "{told:?}");
    }
}

#[test]
fn a_key_is_needed_but_for_a_server_on_this_machine() {
    let reason = |text: &str| backend(text).unavailable;
    assert_eq!(reason("groq: {}").unwrap(), "no credential (GROQ_API_KEY)");
    assert_eq!(reason("groq: { api_key: '${NONE:-}' }").unwrap(), "no credential (GROQ_API_KEY)");
    assert_eq!(reason("azure-openai: {}").unwrap(), "no base_url");
    assert_eq!(reason("qwen-oauth: {}"), None);
    assert!(
        backend("qwen-oauth: {}").why_closed().unwrap().contains("`--enable-qwen-oauth-backend-debugging-override`")
    );
    for usable in [
        "groq: { api_key: k }",
        "groq: { forward_client_auth: true }",
        "groq: { headers: { Authorization: 'Bearer k' } }",
        "groq: { auth: none }",
        "groq: { base_url: 'http://localhost:1/v1' }",
        "groq: { base_url: 'http://127.8.0.1/v1' }",
        "groq: { base_url: 'http://[::1]:80/v1' }",
        "ollama: ",
        "x: { type: openai, base_url: 'https://h/v1' }",
    ] {
        assert_eq!(reason(usable), None, "{usable}");
    }
}

#[test]
fn the_credential_travels_in_the_form_that_is_asked_for() {
    let auth = |text: &str| backend(&format!("x: {{ base_url: 'http://h', auth: {text} }}")).auth;
    assert_eq!(auth("bearer"), AuthForm::Bearer);
    assert_eq!(auth("none"), AuthForm::None);
    assert_eq!(auth("{ scheme: token }"), AuthForm::Scheme("token".into()));
    assert_eq!(auth("{ header: X-Api-Key }"), AuthForm::Header(http::HeaderName::from_static("x-api-key")));
    assert_eq!(auth("{ cookie: session }"), AuthForm::Cookie("session".into()));
    let azure = backend("azure-openai: { base_url: 'https://h', api_key: k }");
    assert_eq!(azure.auth, AuthForm::Header(http::HeaderName::from_static("api-key")));
}

#[test]
fn a_credential_becomes_a_header() {
    let header = |form: AuthForm| {
        let value = form.header_value("k").unwrap();
        assert!(value.is_sensitive());
        form.header_name().map(|name| format!("{name}: {}", value.to_str().unwrap()))
    };
    assert_eq!(header(AuthForm::None), None);
    assert_eq!(header(AuthForm::Bearer).unwrap(), "authorization: Bearer k");
    assert_eq!(header(AuthForm::Scheme("token".into())).unwrap(), "authorization: token k");
    assert_eq!(header(AuthForm::Header(http::HeaderName::from_static("api-key"))).unwrap(), "api-key: k");
    assert_eq!(header(AuthForm::Cookie("session".into())).unwrap(), "cookie: session=k");
}

#[test]
fn everything_about_a_backend_is_read() {
    let x = config(
        r#"
backends:
  mine:
    type: openai
    base_url: https://llm.example.com/v1
    api_key: "${A_KEY}"
    headers: { x-team: search }
    quota: { url: https://llm.example.com/usage, headers: {authorization: "Bearer ${api_key}"}, pointer: /data, ttl: 5m, timeout: 5s, refresh: background }
    timeouts: { connect: 1s, headers: 2s, idle: 3s }
    error_window: 10m
    default_params: { temperature: 0.2 }
    forced_params: { seed: 1 }
    models: [big, small]
    rate_limit_retry: { max_wait: 1s }
    system_messages: false
"#,
    )
    .backends
    .remove(0);
    assert_eq!(x.headers["x-team"], "search");
    assert_eq!(x.timeouts.idle.as_secs(), 3);
    assert_eq!(x.error_window.as_secs(), 600);
    assert_eq!(x.models, ["big", "small"]);
    assert_eq!((&x.default_params["temperature"], &x.forced_params["seed"]), (&json!(0.2), &json!(1)));
    assert_eq!(x.hold.unwrap().label, "mine");
    assert!(!x.system_messages);
    let quota = x.quota.unwrap();
    // The backend's own key is put in when the request is made.
    assert_eq!(quota.headers["authorization"], "Bearer ${api_key}");
    assert_eq!((quota.method, quota.pointer.as_str(), quota.auth), (Method::GET, "/data", AuthForm::None));
    assert_eq!((quota.ttl.as_secs(), quota.timeout.as_secs(), quota.background_refresh), (300, 5, true));
}

#[test]
fn a_quota_request_is_the_presets_and_what_is_different() {
    let quota = |text: &str| backend(text).quota;
    let pollinations = quota("pollinations: { api_key: k }").unwrap();
    assert_eq!(pollinations.url, "https://gen.pollinations.ai/account/balance");
    assert_eq!((pollinations.auth, pollinations.ttl.as_secs()), (AuthForm::Bearer, 300));
    assert!(quota("pollinations: { api_key: k, quota: false }").is_none());
    assert_eq!(quota("pollinations: { api_key: k, quota: { ttl: 1s } }").unwrap().ttl.as_secs(), 1);
    assert!(quota("groq: { api_key: k }").is_none());

    // Google's takes a token that the user has to give.
    assert!(quota("gemini-cli: { api_key: k }").is_none());
    let google =
        quota("gemini-cli: { api_key: k, quota: { headers: { authorization: Bearer t }, body: { project: p } } }")
            .unwrap();
    assert_eq!((google.method, google.body.as_deref()), (Method::POST, Some(r#"{"project":"p"}"#)));

    let mapped = quota(
        "x: { base_url: 'http://h', quota: { url: 'http://h/q', map: { balance: /a, b: [/c, /d], e: 5, \
         f: { difference: [/g, /h] }, i: { list: /j, by: /k } } } }",
    )
    .unwrap();
    let map: Vec<_> = mapped.map.iter().map(|(field, from)| (field.as_str(), from)).collect();
    assert_eq!(map[0], ("balance", &Reshape::Pointer(vec!["/a".into()].into())));
    assert_eq!(map[1], ("b", &Reshape::Pointer(vec!["/c".into(), "/d".into()].into())));
    assert_eq!(map[2], ("e", &Reshape::Constant(5.0)));
    assert_eq!(map[3], ("f", &Reshape::Difference("/g".into(), "/h".into())));
    assert_eq!(map[4], ("i", &Reshape::KeyedBy { list: "/j".into(), by: "/k".into() }));
}

#[test]
fn a_preset_that_is_asked_elsewhere_answers_in_its_own_shape() {
    let moved = "openrouter: { base_url: 'http://h/v1', api_key: k, quota: { url: 'http://h/credits' } }";
    let quota = backend(moved).quota.unwrap();
    assert_eq!((quota.pointer.as_str(), quota.map.len(), &quota.auth), ("/data", 1, &AuthForm::Bearer));
    assert!(quota.fields.unwrap().contains(&"balance"));
    let yupp = backend("yupp: { base_url: 'http://h/v1', api_key: k, quota: { url: 'http://h/credits' } }").quota;
    assert!(matches!(yupp.unwrap().auth, AuthForm::Cookie(_)));
    let own = "openrouter: { api_key: k, quota: { pointer: /x, map: { balance: /left } } }";
    let quota = backend(own).quota.unwrap();
    assert_eq!((quota.pointer.as_str(), quota.map[0].0.as_str(), quota.fields), ("/x", "balance", None));
}

#[test]
fn anthropic_s_own_api_has_its_own_headers() {
    let usual = backend("anthropic: { api_key: k }").dialect.unwrap();
    assert!(usual.covers("/v1/messages") && usual.covers("/v1/messages/count_tokens"));
    assert!(!usual.covers("/v1/messagesx") && !usual.covers("/v1/chat/completions"));
    assert_eq!(usual.auth.header_name().unwrap(), "x-api-key");
    // Whoever says how the key travels says it for all paths.
    let said = backend("anthropic: { api_key: k, auth: bearer }");
    assert_eq!(said.dialect.unwrap().auth, AuthForm::Bearer);
    assert_eq!(backend("anthropic: { headers: { x-api-key: k } }").unavailable, None);
}

#[test]
fn terms_of_others_have_to_be_accepted() {
    let copilot = |keys: &str| backend(&format!("github-copilot: {{ {keys} }}"));
    let closed = copilot("api_key: k").why_closed().unwrap();
    assert!(closed.contains("set `backends.github-copilot.accept_terms: true`"), "{closed}");
    assert!(copilot("api_key: k, accept_terms: false").why_closed().is_some());
    assert_eq!(copilot("api_key: k, accept_terms: true").why_closed(), None);

    let text =
        "backends: { github-copilot: { api_key: k } }\nmodels: [{ name: r, providers: [{ provider: GithubCopilot }] }]";
    assert_eq!(
        told(text),
        ["warning: 2:45: `github-copilot` is disabled: it uses another program's login, and nobody has accepted its \
          terms (set `backends.github-copilot.accept_terms: true`)"]
    );
    assert_eq!(
        told("backends: { groq: { api_key: k, accept_terms: true } }"),
        ["warning: 1:33: `groq` has no terms to accept here"]
    );
}

#[test]
fn a_condition_on_headers_lets_the_first_request_through() {
    let on_unknown = |rest: &str| {
        let text = format!("models: [{{ name: r, providers: [{{ provider: ollama, {rest} }}] }}]");
        config(&text).routes[0].candidates[0].on_unknown
    };
    assert_eq!(on_unknown("condition: balance > 0"), OnUnknown::Zero);
    assert_eq!(on_unknown("condition: quota.headers.x-left > 0"), OnUnknown::Allow);
    assert_eq!(on_unknown("condition: error_count < 3 and quota.headers.x-left > 0"), OnUnknown::Allow);
    assert_eq!(on_unknown("condition: quota.headers.x-left > 0, on_unknown: zero"), OnUnknown::Zero);
}

#[test]
fn a_key_is_not_sent_to_another_host_for_the_quota() {
    // The preset's own address is of no use to a backend that was moved.
    assert!(backend("pollinations: { base_url: 'http://127.0.0.1:1/v1', api_key: k }").quota.is_none());
    let elsewhere = "backends: { x: { base_url: 'https://h/v1', api_key: k, quota: { url: 'https://other/q' } } }";
    let loaded = load(elsewhere).unwrap();
    assert_eq!(loaded.config.backends[0].quota.as_ref().unwrap().auth, AuthForm::None);
    assert_eq!(
        loaded.warnings.iter().next().unwrap().message(),
        "the quota is asked for at another host than the backend's"
    );
    let clear =
        load("backends: { x: { base_url: 'https://h/v1', api_key: k, quota: { url: 'http://h/q' } } }").unwrap();
    assert_eq!(clear.config.backends[0].quota.as_ref().unwrap().auth, AuthForm::None);
    assert_eq!(clear.warnings.iter().next().unwrap().message(), "the quota is asked for in the clear");
    let same = "backends: { x: { base_url: 'https://h/v1', api_key: k, quota: { url: 'https://h:8/q' } } }";
    assert_eq!(config(same).backends[0].quota.as_ref().unwrap().auth, AuthForm::Bearer);
}

#[test]
fn a_provider_is_a_configured_backend_first() {
    let of = |backends: &str, provider: &str| {
        let text =
            format!("backends: {{ {backends} }}\nmodels: [{{ name: r, providers: [{{ provider: {provider} }}] }}]");
        let config = config(&text);
        let name = config.routes[0].candidates[0].backend.clone();
        (name.clone(), config.backend(&name).unwrap().api_key.is_some(), config.backends.len())
    };
    assert_eq!(of("groq: { api_key: k }", "groq"), ("groq".into(), true, 1));
    // An alias means the same provider, so it means the backend that is configured for it.
    assert_eq!(of("groq: { api_key: k }", "Groq"), ("groq".into(), true, 1));
    assert_eq!(of("OpenaiAccount: { api_key: k }", "OpenaiAPI"), ("OpenaiAccount".into(), true, 1));
    assert_eq!(of("groq.work: { api_key: k }", "groq"), ("groq".into(), false, 2));
    assert_eq!(of("Mine: { base_url: 'http://h' }", "mine"), ("Mine".into(), false, 1));
    assert_eq!(of("", "GROQ"), ("groq".into(), false, 1));
}

#[test]
fn the_documents_login_backend_loads() {
    let config = config(
        "
backends:
  qwen-oauth:
    type: qwen-oauth
    extra:
      enable_qwen_oauth_backend_debugging_override: true
      qwen_oauth_initial_rate_limit_retry_max_wait_seconds: 10.0
  disable_hybrid_backend: false
default_backend: qwen-oauth
",
    );
    assert_eq!(config.default_backend.as_deref(), Some("qwen-oauth"));
    assert_eq!(config.backends.len(), 1);
    assert!(config.backends[0].gate.as_ref().unwrap().is_open());
    assert!(!config.hybrid.disable_hybrid_backend);
}

#[test]
fn the_default_backend_may_stand_below_backends() {
    let config = config("backends: { default_backend: Groq }");
    assert_eq!(config.default_backend.as_deref(), Some("groq"));
}
