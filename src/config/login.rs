//! From a preset's login and the block `oauth` of a backend to the login that is used.

use std::path::{Path, PathBuf};

use http::{Uri, uri::Authority};
use pointsman_layers::oauth::{Expiry, GrantEncoding, Mode, RefreshGrant};

use super::{
    Exchange, Grant, OAuth,
    backend::decode_headers,
    decode::{Context, Cursor},
    fields::Fields,
    interpolate::expand_home,
    node::{Node, Value},
    quota::decode_pointer,
};
use crate::provider::presets::{ExpiryField, ExpiryUnit, Login};

impl OAuth {
    /// The preset's login, in the file at `path` or else in the usual place.
    pub(super) fn from_preset(login: &'static Login, path: Option<PathBuf>, context: &Context<'_>) -> Self {
        let path = path.unwrap_or_else(|| usual_path(login, context));
        Self {
            access: login.access.to_owned(),
            refresh: login.refresh.to_owned(),
            endpoint: login.endpoint.map(str::to_owned),
            expiry: usual_expiry(login.expiry),
            mode: login.mode,
            grant: login.grant.as_ref().map(|grant| Grant {
                device_url: grant.device_url.map(Uri::from_static),
                scope: grant.scope.map(str::to_owned),
                ..Grant::new(Uri::from_static(grant.token_url), grant.client_id)
            }),
            exchange: login.exchange.as_ref().map(Exchange::from_preset),
            lock: login.lock.map(|lock| path.with_file_name(lock)),
            allow_hosts: login.allow_hosts.iter().copied().map(str::to_owned).collect(),
            remedy: login.remedy.to_owned(),
            ..Self::new(path)
        }
    }

    /// Reads `oauth`: the preset's login with what is different, or one of its own.
    ///
    /// `credentials_path` is the backend's, and goes before the block's own path.
    pub(super) fn decode(
        at: Cursor<'_>,
        login: Option<&'static Login>,
        credentials_path: Option<PathBuf>,
    ) -> Option<Self> {
        let mut fields = Fields::of(at)?;
        let path = credentials_path.or(fields.optional("path", file_path));
        let mut oauth = match (path, login) {
            (path, Some(login)) => Self::from_preset(login, path, at.context),
            (Some(path), None) => Self::new(path),
            (None, None) => {
                // One that is there and wrong has been told of. The rest of the block may have mistakes too.
                if !at.has("path") {
                    fields.missing::<()>("path");
                }
                Self::new(PathBuf::new())
            }
        };
        fields.optional("fields", |pointers| oauth.decode_pointers(pointers));
        if let Some(expiry) =
            fields.optional("expiry", |expiry| decode_expiry(expiry, login.and_then(|login| login.expiry)))
        {
            oauth.expiry = expiry;
        }
        let modes = [("read_only", Mode::ReadOnly), ("on_demand", Mode::OnDemand), ("proactive", Mode::Proactive)];
        oauth.mode = fields.optional("mode", |mode| mode.word(&modes)).unwrap_or(oauth.mode);
        fields.optional("refresh", |refresh| oauth.decode_refresh(refresh));
        fields.optional("login", |login| oauth.decode_device_login(login, at.has("refresh")));
        if let Some(exchange) = fields.take("exchange").filter(|exchange| !exchange.node.is_null()) {
            oauth.exchange = Exchange::decode(exchange, login.and_then(|login| login.exchange.as_ref()));
        }
        fields.optional("lock", |lock| oauth.decode_lock(lock));
        let hosts = fields.optional("allow_hosts", |hosts| hosts.list(decode_host));
        oauth.allow_hosts = hosts.unwrap_or(oauth.allow_hosts);
        oauth.headers = fields.optional("headers", |headers| decode_headers(headers, &[])).unwrap_or_default();
        oauth.remedy = fields.optional("remedy", Cursor::name).unwrap_or(oauth.remedy);
        fields.finish();
        Some(oauth)
    }

    fn decode_pointers(&mut self, at: Cursor<'_>) -> Option<()> {
        let mut fields = Fields::of(at)?;
        self.access = fields.optional("access", field_pointer).unwrap_or(std::mem::take(&mut self.access));
        self.refresh = fields.optional("refresh", field_pointer).unwrap_or(std::mem::take(&mut self.refresh));
        self.endpoint = fields.optional("endpoint", field_pointer).or(self.endpoint.take());
        fields.finish();
        Some(())
    }

    fn decode_refresh(&mut self, at: Cursor<'_>) -> Option<()> {
        let mut fields = Fields::of(at)?;
        let url = fields.optional("url", secure_url);
        let client_id = fields.optional("client_id", Cursor::name);
        let encodings = [("form", GrantEncoding::Form), ("json", GrantEncoding::Json)];
        let encoding = fields.optional("body", |body| body.word(&encodings));
        let further = fields.optional("fields", |further| {
            let named = |entry: Cursor<'_>| Some((entry.key?.as_str()?.to_owned(), entry.string()?));
            Some(further.entries()?.into_iter().filter_map(named).collect())
        });
        let grant = match (self.grant.take(), url, client_id) {
            (Some(preset), url, client_id) => Some(Grant {
                token_url: url.unwrap_or(preset.token_url),
                client_id: client_id.unwrap_or(preset.client_id),
                ..preset
            }),
            (None, Some(url), Some(client_id)) => Some(Grant::new(url, client_id)),
            (None, url, client_id) => {
                // One that is there and wrong has been told of.
                for (key, is_read) in [("url", url.is_some()), ("client_id", client_id.is_some())] {
                    if !is_read && !at.has(key) {
                        fields.missing::<()>(key);
                    }
                }
                None
            }
        };
        fields.finish();
        self.grant = grant.map(|grant| Grant {
            encoding: encoding.unwrap_or(grant.encoding),
            fields: further.unwrap_or(grant.fields),
            ..grant
        });
        Some(())
    }

