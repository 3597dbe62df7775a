use std::borrow::Cow::Borrowed;

use http::HeaderName;
use pointsman_layers::rate_limit_retry::Exhausted;

use super::{AuthForm, Dialect, GateFlag, GateRule, HoldKeys, Preset, QuotaRequest, Reshape, logins};

/// An OpenAI-compatible API behind a key: what most of the table is.
const COMPATIBLE: Preset = Preset {
    name: "",
    aliases: &[],
    base_url: None,
    key_variable: None,
    auth: AuthForm::Bearer,
    headers: &[],
    dialect: None,
    quota: None,
    quota_headers: &[],
    models: &[],
    model_prefix: None,
    login: None,
    gate: None,
    hold: None,
    exhausted: Exhausted::GENERIC,
    terms: None,
};

/// A quota that is read by `GET` with the backend's own key, all of whose answer counts.
const GET: QuotaRequest =
    QuotaRequest { method: "GET", url: "", auth: AuthForm::Bearer, pointer: "", map: &[], fields: None };

/// OpenAI's rate-limit headers: <https://platform.openai.com/docs/guides/rate-limits>. Groq's are the same:
/// <https://console.groq.com/docs/rate-limits>.
const OPENAI_HEADERS: &[&str] = &[
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
];

/// For a provider that is known to send headers of this family, and not known for which of them.
const SOME_HEADERS: &[&str] = &["x-ratelimit-*"];

/// Anthropic's own API beside the one that is compatible with OpenAI's: <https://docs.anthropic.com/en/api/overview>.
const ANTHROPIC_MESSAGES: Dialect = Dialect {
    path: "/v1/messages",
    auth: AuthForm::Header(HeaderName::from_static("x-api-key")),
    headers: &[("anthropic-version", "2023-06-01")],
};

