//! How each provider of the table behaves.

use serde_json::{Value, json};

/// How one provider behaves. In a text, `KEY` stands for the key of its backend.
pub(crate) struct Row {
    /// The name of its preset.
    pub(crate) name: &'static str,
    /// The path of its base URL.
    pub(crate) base: &'static str,
    /// The headers that it wants in every request, the one with the key first.
    pub(crate) wants: &'static [(&'static str, &'static str)],
    /// Further keys of its backend in the configuration.
    pub(crate) config: &'static str,
    /// What it says of its quota.
    pub(crate) says: Says,
    /// A condition that holds while something is left.
    pub(crate) condition: &'static str,
    /// How it says that nothing is left.
    pub(crate) limited: Limited,
}

/// What a provider says of its quota.
pub(crate) enum Says {
    Nothing,
    /// In the headers of each answer; `LEFT` stands for what is left.
    Headers(&'static [(&'static str, &'static str)]),
    /// When it is asked.
    Asked {
        method: &'static str,
        path: &'static str,
        wants: (&'static str, &'static str),
        /// The body of the request.
        body: Option<&'static str>,
        /// What it answers when so much is left.
        answer: fn(u32) -> Value,
    },
}

/// How a provider says that nothing is left.
#[derive(Clone, Copy)]
pub(crate) enum Limited {
    OpenAi,
    Anthropic,
    Google,
    GitHub,
    DashScope,
    DeepInfra,
    /// It runs on this machine, and is busy.
    Busy,
}

const BEARER: &[(&str, &str)] = &[("authorization", "Bearer KEY")];

const OPENAI: Says = Says::Headers(&[
    ("x-ratelimit-limit-requests", "5000"),
    ("x-ratelimit-limit-tokens", "160000"),
    ("x-ratelimit-remaining-requests", "LEFT"),
    ("x-ratelimit-remaining-tokens", "159976"),
    ("x-ratelimit-reset-requests", "2h59m56.5s"),
    ("x-ratelimit-reset-tokens", "9ms"),
]);

const REMAINING: &str = "quota.headers.x-ratelimit-remaining-requests > 0";

/// What most of them are.
const USUAL: Row = Row {
    name: "",
    base: "/v1",
    wants: BEARER,
    config: "",
    says: OPENAI,
    condition: REMAINING,
    limited: Limited::OpenAi,
};

/// One of which nothing but its errors can be known.
const SILENT: Row = Row { says: Says::Nothing, condition: "error_count < 1", ..USUAL };

/// One on this machine, which takes no key.
const LOCAL: Row = Row { wants: &[], limited: Limited::Busy, ..SILENT };

/// What is asked by `GET` with the usual key.
const fn asked(path: &'static str, answer: fn(u32) -> Value) -> Says {
    Says::Asked { method: "GET", path, wants: BEARER[0], body: None, answer }
}

pub(crate) static ROWS: [Row; 28] = [
    Row { name: "openai-api", ..USUAL },
    Row {
        name: "pollinations",
        says: asked("/account/balance", |left| json!({ "balance": f64::from(left) * 0.5 })),
        condition: "balance > 0 and quota.balance > 0",
        ..USUAL
    },
    Row {
        name: "yupp",
        says: Says::Asked {
            method: "GET",
            path: "/api/trpc/credits.getCredits",
            wants: ("cookie", "__Secure-yupp.session-token=KEY"),
            body: None,
            answer: |left| json!([{ "result": { "data": { "json": left } } }]),
        },
        condition: "quota.credits.remaining > 0 and quota.credits.total == 5000",
        ..USUAL
    },
    Row {
        name: "puter",
        base: "/puterai/openai/v1",
        says: asked("/metering/usage", |left| {
            json!({
                "allowanceInfo": { "monthUsageAllowance": 25_000_000, "remaining": left * 1000 },
                "appTotals": {}, "usage": { "total": 7 }, "total_requests": 1000 - left,
            })
        }),
        condition: "quota.allowanceInfo.remaining > 0 and quota.total_requests < 1000",
        ..USUAL
    },
    Row {
        name: "gemini-cli",
        base: "/v1beta/openai",
        says: Says::Asked {
            method: "POST",
            path: "/v1internal:retrieveUserQuota",
            // Not the key of the API, but what the user has configured.
            wants: ("authorization", "Bearer token-for-the-quota"),
            body: Some(r#"{"project":"p"}"#),
            answer: |left| {
                let fraction = f64::from(left) / 1000.0;
                json!({ "buckets": [
                    { "modelId": "gemini-2.5-pro", "tokenType": "REQUESTS", "remainingFraction": fraction },
                    { "modelId": "gemini-2.5-flash", "tokenType": "REQUESTS", "remainingFraction": 1 },
                ] })
            },
        },
        condition: "quota.buckets[0].remainingFraction > 0 and quota.models[\"gemini-2.5-pro\"].remainingFraction > 0",
        limited: Limited::Google,
        ..USUAL
    },
    Row {
        name: "github-copilot",
        base: "",
        config: "accept_terms: true",
        says: Says::Asked {
            method: "GET",
            path: "/copilot_internal/user",
            wants: ("authorization", "token KEY"),
            body: None,
            answer: |left| {
                json!({ "copilot_plan": "individual", "quota_snapshots": { "premium_interactions": {
                    "entitlement": 300, "remaining": left, "percent_remaining": f64::from(left) / 3.0,
                    "quota_id": "premium_interactions", "overage_permitted": false, "unlimited": false,
                } } })
            },
        },
        condition: "quota.quota_snapshots.premium_interactions.remaining > 0",
        limited: Limited::GitHub,
        ..USUAL
    },
    Row { name: "groq", base: "/openai/v1", ..USUAL },
    Row { name: "deepinfra", base: "/v1/openai", limited: Limited::DeepInfra, ..SILENT },
    Row { name: "minimax", ..SILENT },
    Row { name: "gemini", base: "/v1beta/openai", limited: Limited::Google, ..SILENT },
    Row {
        name: "qwen-oauth",
        wants: &[
            ("authorization", "Bearer KEY"),
            ("x-dashscope-cachecontrol", "enable"),
            ("x-dashscope-authtype", "qwen-oauth"),
        ],
        config: "extra: { enable_qwen_oauth_backend_debugging_override: true, \
                 enable_qwen_oauth_initial_rate_limit_retry: false }",
        limited: Limited::DashScope,
        ..SILENT
    },
    Row {
        name: "anthropic",
        says: Says::Headers(&[
            ("anthropic-ratelimit-requests-limit", "1000"),
            ("anthropic-ratelimit-requests-remaining", "LEFT"),
            ("anthropic-ratelimit-requests-reset", "2099-01-01T00:00:00Z"),
        ]),
        condition: "quota.headers.anthropic-ratelimit-requests-remaining > 0",
        limited: Limited::Anthropic,
        ..USUAL
    },
    Row {
        name: "openrouter",
        base: "/api/v1",
        says: asked("/api/v1/credits", |left| json!({ "data": { "total_credits": 10, "total_usage": 10 - left } })),
        condition: "balance > 0 and quota.total_credits == 10",
        ..USUAL
    },
    Row {
        name: "deepseek",
        says: asked("/user/balance", |left| {
            let balance = format!("{left}.00");
            json!({ "is_available": left > 0, "balance_infos": [
                { "currency": "USD", "total_balance": balance, "granted_balance": "0.00", "topped_up_balance": balance },
            ] })
        }),
        condition: "balance > 0 and quota.is_available",
        ..USUAL
    },
    Row { name: "ollama", ..LOCAL },
    Row { name: "vllm", ..LOCAL },
    Row { name: "lmstudio", ..LOCAL },
    Row { name: "llamacpp", ..LOCAL },
    Row { name: "mistral", ..USUAL },
    Row { name: "together", ..USUAL },
    Row { name: "fireworks", base: "/inference/v1", ..USUAL },
    Row {
        name: "cerebras",
        says: Says::Headers(&[
            ("x-ratelimit-limit-requests-day", "1000"),
            ("x-ratelimit-remaining-requests-day", "LEFT"),
            ("x-ratelimit-reset-requests-day", "33011.382867"),
        ]),
        condition: "quota.headers.x-ratelimit-remaining-requests-day > 0",
        ..USUAL
    },
    Row { name: "xai", ..USUAL },
    Row { name: "nvidia", ..USUAL },
    Row {
        name: "huggingface",
        says: asked("/api/whoami-v2", |left| json!({ "type": "user", "name": "me", "canPay": left > 0, "orgs": [] })),
        condition: "quota.canPay",
        ..USUAL
    },
    Row { name: "perplexity", base: "", ..USUAL },
    Row { name: "dashscope", base: "/compatible-mode/v1", limited: Limited::DashScope, ..USUAL },
    Row { name: "azure-openai", base: "/openai/v1", wants: &[("api-key", "KEY")], ..USUAL },
];

/// The provider of this name.
pub(crate) fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}
