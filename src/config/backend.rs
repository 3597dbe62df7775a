use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value as Json};

use super::{
    Gate, Hold, OAuth, QuotaConfig, Raw, Secret,
    decode::{Context, Cursor},
    fields::Fields,
    hold::HoldSettings,
    interpolate::Environment,
    node::{Node, Value},
};
use crate::provider::{
    Timeouts, concerns_the_connection,
    presets::{self, AuthForm, Dialect, GateRule, Preset},
};

/// A provider as it is configured: a preset and what is different from it, or a server of its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// The name by which routes call it, and under which its state is kept.
    pub name: String,
    /// Where it starts from. `None`: any server that speaks OpenAI's API.
    pub preset: Option<&'static Preset>,
    /// Where its API starts, `/v1` or its like included.
    pub base_url: Option<Uri>,
    /// Its credential.
    pub api_key: Option<Secret>,
    /// The environment variable that the credential comes from when the configuration gives none.
    pub key_variable: Option<&'static str>,
    /// How the credential travels.
    pub auth: AuthForm,
    /// What is different for requests in another vendor's dialect.
    pub dialect: Option<Dialect>,
    /// Further headers of each request; all of them are marked sensitive.
    pub headers: HeaderMap,
    /// Whether the client's own `Authorization` travels on.
    pub forward_client_auth: bool,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// The request that asks for its quota.
    pub quota: Option<QuotaConfig>,
    /// How long an error counts; 1 h.
    pub error_window: Duration,
    /// The models to list for it.
    pub models: Vec<String>,
    /// Parameters for requests that do not have them.
    pub default_params: Map<String, Json>,
    /// Parameters for every request, whatever it says.
    pub forced_params: Map<String, Json>,
    /// The file with its login, for a provider that has one.
    pub credentials_path: Option<PathBuf>,
    /// The login in that file.
    pub oauth: Option<OAuth>,
    /// What to do about a rate limit; `None` for nothing.
    pub hold: Option<Hold>,
    /// Whether it may be used, for a backend that uses another program's login.
    pub gate: Option<Gate>,
    /// The keys under `extra`, as written.
    pub extra: Raw,
    /// Whether it takes system messages; true.
    pub system_messages: bool,
    /// Why it cannot be asked, if so: its candidates are skipped for this reason.
    pub unavailable: Option<String>,
}

impl Backend {
    /// A preset as it is, its key from the environment. What is wrong there is told at `at`.
    pub(super) fn from_preset(preset: &'static Preset, at: Cursor<'_>) -> Self {
        let mut backend = Self::unconfigured(preset.name.to_owned(), Some(preset));
        backend.oauth = backend.usual_login(at.context);
        backend.hold = Hold::new(&HoldSettings::default(), &backend);
        backend.gate = preset.gate.as_ref().map(|gate| Gate::decode(at, gate));
        backend.complete(at.context.environment);
        backend.quota = QuotaConfig::from_preset(&backend);
        backend
    }

    /// Why no request goes to it, if so.
    pub fn why_closed(&self) -> Option<String> {
        let gate = self.gate.as_ref().filter(|gate| !gate.is_open());
        gate.map(|gate| gate.reason(&self.name)).or_else(|| self.unavailable.clone())
    }