    fn decode_device_login(&mut self, at: Cursor<'_>, has_refresh: bool) -> Option<()> {
        let mut fields = Fields::of(at)?;
        let url = fields.optional("url", secure_url);
        let scope = fields.optional("scope", Cursor::name);
        fields.finish();
        match &mut self.grant {
            Some(grant) => {
                grant.device_url = url.or(grant.device_url.take());
                grant.scope = scope.or(grant.scope.take());
            }
            // One that is there and wrong has been told of.
            None if has_refresh => {}
            None => {
                let error = at.at_key().error("`login` needs `refresh`, which says where the tokens come from");
                at.report(error.label("nothing to log in with"));
            }
        }
        Some(())
    }

    /// `false` is no lock.
    fn decode_lock(&mut self, at: Cursor<'_>) -> Option<()> {
        if let Value::Bool(false) = at.node.value {
            self.lock = None;
            return Some(());
        }
        let mut fields = Fields::of(at)?;
        self.lock = fields.optional("path", file_path).or(self.lock.take());
        self.lock_stale = fields.optional("stale", Cursor::timeout).unwrap_or(self.lock_stale);
        if self.lock.is_none() && !at.has("path") {
            fields.missing::<()>("path");
        }
        fields.finish();
        Some(())
    }
}

/// Where the other program keeps its login.
fn usual_path(login: &Login, context: &Context<'_>) -> PathBuf {
    let environment = context.environment;
    let named = login.folder_variable.and_then(|variable| environment.variable(variable));
    let folder = match named.filter(|folder| !folder.is_empty()) {
        // As for any program, this one is relative to the working directory.
        Some(folder) => expand_home(&folder, environment, Path::new("")),
        None => expand_home(login.folder, environment, context.folder),
    };
    let files = || login.files.iter().map(|file| folder.join(file));
    files().find(|file| file.exists()).or_else(|| files().next()).unwrap_or(folder)
}

fn file_path(at: Cursor<'_>) -> Option<PathBuf> {
    at.name()?;
    at.path()
}

/// The time as a preset has it.
pub(super) fn usual_expiry(usual: Option<ExpiryField>) -> Expiry {
    usual.map_or(Expiry::None, |usual| usual.unit.at(usual.field))
}

pub(super) fn field_pointer(at: Cursor<'_>) -> Option<String> {
    let pointer = decode_pointer(at)?;
    if pointer.is_empty() {
        return at.fail(at.error("this is the whole file, and no field of it").label("expected a JSON pointer"));
    }
    Some(pointer)
}

/// `{ field: /expires, unit: s }`, or a unit that needs no field.
pub(super) fn decode_expiry(at: Cursor<'_>, usual: Option<ExpiryField>) -> Option<Expiry> {
    #[derive(Clone, Copy)]
    enum Unit {
        Of(ExpiryUnit),
        Jwt,
        None,
    }
    let units = [
        ("ms", Unit::Of(ExpiryUnit::Millis)),
        ("s", Unit::Of(ExpiryUnit::Seconds)),
        ("rfc3339", Unit::Of(ExpiryUnit::Rfc3339)),
        ("jwt", Unit::Jwt),
        ("none", Unit::None),
    ];
    let mut fields = Fields::of(at)?;
    let field = fields.take("field").filter(|field| !field.node.is_null());
    let unit = match (fields.take("unit").filter(|unit| !unit.node.is_null()), usual) {
        (Some(unit), _) => unit.word(&units),
        (None, Some(usual)) => Some(Unit::Of(usual.unit)),
        (None, None) => fields.missing("unit"),
    };
    let expiry = match (unit?, field, usual) {
        (Unit::Of(unit), Some(field), _) => field_pointer(field).map(|field| unit.at(field)),
        (Unit::Of(unit), None, Some(usual)) => Some(unit.at(usual.field)),
        (Unit::Of(_), None, None) => fields.missing("field"),
        (Unit::Jwt, None, _) => Some(Expiry::Jwt),
        (Unit::None, None, _) => Some(Expiry::None),
        (Unit::Jwt | Unit::None, Some(field), _) => {
            let error = field.at_key().error("`field` has no meaning with this unit");
            field.fail(error.label("nothing is read from the file"))
        }
    };
    fields.finish();
    expiry
}

/// A URL to which tokens may be sent.
pub(super) fn secure_url(at: Cursor<'_>) -> Option<Uri> {
    let url = at.url()?;
    if RefreshGrant::new(url.clone()).is_err() {
        let name = at.key.and_then(Node::as_str).unwrap_or("url");
        let error = at.error(format!("`{name}` would send tokens in the clear")).label("expected an https URL");
        return at.fail(error.help("write `https://...`; plain `http://` is for this machine alone"));
    }
    Some(url)
}

/// A host, in which `*` may stand for anything but a dot.
fn decode_host(at: Cursor<'_>) -> Option<String> {
    let text = at.name()?;
    if !text.parse::<Authority>().is_ok_and(|authority| authority.host() == text) {
        let error = at.error("this is not the name of a host").label("expected a host");
        return at.fail(error.help("write it without scheme, port and path: `llm.example.com` or `*.example.com`"));
    }
    Some(text)
}
