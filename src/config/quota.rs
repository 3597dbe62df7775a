use std::{
    borrow::Cow,
    fmt::{self, Debug, Formatter},
    time::Duration,
};

use http::{HeaderMap, Method, Uri};

use super::{
    Backend,
    backend::decode_headers,
    decode::Cursor,
    fields::Fields,
    node::{Node, Value},
};
use crate::provider::presets::{AuthForm, QuotaRequest, Reshape};

/// The request that asks for a backend's quota.
#[derive(Clone)]
#[non_exhaustive]
pub struct QuotaConfig {
    /// `GET`, unless there is a body.
    pub method: Method,
    /// Where to.
    pub url: Uri,
    /// The headers; `${api_key}` in a value stands for the backend's key.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<String>,
    /// How the backend's key travels, beside what `headers` says.
    pub auth: AuthForm,
    /// A JSON pointer to the part of the answer that counts; empty for the whole.
    pub pointer: String,
    /// Fields to add to that part: dotted path, and where the value comes from.
    pub map: Vec<(String, Reshape)>,
    /// How long an answer is good; 300 s.
    pub ttl: Duration,
    /// How long the answer may take; 5 s.
    pub timeout: Duration,
    /// Whether an answer that is too old still serves while a new one is fetched.
    pub background_refresh: bool,
    /// The fields that conditions can read, `*` for any name or index; `None` if they are not known.
    pub fields: Option<&'static [&'static str]>,
}

impl QuotaConfig {
    /// The preset's, as far as it can be used as it is.
    pub(super) fn from_preset(backend: &Backend) -> Option<Self> {
        let request = usable_request(backend).filter(|request| request.auth != AuthForm::None)?;
        Some(Self::new(request))
    }

    fn new(request: &QuotaRequest) -> Self {
        Self {
            method: Method::from_bytes(request.method.as_bytes()).unwrap_or_default(),
            url: Uri::from_static(request.url),
            headers: HeaderMap::new(),
            body: None,
            auth: request.auth.clone(),
            pointer: request.pointer.to_owned(),
            map: request.map.iter().map(|(field, from)| ((*field).to_owned(), from.clone())).collect(),
            ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(5),
            background_refresh: false,
            fields: request.fields,
        }
    }

    /// Reads `quota`: the preset's request with what is different, or one of its own. `false` is none.
    pub(super) fn decode(at: Cursor<'_>, backend: &Backend) -> Option<Self> {
        if let Value::Bool(false) = at.node.value {
            return None;
        }
        let mut fields = Fields::of(at)?;
        let preset = backend.preset.and_then(|preset| preset.quota.as_ref());
        let usable = usable_request(backend);
        let url = match (fields.optional("url", Cursor::url), usable) {
            (Some(url), _) => Some(url),
            (None, Some(request)) => Some(Uri::from_static(request.url)),
            (None, None) => fields.missing("url"),
        };
        let method = fields.optional("method", |method| {
            method.word(&[("GET", false), ("POST", true)]).map(|post| if post { Method::POST } else { Method::GET })
        });
        let headers = fields.optional("headers", |headers| decode_headers(headers, &["api_key"]));
        let body = fields.optional("body", decode_body);
        let pointer = fields.optional("pointer", decode_pointer);
        let map = fields.optional("map", decode_map);
        let ttl = fields.optional("ttl", Cursor::duration);
        let timeout = fields.optional("timeout", Cursor::timeout);
        let refresh = fields.optional("refresh", |refresh| match refresh.node.value {
            Value::Bool(refresh) => Some(refresh),
            _ => refresh.word(&[("background", true), ("none", false)]),
        });
        fields.finish();

        let url = url?;
        let mut quota = Self::new(preset.unwrap_or(&PLAIN));
        // What is known of the preset's answer says nothing about one that is cut otherwise.
        if pointer.is_some() || map.is_some() {
            quota.fields = None;
        }
        if preset.is_none() {
            quota.auth = backend.auth.clone();
        }
        if headers.is_some() {
            quota.auth = AuthForm::None;
        } else if let Some(where_to) = why_unsafe(&url, backend, usable) {
            quota.auth = AuthForm::None;
            if backend.api_key.is_some() {
                let warning = at.at_key().warning(format!("the quota is asked for {where_to}"));
                let help = "to send it there all the same: `headers: { authorization: \"Bearer ${api_key}\" }`";
                at.report(warning.label("so the backend's key is not sent").help(help));
            }
        }
        let usual_method = if body.is_some() { Method::POST } else { quota.method };
        quota.method = method.unwrap_or(usual_method);
        quota.url = url;
        quota.headers = headers.unwrap_or_default();
        quota.body = body;
        quota.pointer = pointer.unwrap_or(quota.pointer);
        quota.map = map.unwrap_or(quota.map);
        quota.ttl = ttl.unwrap_or(quota.ttl);
        quota.timeout = timeout.unwrap_or(quota.timeout);
        quota.background_refresh = refresh.unwrap_or_default();
        Some(quota)
    }
}