    fn unconfigured(name: String, preset: Option<&'static Preset>) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in preset.map_or(&[][..], |preset| preset.headers) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Self {
            name,
            preset,
            base_url: preset.and_then(|preset| preset.base_url).map(Uri::from_static),
            api_key: None,
            key_variable: preset.and_then(|preset| preset.key_variable),
            auth: preset.map_or(AuthForm::Bearer, |preset| preset.auth.clone()),
            dialect: preset.and_then(|preset| preset.dialect.clone()),
            headers,
            forward_client_auth: false,
            timeouts: Timeouts::default(),
            quota: None,
            error_window: Duration::from_secs(60 * 60),
            models: preset.map_or(&[][..], |preset| preset.models).iter().copied().map(str::to_owned).collect(),
            default_params: Map::new(),
            forced_params: Map::new(),
            credentials_path: None,
            oauth: None,
            hold: None,
            gate: None,
            extra: Raw::default(),
            system_messages: true,
            unavailable: None,
        }
    }

    /// Reads an entry of `backends`.
    pub(super) fn decode(at: Cursor<'_>) -> Option<Self> {
        let name = at.key.and_then(Node::as_str)?.to_owned();
        // These would be read as something else in a model string.
        if name.trim().is_empty() || name.contains([':', '/', '|', '^', '?', '[', ']', ',']) {
            let error = at.at_key().error(format!("`{name}` cannot be the name of a backend"));
            at.report(error.label("expected letters, digits, `-`, `_` and `.`"));
        }
        let mut fields = Fields::of(at)?;
        let base_url = fields.take("base_url").filter(|url| !url.node.is_null());
        let kind = fields.take_either("type", "connector");
        let preset = decode_kind(at, &name, kind, base_url.is_some());
        let base_url = base_url.and_then(Cursor::url);

        let mut backend = Self::unconfigured(name, preset.flatten());
        backend.base_url = base_url.or(backend.base_url);
        backend.api_key = fields.optional("api_key", Cursor::secret);
        if let Some(auth) = fields.optional("auth", decode_auth) {
            // Said for all paths.
            backend.dialect.iter_mut().for_each(|dialect| dialect.auth = auth.clone());
            backend.auth = auth;
        }
        if let Some(headers) = fields.optional("headers", |headers| decode_headers(headers, &[])) {
            for (name, value) in &headers {
                backend.headers.insert(name, value.clone());
            }
        }
        backend.forward_client_auth = fields.optional("forward_client_auth", Cursor::bool).unwrap_or_default();
        backend.timeouts = fields.optional("timeouts", decode_timeouts).unwrap_or_default();
        backend.error_window = fields.optional("error_window", Cursor::duration).unwrap_or(backend.error_window);
        backend.models = fields.optional("models", |models| models.list(Cursor::name)).unwrap_or(backend.models);
        backend.default_params = fields.optional("default_params", decode_params).unwrap_or_default();
        backend.forced_params = fields.optional("forced_params", decode_params).unwrap_or_default();
        backend.credentials_path = fields.optional("credentials_path", Cursor::path);
        backend.oauth = match fields.take("oauth").filter(|oauth| !oauth.node.is_null()) {
            Some(oauth) => {
                let login = backend.preset.and_then(|preset| preset.login.as_ref());
                if backend.api_key.is_some() {
                    let warning = oauth.at_key().warning("`oauth` is not used: the backend has an `api_key`");
                    oauth.report(warning.label("without effect").help("leave out one of the two"));
                }
                OAuth::decode(oauth, login, backend.credentials_path.clone())
            }
            None => backend.usual_login(at.context),
        }
        // A key is used as it is.
        .filter(|_| backend.api_key.is_none());
        backend.gate =
            backend.preset.and_then(|preset| preset.gate.as_ref()).map(|gate| Gate::decode(at.at_key(), gate));
        if let Some(terms) = fields.take("accept_terms").filter(|terms| !terms.node.is_null()) {
            backend.decode_terms(terms);
        }
        let mut hold = fields.optional("rate_limit_retry", HoldSettings::decode).unwrap_or_default();
        let errors = at.context.errors();
        let extra = fields.take("extra").filter(|extra| !extra.node.is_null());
        if let Some(extra) = extra {
            backend.decode_extra(extra, &mut hold);
        }
        backend.hold = Hold::new(&hold, &backend);
        backend.system_messages = fields.optional("system_messages", Cursor::bool).unwrap_or(true);
        // What is wrong there is not to be told twice.
        if let Some(extra) = extra.filter(|_| at.context.errors() == errors) {
            backend.extra = extra.json_object().map(Raw).unwrap_or_default();
        }
        backend.complete(at.context.environment);
        backend.quota = match fields.take("quota").filter(|quota| !quota.node.is_null()) {
            Some(quota) => QuotaConfig::decode(quota, &backend),
            None => QuotaConfig::from_preset(&backend),
        };
        fields.finish();
        preset.map(|_| backend)
    }

    /// The login that a backend has of which the configuration says nothing more: the preset's, or one with the usual
    /// names in the file that is given.
    fn usual_login(&self, context: &Context<'_>) -> Option<OAuth> {
        let path = self.credentials_path.clone();
        match self.preset.and_then(|preset| preset.login.as_ref()) {
            Some(login) => Some(OAuth::from_preset(login, path, context)),
            None => path.map(OAuth::new),
        }
    }

    /// Reads `extra` of a backend whose preset says what may stand there.
    fn decode_extra<'a>(&mut self, at: Cursor<'a>, hold: &mut HoldSettings<'a>) -> Option<()> {
        let has_flag = matches!(&self.gate, Some(gate) if gate.flag().is_some());
        let preset = self.preset.filter(|preset| has_flag || preset.hold.is_some())?;
        let mut fields = Fields::of(at)?;
        if let Some(gate) = &mut self.gate
            && let GateRule::Flag(flag) = gate.rule
            && let Some(value) = fields.take(flag.key).filter(|value| !value.node.is_null())
        {
            gate.decode_word(value);
        }
        if let Some(keys) = &preset.hold {
            hold.take_extra(&mut fields, keys);
        }
        fields.finish();
        Some(())
    }

    /// Reads `accept_terms`.
    fn decode_terms(&mut self, at: Cursor<'_>) {
        match &mut self.gate {
            Some(gate) if matches!(gate.rule, GateRule::Terms) => gate.decode_word(at),
            _ => {
                let warning = at.at_key().warning(format!("`{}` has no terms to accept here", self.name));
                at.report(warning.label("without effect"));
            }
        }
    }

    /// Fetches the key from the environment if need be, and finds out whether the backend can be asked at all.
    fn complete(&mut self, environment: &dyn Environment) {
        if self.api_key.is_none()
            && self.oauth.is_none()
            && let Some(variable) = self.key_variable
        {
            self.api_key = environment.variable(variable).filter(|key| !key.trim().is_empty()).map(Secret::new);
        }
        self.unavailable = if self.base_url.is_none() {
            Some("no base_url".to_owned())
        } else if self.has_credential() || self.is_local() {
            None
        } else if self.gate.is_some() {
            // Without a login there has to be a key, and no variable is known for it.
            Some("no credential (api_key)".to_owned())
        } else {
            self.key_variable.map(|variable| format!("no credential ({variable})"))
        };
    }

    fn has_credential(&self) -> bool {
        let forms = std::iter::once(&self.auth).chain(self.dialect.as_ref().map(|dialect| &dialect.auth));
        let given =
            forms.into_iter().any(|form| form.header_name().is_none_or(|header| self.headers.contains_key(header)));
        given || self.api_key.is_some() || self.oauth.is_some() || self.forward_client_auth
    }

    /// Whether it runs on this machine, where no key is asked for.
    fn is_local(&self) -> bool {
        let host = self.base_url.as_ref().and_then(Uri::host).unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// What kind of backend this is, by its type or else by its name: `Some(None)` is any OpenAI-compatible server.
fn decode_kind<'a>(
    at: Cursor<'a>,
    name: &str,
    kind: Option<Cursor<'a>>,
    has_base_url: bool,
) -> Option<Option<&'static Preset>> {
    let kind = kind.filter(|kind| !kind.node.is_null());
    let told = kind.unwrap_or(at.at_key());
    let text = match kind {
        Some(kind) => kind.text()?,
        None if presets::find(name).is_some() => name.into(),
        // `openai.work` is an instance of `openai`.
        None => name.split('.').next().unwrap_or(name).into(),
    };
    if is_any_server(&text, has_base_url) {
        return Some(None);
    }
    if let Some(preset) = presets::find(&text) {
        return Some(Some(preset));
    }
    if kind.is_none() && has_base_url {
        return Some(None);
    }
    if let Some(preset) = presets::find_ignoring_case(&text) {
        told.report(told.warning(format!("`{text}` is written `{}`", preset.name)).label("in other letters' case"));
        return Some(Some(preset));
    }
    let error = match kind {
        Some(_) => told.error(format!("unknown type `{text}`")).label("no provider of this name is known"),
        None => told
            .error(format!("`{name}` is no provider that is known by name, so it needs a `type`"))
            .label("which kind of server is this?"),
    };
    let meant = presets::near(&text);
    at.fail(if meant.is_empty() {
        error.help("for any server that speaks OpenAI's API: `type: openai` and a `base_url`")
    } else {
        error.did_you_mean(meant)
    })
}