/// Every provider that is known by name.
pub static PRESETS: [Preset; 28] = [
    Preset {
        name: "openai-api",
        aliases: &["OpenaiAPI", "OpenaiAccount", "openai"],
        base_url: Some("https://api.openai.com/v1"),
        key_variable: Some("OPENAI_API_KEY"),
        exhausted: Exhausted::OPENAI,
        quota_headers: OPENAI_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "pollinations",
        aliases: &["Pollinations", "PollinationsAI"],
        base_url: Some("https://gen.pollinations.ai/v1"),
        key_variable: Some("POLLINATIONS_API_KEY"),
        quota: Some(QuotaRequest {
            url: "https://gen.pollinations.ai/account/balance",
            fields: Some(&["balance"]),
            ..GET
        }),
        ..COMPATIBLE
    },
    Preset {
        name: "yupp",
        aliases: &["Yupp"],
        key_variable: Some("YUPP_API_KEY"),
        quota: Some(QuotaRequest {
            // The input is the batch of one call without arguments.
            url: "https://yupp.ai/api/trpc/credits.getCredits?batch=1&input=%7B%220%22%3A%7B%22json%22%3Anull%2C%22meta%22%3A%7B%22values%22%3A%5B%22undefined%22%5D%2C%22v%22%3A1%7D%7D%7D",
            auth: AuthForm::Cookie(Borrowed("__Secure-yupp.session-token")),
            pointer: "/0/result/data/json",
            map: &[
                // The credits come as a bare number or inside an object.
                ("credits.remaining", Reshape::Pointer(Borrowed(&[Borrowed(""), Borrowed("/currentCreditBalance")]))),
                ("credits.total", Reshape::Constant(5000.0)),
            ],
            fields: Some(&["credits.remaining", "credits.total"]),
            ..GET
        }),
        ..COMPATIBLE
    },
    Preset {
        name: "puter",
        aliases: &["Puter", "PuterJS"],
        base_url: Some("https://api.puter.com/puterai/openai/v1"),
        key_variable: Some("PUTER_API_KEY"),
        quota: Some(QuotaRequest {
            url: "https://api.puter.com/metering/usage",
            // <https://docs.puter.com/Objects/monthlyusage/>; the last where it is there.
            fields: Some(&[
                "allowanceInfo.remaining",
                "allowanceInfo.monthUsageAllowance",
                "appTotals.*.*",
                "usage.*.*",
                "total_requests",
            ]),
            ..GET
        }),
        ..COMPATIBLE
    },
    Preset {
        name: "gemini-cli",
        aliases: &["GeminiCLI"],
        base_url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
        key_variable: Some("GEMINI_API_KEY"),
        quota: Some(QuotaRequest {
            method: "POST",
            url: "https://cloudcode-pa.googleapis.com/v1internal:retrieveUserQuota",
            auth: AuthForm::None,
            map: &[("models", Reshape::KeyedBy { list: Borrowed("/buckets"), by: Borrowed("/modelId") })],
            // What else is in a bucket is no number.
            fields: Some(&[
                "models.*.remainingFraction",
                "models.*.remainingAmount",
                "buckets.*.remainingFraction",
                "buckets.*.remainingAmount",
            ]),
            ..GET
        }),
        terms: Some(
            "Google does not let other software use the login of its command-line tool, so this is the Gemini API with \
             an API key.",
        ),
        exhausted: Exhausted::GOOGLE,
        ..COMPATIBLE
    },
    Preset {
        name: "github-copilot",
        aliases: &["GithubCopilot"],
        base_url: Some("https://api.githubcopilot.com"),
        quota: Some(QuotaRequest {
            url: "https://api.github.com/copilot_internal/user",
            auth: AuthForm::Scheme(Borrowed("token")),
            // Nobody documents it; this is what GitHub's own editor extension reads, the last two on the free plan.
            fields: Some(&[
                "quota_snapshots.*.remaining",
                "quota_snapshots.*.entitlement",
                "quota_snapshots.*.percent_remaining",
                "quota_snapshots.*.quota_remaining",
                "quota_snapshots.*.overage_count",
                "quota_snapshots.*.overage_permitted",
                "quota_snapshots.*.unlimited",
                "limited_user_quotas.*",
                "monthly_quotas.*",
            ]),
            ..GET
        }),
        // Entitlement, what remains in per cent, overage and reset: `ent=300&rem=12.5&ov=0.0&ovPerm=false&rst=...`.
        quota_headers: &["x-quota-snapshot-*"],
        gate: Some(GateRule::Terms),
        login: Some(logins::GITHUB_COPILOT),
        exhausted: Exhausted::GITHUB,
        terms: Some("This login belongs to GitHub's own editors and tools; keeping GitHub's terms is up to you."),
        ..COMPATIBLE
    },
    Preset {
        name: "groq",
        aliases: &["Groq"],
        base_url: Some("https://api.groq.com/openai/v1"),
        key_variable: Some("GROQ_API_KEY"),
        quota_headers: OPENAI_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "deepinfra",
        aliases: &["DeepInfra"],
        base_url: Some("https://api.deepinfra.com/v1/openai"),
        key_variable: Some("DEEPINFRA_API_KEY"),
        ..COMPATIBLE
    },
    Preset {
        name: "minimax",
        aliases: &["MiniMax"],
        base_url: Some("https://api.minimax.io/v1"),
        key_variable: Some("MINIMAX_API_KEY"),
        ..COMPATIBLE
    },
    Preset {
        name: "gemini",
        aliases: &["Gemini", "GeminiPro"],
        base_url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
        key_variable: Some("GEMINI_API_KEY"),
        exhausted: Exhausted::GOOGLE,
        ..COMPATIBLE
    },
    Preset {
        name: "qwen-oauth",
        aliases: &["QwenCode"],
        base_url: Some("https://portal.qwen.ai/v1"),
        headers: &[("x-dashscope-cachecontrol", "enable"), ("x-dashscope-authtype", "qwen-oauth")],
        models: &["qwen3-coder-plus", "qwen3-coder-flash", "qwen-turbo", "qwen-plus", "qwen-max", "coder-model"],
        model_prefix: Some("qwen/"),
        login: Some(logins::QWEN_CODE),
        gate: Some(GateRule::Flag(GateFlag {
            flag: "enable-qwen-oauth-backend-debugging-override",
            variable: "POINTSMAN_ENABLE_QWEN_OAUTH_BACKEND_DEBUGGING_OVERRIDE",
            key: "enable_qwen_oauth_backend_debugging_override",
        })),
        hold: Some(HoldKeys {
            label: "Qwen OAuth connector-wide",
            enabled: "enable_qwen_oauth_initial_rate_limit_retry",
            max_wait: "qwen_oauth_initial_rate_limit_retry_max_wait_seconds",
            random_min: "qwen_oauth_initial_rate_limit_retry_random_min_seconds",
            random_max: "qwen_oauth_initial_rate_limit_retry_random_max_seconds",
        }),
        exhausted: Exhausted::DASHSCOPE,
        terms: Some(
            "For development only, and not affiliated with Qwen: this login belongs to Qwen Code, and keeping the \
             provider's terms is up to you.",
        ),
        ..COMPATIBLE
    },
    Preset {
        name: "anthropic",
        aliases: &["Anthropic"],
        base_url: Some("https://api.anthropic.com/v1"),
        key_variable: Some("ANTHROPIC_API_KEY"),
        exhausted: Exhausted::ANTHROPIC,
        dialect: Some(ANTHROPIC_MESSAGES),
        // <https://docs.anthropic.com/en/api/rate-limits>
        quota_headers: &[
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ],
        ..COMPATIBLE
    },
    Preset {
        name: "openrouter",
        aliases: &["OpenRouter"],
        base_url: Some("https://openrouter.ai/api/v1"),
        key_variable: Some("OPENROUTER_API_KEY"),
        quota: Some(QuotaRequest {
            url: "https://openrouter.ai/api/v1/credits",
            pointer: "/data",
            map: &[("balance", Reshape::Difference(Borrowed("/total_credits"), Borrowed("/total_usage")))],
            fields: Some(&["balance", "total_credits", "total_usage"]),
            ..GET
        }),
        ..COMPATIBLE
    },
    Preset {
        name: "deepseek",
        aliases: &["DeepSeekAPI"],
        base_url: Some("https://api.deepseek.com/v1"),
        key_variable: Some("DEEPSEEK_API_KEY"),
        quota: Some(QuotaRequest {
            url: "https://api.deepseek.com/user/balance",
            map: &[("balance", Reshape::Pointer(Borrowed(&[Borrowed("/balance_infos/0/total_balance")])))],
            fields: Some(&[
                "balance",
                "is_available",
                "balance_infos.*.total_balance",
                "balance_infos.*.granted_balance",
                "balance_infos.*.topped_up_balance",
            ]),
            ..GET
        }),
        ..COMPATIBLE
    },
    Preset { name: "ollama", base_url: Some("http://127.0.0.1:11434/v1"), ..COMPATIBLE },
    Preset { name: "vllm", base_url: Some("http://127.0.0.1:8000/v1"), ..COMPATIBLE },
    Preset { name: "lmstudio", base_url: Some("http://127.0.0.1:1234/v1"), ..COMPATIBLE },
    Preset { name: "llamacpp", base_url: Some("http://127.0.0.1:8080/v1"), ..COMPATIBLE },
    Preset {
        name: "mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        key_variable: Some("MISTRAL_API_KEY"),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "together",
        base_url: Some("https://api.together.xyz/v1"),
        key_variable: Some("TOGETHER_API_KEY"),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "fireworks",
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        key_variable: Some("FIREWORKS_API_KEY"),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "cerebras",
        base_url: Some("https://api.cerebras.ai/v1"),
        key_variable: Some("CEREBRAS_API_KEY"),
        // <https://inference-docs.cerebras.ai/support/rate-limits>
        quota_headers: &[
            "x-ratelimit-limit-requests-day",
            "x-ratelimit-limit-tokens-minute",
            "x-ratelimit-remaining-requests-day",
            "x-ratelimit-remaining-tokens-minute",
            "x-ratelimit-reset-requests-day",
            "x-ratelimit-reset-tokens-minute",
        ],
        ..COMPATIBLE
    },
    Preset {
        name: "xai",
        base_url: Some("https://api.x.ai/v1"),
        key_variable: Some("XAI_API_KEY"),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "nvidia",
        base_url: Some("https://integrate.api.nvidia.com/v1"),
        key_variable: Some("NVIDIA_API_KEY"),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "huggingface",
        base_url: Some("https://router.huggingface.co/v1"),
        key_variable: Some("HF_TOKEN"),
        quota: Some(QuotaRequest {
            // It tells who pays and not how much is left.
            url: "https://huggingface.co/api/whoami-v2",
            fields: Some(&["canPay", "isPro", "periodEnd", "emailVerified", "orgs.*.canPay", "orgs.*.periodEnd"]),
            ..GET
        }),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "perplexity",
        base_url: Some("https://api.perplexity.ai"),
        key_variable: Some("PERPLEXITY_API_KEY"),
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "dashscope",
        base_url: Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        key_variable: Some("DASHSCOPE_API_KEY"),
        exhausted: Exhausted::DASHSCOPE,
        quota_headers: SOME_HEADERS,
        ..COMPATIBLE
    },
    Preset {
        name: "azure-openai",
        // Each resource has a host of its own.
        key_variable: Some("AZURE_OPENAI_API_KEY"),
        auth: AuthForm::Header(HeaderName::from_static("api-key")),
        exhausted: Exhausted::OPENAI,
        quota_headers: OPENAI_HEADERS,
        ..COMPATIBLE
    },
];
