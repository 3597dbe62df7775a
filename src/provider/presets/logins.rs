//! The logins of those providers that have one.

use std::borrow::Cow::Borrowed;

use pointsman_layers::oauth::Mode;

use super::{AuthForm, ExpiryField, ExpiryUnit, Login, LoginExchange, LoginGrant};

/// The login of Qwen Code. The client id is that of a public client: there is no secret to it.
pub(super) const QWEN_CODE: Login = Login {
    folder_variable: Some("QWEN_HOME"),
    folder: "~/.qwen",
    files: &["oauth_creds.json"],
    lock: Some("oauth_creds.lock"),
    access: "/access_token",
    refresh: "/refresh_token",
    endpoint: Some("/resource_url"),
    expiry: Some(ExpiryField { field: "/expiry_date", unit: ExpiryUnit::Millis }),
    mode: Mode::OnDemand,
    grant: Some(LoginGrant {
        token_url: "https://chat.qwen.ai/api/v1/oauth2/token",
        device_url: Some("https://chat.qwen.ai/api/v1/oauth2/device/code"),
        client_id: "f0304373b74a44d2b584a3fb70ca9e56",
        scope: Some("openid profile email model.completion"),
    }),
    exchange: None,
    allow_hosts: &["portal.qwen.ai", "*.qwen.ai", "dashscope*.aliyuncs.com"],
    remedy: "run `qwen auth` or `pointsman login qwen-oauth`",
};

/// The login of GitHub's editor extensions. Its long-lived token is good for GitHub, and is exchanged there for one that
/// Copilot takes, about half an hour at a time.
pub(super) const GITHUB_COPILOT: Login = Login {
    folder_variable: None,
    folder: "~/.config/github-copilot",
    files: &["apps.json", "hosts.json"],
    lock: None,
    access: "/github.com:*/oauth_token",
    refresh: "/github.com:*/refresh_token",
    endpoint: None,
    expiry: None,
    mode: Mode::ReadOnly,
    grant: None,
    exchange: Some(LoginExchange {
        url: "https://api.github.com/copilot_internal/v2/token",
        auth: AuthForm::Scheme(Borrowed("token")),
        access: "/token",
        endpoint: Some("/endpoints/api"),
        expiry: Some(ExpiryField { field: "/expires_at", unit: ExpiryUnit::Seconds }),
    }),
    allow_hosts: &["api.githubcopilot.com", "api.*.githubcopilot.com"],
    remedy: "sign in to GitHub Copilot in an editor",
};