/// Values for keys of the request's body.
fn decode_params(at: Cursor<'_>) -> Option<Map<String, Json>> {
    for entry in at.entries()?.iter().filter(|entry| entry.key.and_then(Node::as_str) == Some("model")) {
        let error = entry.at_key().error("`model` is no parameter").label("not a key that can be set here");
        entry.report(error.help("the `model` of a candidate, or an entry of `model_aliases`, says what is sent"));
    }
    at.json_object()
}

/// Whether a type is that of any server with OpenAI's API: with an address of its own it is no longer OpenAI's, and gets no
/// key that is.
pub(super) fn is_any_server(kind: &str, has_base_url: bool) -> bool {
    has_base_url && kind.eq_ignore_ascii_case("openai")
}

fn decode_timeouts(at: Cursor<'_>) -> Option<Timeouts> {
    let mut fields = Fields::of(at)?;
    let usual = Timeouts::default();
    let timeouts = Timeouts {
        connect: fields.optional("connect", Cursor::timeout).unwrap_or(usual.connect),
        headers: fields.optional("headers", Cursor::timeout).unwrap_or(usual.headers),
        idle: fields.optional("idle", Cursor::timeout).unwrap_or(usual.idle),
    };
    fields.finish();
    Some(timeouts)
}

/// `bearer`, `none`, `{ scheme: token }`, `{ header: x-api-key }` or `{ cookie: session }`.
pub(super) fn decode_auth(at: Cursor<'_>) -> Option<AuthForm> {
    if matches!(at.node.value, Value::String(_)) {
        return at.word(&[("bearer", true), ("none", false)]).map(|bearer| match bearer {
            true => AuthForm::Bearer,
            false => AuthForm::None,
        });
    }
    let mut fields = Fields::of(at)?;
    let scheme = fields.optional("scheme", Cursor::name).map(|scheme| AuthForm::Scheme(scheme.into()));
    let header = fields.optional("header", header_name).map(AuthForm::Header);
    let cookie = fields.optional("cookie", Cursor::name).map(|cookie| AuthForm::Cookie(cookie.into()));
    fields.finish();
    let mut forms = [scheme, header, cookie].into_iter().flatten();
    match (forms.next(), forms.next()) {
        (Some(form), None) => Some(form),
        _ => at.fail(at.error("`auth` takes exactly one of `scheme`, `header` and `cookie`")),
    }
}

fn header_name(at: Cursor<'_>) -> Option<HeaderName> {
    let text = at.text()?;
    text.parse()
        .ok()
        .or_else(|| at.fail(at.error("this is not the name of a header").label("expected a header's name")))
}

/// Header names and values; the values are marked sensitive, for any of them may be a credential.
///
/// References named in `keep` stay as they are.
pub(super) fn decode_headers(at: Cursor<'_>, keep: &[&str]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for entry in at.entries()? {
        let Some(name) = entry.key.and_then(|key| header_name(Cursor { node: key, ..entry })) else { continue };
        if concerns_the_connection(&name) {
            let error = entry.error(format!("`{name}` cannot be set: each connection has its own"));
            entry.report(error.label("expected a header of the request"));
            continue;
        }
        let Some(text) = entry.template(keep) else { continue };
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            Err(_) => entry.report(entry.error(format!("`{name}` has a character that no header can hold"))),
        }
    }
    Some(headers)
}