/// Shows the URL without its query, in which there may be a credential.
impl Debug for QuotaConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let url = format_args!(
            "{}://{}{}",
            self.url.scheme_str().unwrap_or_default(),
            self.url.authority().map_or("", |authority| authority.as_str()),
            self.url.path()
        );
        f.debug_struct("QuotaConfig")
            .field("method", &self.method)
            .field("url", &url)
            .field("headers", &self.headers)
            .field("auth", &self.auth)
            .field("pointer", &self.pointer)
            .field("map", &self.map)
            .field("ttl", &self.ttl)
            .field("timeout", &self.timeout)
            .field("background_refresh", &self.background_refresh)
            .finish_non_exhaustive()
    }
}

/// What a request is like that no preset describes.
const PLAIN: QuotaRequest =
    QuotaRequest { method: "GET", url: "/", auth: AuthForm::Bearer, pointer: "", map: &[], fields: None };

/// The preset's quota request, unless the backend was moved to another host: that one has no use for it, and the key is
/// not the preset's any more. What a `url` of the configuration answers is still taken to be what the preset's would.
fn usable_request(backend: &Backend) -> Option<&'static QuotaRequest> {
    let preset = backend.preset?;
    let moved = preset
        .base_url
        .is_some_and(|usual| Uri::from_static(usual).host() != backend.base_url.as_ref().and_then(Uri::host));
    preset.quota.as_ref().filter(|_| !moved)
}

/// Why the backend's key is not for this URL, if so: it is not one of the backend's own hosts, or may be overheard on the
/// way there as it could not be on the way to the backend.
fn why_unsafe(url: &Uri, backend: &Backend, preset: Option<&QuotaRequest>) -> Option<&'static str> {
    let own = backend.base_url.as_ref();
    if url.host() != own.and_then(Uri::host)
        && preset.is_none_or(|request| Uri::from_static(request.url).host() != url.host())
    {
        return Some("at another host than the backend's");
    }
    let in_the_clear = |url: &Uri| url.scheme_str() == Some("http");
    (in_the_clear(url) && !own.is_some_and(in_the_clear)).then_some("in the clear")
}

/// A string as it is, anything else as JSON.
fn decode_body(at: Cursor<'_>) -> Option<String> {
    match at.node.value {
        Value::String(_) => at.template(&["api_key"]).map(Cow::into_owned),
        _ => at.json().map(|json| json.to_string()),
    }
}

pub(super) fn decode_pointer(at: Cursor<'_>) -> Option<String> {
    let text = at.string()?;
    if text.is_empty() || text.starts_with('/') {
        return Some(text);
    }
    let help = format!("write `/{}`", text.trim_start_matches("$.").replace('.', "/"));
    at.fail(at.error("this is not a JSON pointer").label("expected a `/` at the start").help(help))
}

/// Dotted path -> pointer, list of pointers, number, `{ difference: [a, b] }` or `{ list: pointer, by: pointer }`.
fn decode_map(at: Cursor<'_>) -> Option<Vec<(String, Reshape)>> {
    let mut map = Vec::new();
    for entry in at.entries()? {
        let Some(field) = entry.key.and_then(Node::as_str) else { continue };
        let from = match &entry.node.value {
            Value::Number(number) => number.as_f64().map(Reshape::Constant),
            Value::Seq(_) => {
                entry.list(|item| decode_pointer(item).map(Cow::from)).map(|pointers| Reshape::Pointer(pointers.into()))
            }
            Value::Map(_) => decode_reshape(entry),
            _ => decode_pointer(entry).map(|pointer| Reshape::Pointer(vec![Cow::from(pointer)].into())),
        };
        map.extend(from.map(|from| (field.to_owned(), from)));
    }
    Some(map)
}

fn decode_reshape(at: Cursor<'_>) -> Option<Reshape> {
    let mut fields = Fields::of(at)?;
    let difference = fields.optional("difference", |pair| pair.list(decode_pointer));
    let list = fields.optional("list", decode_pointer);
    let by = fields.optional("by", decode_pointer);
    fields.finish();
    match (difference.map(<[String; 2]>::try_from), list, by) {
        (Some(Ok([minuend, subtrahend])), None, None) => Some(Reshape::Difference(minuend.into(), subtrahend.into())),
        (None, Some(list), Some(by)) => Some(Reshape::KeyedBy { list: list.into(), by: by.into() }),
        _ => {
            let error = at.at_key().error("this does not say where the value comes from");
            at.fail(error.help("write `{ difference: [/a, /b] }` or `{ list: /items, by: /name }`"))
        }
    }
}
