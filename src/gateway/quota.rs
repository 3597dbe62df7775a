//! Quota sources from the configuration: the request, and the answer in the shape that conditions read.

use http::HeaderName;
use pointsman_layers::{
    condition::{Condition, Segment},
    oauth::{CredentialFile, OAuth, OAuthLayer},
    quota::{HttpQuota, QuotaCache, QuotaOptions, QuotaSource as _, Refresh},
};
use serde_json::{Map, Value};
use tower_layer::Layer as _;

use super::{
    credentials::{Source, token_header},
    providers::{Clients, credential},
};
use crate::{
    config::{Backend, QuotaConfig, Reshape, Route, Secret},
    provider::Client,
};

/// Gives the backend's quota to the cache: its source, if it has one, and the headers of its answers that conditions read.
pub(super) fn register(
    backend: &Backend,
    routes: &[Route],
    clients: &mut Clients,
    source: Option<&Source>,
    quotas: &QuotaCache,
) {
    let headers = headers_read(backend, routes);
    if !headers.is_empty() {
        quotas.watch(&backend.name, headers);
    }
    let Some(quota) = &backend.quota else { return };
    let client = with_login(clients.get(backend.timeouts.connect), quota, source);
    let request = request(backend, quota, client);
    let map = quota.map.clone();
    let source = move || {
        let (answer, map) = (request.fetch(), map.clone());
        async move { Ok(reshape(answer.await?, &map)) }
    };
    let mut options = QuotaOptions { ttl: quota.ttl, timeout: quota.timeout, ..QuotaOptions::default() };
    if quota.background_refresh {
        options.refresh = Refresh::Background;
    }
    quotas.insert_with(&backend.name, source, options);
}

/// The headers of this backend's answers that conditions name.
fn headers_read(backend: &Backend, routes: &[Route]) -> Vec<HeaderName> {
    let candidates = routes.iter().flat_map(|route| &route.candidates).filter(|it| it.backend == backend.name);
    let paths = candidates.filter_map(|candidate| candidate.condition.as_ref()).flat_map(Condition::quota_paths);
    let named = paths.filter_map(|path| match path.segments() {
        [Segment::Key(root), Segment::Key(name), ..] if **root == *"headers" => name.parse().ok(),
        _ => None,
    });
    let mut headers: Vec<HeaderName> = Vec::new();
    for name in named {
        if !headers.contains(&name) {
            headers.push(name);
        }
    }
    headers
}

/// The client that puts in the token of the backend's login, if it has one. An exchanged token is for requests alone: the
/// quota belongs to the login.
fn with_login(client: Client, quota: &QuotaConfig, source: Option<&Source>) -> OAuth<Client, CredentialFile> {
    let header = token_header(&quota.auth);
    let layer = OAuthLayer::optional(source.filter(|_| header.is_some()).map(|source| source.file().clone()));
    match header {
        Some((name, template)) => layer.token_header(name, template).layer(client),
        None => layer.layer(client),
    }
}

fn request<S>(backend: &Backend, quota: &QuotaConfig, client: S) -> HttpQuota<S> {
    let mut request = HttpQuota::new(client, quota.url.clone()).method(quota.method.clone()).pointer(&quota.pointer);
    if let Some((name, value)) = backend.api_key.as_ref().and_then(|key| credential(&quota.auth, key)) {
        request = request.header(name, value);
    }
    for (name, value) in &quota.headers {
        let filled = value.to_str().ok().and_then(|text| with_key(text, backend.api_key.as_ref()).try_into().ok());
        request = request.header(name.clone(), filled.unwrap_or_else(|| value.clone()));
    }
    match &quota.body {
        Some(body) => request.body(with_key(body, backend.api_key.as_ref())),
        None => request,
    }
}

/// Puts the backend's key where the configuration says `${api_key}`.
fn with_key(text: &str, key: Option<&Secret>) -> String {
    key.map_or_else(|| text.to_owned(), |key| text.replace("${api_key}", key.expose()))
}

/// Adds the fields of `map` to an answer. An answer that is no object has no fields of its own to keep.
fn reshape(answer: Value, map: &[(String, Reshape)]) -> Value {
    if map.is_empty() {
        return answer;
    }
    let fields: Vec<_> = map.iter().filter_map(|(path, from)| Some((path, read(&answer, from)?))).collect();
    let mut shaped = if answer.is_object() { answer } else { Value::Object(Map::new()) };
    for (path, value) in fields {
        put(&mut shaped, path, value);
    }
    shaped
}

fn read(answer: &Value, from: &Reshape) -> Option<Value> {
    match from {
        Reshape::Pointer(places) => {
            let mut found = places.iter().filter_map(|place| answer.pointer(place));
            found.find(|value| !matches!(value, Value::Object(_) | Value::Array(_) | Value::Null)).cloned()
        }
        Reshape::Constant(number) => Some(Value::from(*number)),
        Reshape::Difference(minuend, subtrahend) => {
            let number = |place: &str| answer.pointer(place).and_then(Value::as_f64);
            Some(Value::from(number(minuend)? - number(subtrahend)?))
        }
        Reshape::KeyedBy { list, by } => {
            let items = answer.pointer(list)?.as_array()?.iter();
            let named = items.filter_map(|item| Some((item.pointer(by)?.as_str()?.to_owned(), item.clone())));
            Some(Value::Object(named.collect()))
        }
    }
}

/// Sets the field at a dotted path, making the objects on the way.
fn put(into: &mut Value, path: &str, value: Value) {
    let mut place = into;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(fields) = place else { return };
        place = fields.entry(name).or_insert(Value::Null);
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow::Borrowed;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_brought_into_shape() {
        let credits = [
            ("credits.remaining".to_owned(), Reshape::Pointer(Borrowed(&[Borrowed("/left"), Borrowed("")]))),
            ("credits.total".to_owned(), Reshape::Constant(5000.0)),
        ];
        let shaped = json!({"credits": {"remaining": 7, "total": 5000.0}});
        assert_eq!(reshape(json!(7), &credits), shaped);
        assert_eq!(reshape(json!({"left": 7}), &credits)["credits"], shaped["credits"]);

        let balance = [("balance".to_owned(), Reshape::Difference(Borrowed("/a"), Borrowed("/b")))];
        assert_eq!(reshape(json!({"a": 5, "b": 3.5}), &balance), json!({"a": 5, "b": 3.5, "balance": 1.5}));
        assert_eq!(reshape(json!({"a": 5}), &balance), json!({"a": 5}));

        let models = [("models".to_owned(), Reshape::KeyedBy { list: Borrowed("/buckets"), by: Borrowed("/modelId") })];
        let buckets = json!({"buckets": [{"modelId": "gemini-2.5-pro", "left": 0.5}, {"left": 1}]});
        assert_eq!(
            reshape(buckets, &models)["models"],
            json!({"gemini-2.5-pro": {"modelId": "gemini-2.5-pro", "left": 0.5}})
        );
    }
}
