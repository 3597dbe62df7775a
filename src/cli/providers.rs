use std::process::ExitCode;

use pointsman::provider::presets::{self, AuthForm, GateRule, PRESETS, Preset};
use serde_json::{Map, Value, json};

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of a provider, or another name of it; without it, all of them.
    name: Option<String>,
    /// Print JSON: an array, or an object for a single provider.
    #[arg(long)]
    json: bool,
}

/// Prints the providers that are known by name.
pub(super) fn run(args: &Args) -> Outcome {
    let text = match (&args.name, args.json) {
        (None, false) => table(),
        (None, true) => pretty(&PRESETS.iter().map(json).collect()),
        (Some(name), false) => details(find(name)?, |variable| std::env::var_os(variable).is_some()),
        (Some(name), true) => pretty(&json(find(name)?)),
    };
    say!("{}", text.trim_end_matches('\n'));
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> Result<&'static Preset, String> {
    presets::find(name).or_else(|| presets::find_ignoring_case(name)).ok_or_else(|| {
        let meant: Vec<_> = presets::near(name).into_iter().map(|name| format!("`{name}`")).collect();
        let help = match meant.is_empty() {
            true => {
                "`pointsman providers` lists them; any server that speaks OpenAI's API will do with a `base_url`".into()
            }
            false => format!("did you mean {}?", meant.join(" or ")),
        };
        format!("error: no provider is known by the name `{name}`\n  = help: {help}")
    })
}

fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

/// One line for each, in columns as wide as they need to be.
fn table() -> String {
    let mut rows = vec![["NAME", "KEY", "QUOTA", "BASE URL"].map(str::to_owned)];
    rows.extend(PRESETS.iter().map(|preset| {
        let quota = match (&preset.quota, preset.quota_headers) {
            (None, []) => "-",
            (None, _) => "headers",
            (Some(_), []) => "request",
            (Some(_), _) => "request, headers",
        };
        let key = match (&preset.gate, preset.key_variable) {
            (Some(GateRule::Terms), _) => "(needs accept_terms)",
            (Some(_), _) => "(needs a flag)",
            (None, variable) => variable.unwrap_or("-"),
        };
        [preset.name, key, quota, preset.base_url.unwrap_or("(has to be given)")].map(str::to_owned)
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let (name, key, quota) = (width(0), width(1), width(2));
    rows.iter().map(|row| format!("{:name$}  {:key$}  {:quota$}  {}\n", row[0], row[1], row[2], row[3])).collect()
}

fn details(preset: &Preset, is_set: impl Fn(&str) -> bool) -> String {
    let mut text = format!("{}\n", preset.name);
    // A line without a label goes on with the one above.
    let mut line = |label: &str, value: &str| {
        let label = if label.is_empty() { String::new() } else { format!("{label}:") };
        text += &format!("  {label:<13}{value}\n");
    };
    if !preset.aliases.is_empty() {
        line("also called", &preset.aliases.join(", "));
    }
    line("base URL", preset.base_url.unwrap_or("none; `base_url` has to be given"));
    let key = match (preset.key_variable, &preset.login) {
        (Some(variable), _) => format!("{variable} ({})", if is_set(variable) { "set" } else { "not set" }),
        (None, Some(login)) => format!("the login in {}/{}, or `api_key`", login.folder, login.files.join(" or ")),
        (None, None) if preset.gate.is_some() => "`api_key`".to_owned(),
        (None, None) => "none".to_owned(),
    };
    line("key", &key);
    line("sent as", &form(&preset.auth));
    if let Some(dialect) = &preset.dialect {
        line("", &format!("{} on {}", form(&dialect.auth), dialect.path));
    }
    for (name, value) in preset.headers.iter().chain(preset.dialect.iter().flat_map(|dialect| dialect.headers)) {
        line("header", &format!("{name}: {value}"));
    }
    if let Some(quota) = &preset.quota {
        let token = if quota.auth == AuthForm::None { ", once `quota.headers` gives a credential" } else { "" };
        // The query is for machines.
        let url = quota.url.split('?').next().unwrap_or_default();
        line("quota", &format!("{} {url}{token}", quota.method));
    }
    let mut label = "conditions";
    let fields = preset.quota.iter().filter_map(|quota| quota.fields).flatten();
    let headers = preset.quota_headers.iter().map(|name| format!("headers.{name}"));
    for field in fields.map(|field| (*field).to_owned()).chain(headers) {
        line(label, &format!("quota.{field}"));
        label = "";
    }
    if !preset.models.is_empty() {
        line("models", &preset.models.join(", "));
    }
    match &preset.gate {
        Some(GateRule::Flag(flag)) => line("disabled", &format!("unless started with --{}", flag.flag)),
        Some(GateRule::Terms) => line("disabled", &format!("unless `backends.{}.accept_terms: true`", preset.name)),
        _ => {}
    }
    if let Some(terms) = preset.terms {
        line("terms", terms);
    }
    text
}

/// How a key travels, as a header.
fn form(auth: &AuthForm) -> String {
    match auth {
        AuthForm::Bearer => "Authorization: Bearer KEY".to_owned(),
        AuthForm::Scheme(scheme) => format!("Authorization: {scheme} KEY"),
        AuthForm::Header(name) => format!("{name}: KEY"),
        AuthForm::Cookie(name) => format!("Cookie: {name}=KEY"),
        _ => "nothing".to_owned(),
    }
}

fn json(preset: &Preset) -> Value {
    let headers = |headers: &[(&str, &str)]| -> Value {
        headers.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect::<Map<_, _>>().into()
    };
    json!({
        "name": preset.name,
        "aliases": preset.aliases,
        "base_url": preset.base_url,
        "key_variable": preset.key_variable,
        "auth": written(&preset.auth),
        "headers": headers(preset.headers),
        "dialect": preset.dialect.as_ref().map(|dialect| json!({
            "path": dialect.path,
            "auth": written(&dialect.auth),
            "headers": headers(dialect.headers),
        })),
        "quota": preset.quota.as_ref().map(|quota| json!({
            "method": quota.method,
            "url": quota.url,
            "auth": written(&quota.auth),
            "fields": quota.fields,
        })),
        "quota_headers": preset.quota_headers,
        "models": preset.models,
        "disabled_unless": match &preset.gate {
            Some(GateRule::Flag(flag)) => Some(format!("--{}", flag.flag)),
            Some(GateRule::Terms) => Some("accept_terms".to_owned()),
            _ => None,
        },
        "terms": preset.terms,
    })
}

/// How a key travels, as `auth` of a backend says it.
fn written(auth: &AuthForm) -> Value {
    match auth {
        AuthForm::Bearer => json!("bearer"),
        AuthForm::Scheme(scheme) => json!({ "scheme": scheme }),
        AuthForm::Header(name) => json!({ "header": name.as_str() }),
        AuthForm::Cookie(name) => json!({ "cookie": name }),
        _ => json!("none"),
    }
}
