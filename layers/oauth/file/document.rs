//! What is in a credential file.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    endpoint,
    options::{CredentialFileOptions, Expiry},
};
use crate::{
    ext::Endpoint,
    oauth::{Credential, server},
};

/// The content of a credential file.
pub(super) struct Document {
    pub(super) credential: Credential,
    pub(super) refresh: Option<Zeroizing<String>>,
    pub(super) expires: Option<SystemTime>,
    /// All of it, for writing it back.
    pub(super) tree: Tree,
}

/// JSON with tokens in it: its texts are wiped from memory when it is dropped.
#[derive(Clone)]
pub(super) struct Tree(Value);

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Deref for Tree {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl DerefMut for Tree {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Why a content is no credential, as the end of a sentence that starts with the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Someone may be in the middle of writing it.
    Unfinished(&'static str),
    Wrong(String),
}

impl Document {
    pub(super) fn parse(content: &[u8], options: &CredentialFileOptions) -> Result<Self, Fault> {
        if content.trim_ascii().is_empty() {
            return Err(Fault::Unfinished("is empty"));
        }
        let tree: Value = serde_json::from_slice(content).map_err(|error| {
            if error.is_eof() {
                Fault::Unfinished("ends in the middle of its JSON")
            } else {
                // The error's own text could quote the file.
                Fault::Wrong(format!("is not JSON (line {}, column {})", error.line(), error.column()))
            }
        })?;
        Self::read(tree.into(), options).map_err(Fault::Wrong)
    }

    pub(super) fn read(tree: Tree, options: &CredentialFileOptions) -> Result<Self, String> {
        if !tree.is_object() {
            return Err("does not hold a JSON object".into());
        }
        let options = &*resolved(&tree, options);
        let text = |pointer: &str| tree.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let access = text(&options.access).ok_or_else(|| format!("has no text at {}", options.access))?;
        let credential = match options.endpoint.as_deref().and_then(|pointer| Some((pointer, text(pointer)?))) {
            Some((pointer, endpoint)) => Credential::with_endpoint(access, read_endpoint(pointer, endpoint, options)?),
            None => Credential::new(access),
        };
        let refresh = text(&options.refresh).map(|token| Zeroizing::new(token.to_owned()));
        let expires = expires(&tree, access, &options.expiry);
        Ok(Self { credential, refresh, expires, tree })
    }

    /// How long the token is good for, if that is known.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        self.expires.map(|expires| expires.duration_since(now).unwrap_or_default())
    }
}

/// The options with the tokens' pointers as they are in this tree: without the `:*` that stands for any end of a name.
fn resolved<'o>(tree: &Value, options: &'o CredentialFileOptions) -> Cow<'o, CredentialFileOptions> {
    if [&options.access, &options.refresh].iter().all(|pointer| !pointer.contains(":*")) {
        return Cow::Borrowed(options);
    }
    let (access, refresh) = (resolve(tree, &options.access), resolve(tree, &options.refresh));
    Cow::Owned(CredentialFileOptions { access, refresh, ..options.clone() })
}

fn resolve(tree: &Value, pointer: &str) -> String {
    let mut at = Some(tree);
    let mut found = String::new();
    for part in pointer.split('/').skip(1) {
        let object = at.and_then(Value::as_object);
        let name = part.strip_suffix(":*").map(unescape).map(|start| {
            let goes_on =
                |name: &str| name.strip_prefix(&*start).is_some_and(|end| end.is_empty() || end.starts_with(':'));
            // Without any, it is the plain name that is missing.
            object.and_then(|object| object.keys().find(|name| goes_on(name)).cloned()).unwrap_or(start)
        });
        let name = name.unwrap_or_else(|| unescape(part));
        found = format!("{found}/{}", escape(&name));
        at = at.and_then(|at| at.pointer(&format!("/{}", escape(&name))));
    }
    found
}

fn read_endpoint(pointer: &str, endpoint: &str, options: &CredentialFileOptions) -> Result<Endpoint, String> {
    let url = endpoint::with_version(endpoint).ok_or_else(|| format!("has no https URL at {pointer}"))?;
    if options.allows_host(url.host().unwrap_or_default()) {
        Ok(Endpoint(url))
    } else {
        Err(format!("names a host at {pointer} that is not among those allowed"))
    }
}

pub(in crate::oauth) fn expires(tree: &Value, access: &str, expiry: &Expiry) -> Option<SystemTime> {
    match expiry {
        Expiry::None => None,
        Expiry::Millis(pointer) => since_1970(tree.pointer(pointer)?.as_f64()? / 1e3),
        Expiry::Seconds(pointer) => since_1970(tree.pointer(pointer)?.as_f64()?),
        Expiry::Rfc3339(pointer) => {
            let time: jiff::Timestamp = tree.pointer(pointer)?.as_str()?.parse().ok()?;
            Some(time.into())
        }
        Expiry::Jwt => {
            let payload = access.split('.').nth(1)?;
            let claims = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
            since_1970(serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_f64()?)
        }
    }
}

/// A time before 1970 is long past, and one out of reach is not known.
fn since_1970(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds.max(0.0)).ok()?)
}

/// Writes a refresh answer into the tree of a credential file.
///
/// What the answer leaves out stays, but for the expiry, which was the old token's. What the answer has beyond the
/// known fields replaces what the file has under the same name beside the access token, and adds nothing.
pub(super) fn merge(tree: &mut Value, answer: &Map<String, Value>, options: &CredentialFileOptions, now: SystemTime) {
    let options = &*resolved(tree, options);
    let expiry = expiry_pointer(options);
    let endpoint = options.endpoint.as_deref();
    let endpoint_name = endpoint.map(last_part);
    let own = [Some(&*options.access), Some(&*options.refresh), endpoint, expiry];
    for (name, value) in answer {
        let is_text = value.as_str().is_some_and(|text| !text.is_empty());
        if name == "access_token" {
            set(tree, &options.access, value.clone());
        } else if name == "refresh_token" && is_text {
            set(tree, &options.refresh, value.clone());
        } else if let Some(pointer) = endpoint.filter(|_| endpoint_name.as_deref() == Some(name) && is_text) {
            set(tree, pointer, value.clone());
        } else {
            let pointer = beside(options, name);
            if let Some(old) = tree.pointer_mut(&pointer).filter(|_| !own.contains(&Some(&*pointer))) {
                *old = value.clone();
            }
        }
    }
    if let Some(pointer) = expiry {
        let lifetime = server::seconds(answer, "expires_in").filter(|lifetime| !lifetime.is_zero());
        match lifetime.and_then(|lifetime| written(now.checked_add(lifetime)?, &options.expiry)) {
            Some(time) => set(tree, pointer, time),
            None => take(tree, pointer),
        }
    }
}

/// Writes the answer to a login into the tree of a credential file, where nothing of the login before is to stay.
pub(super) fn replace(tree: &mut Value, answer: &Map<String, Value>, options: &CredentialFileOptions, now: SystemTime) {
    let options = &*resolved(tree, options);
    let kept = |name: &str| server::text(answer, name).is_some();
    for (name, pointer) in members(options) {
        if !kept(&name) {
            take(tree, &pointer);
        }
    }
    merge(tree, answer, options, now);
    if let Some(kind) = server::text(answer, "token_type") {
        set(tree, &beside(options, "token_type"), kind.into());
    }
}

/// Takes the login out of the tree of a credential file, and tells whether there was one.
pub(super) fn remove(tree: &mut Value, options: &CredentialFileOptions) -> bool {
    let options = &*resolved(tree, options);
    let secrets = [&options.access, &options.refresh];
    let found = secrets.into_iter().any(|pointer| tree.pointer(pointer).is_some());
    for (_, pointer) in members(options) {
        take(tree, &pointer);
    }
    found
}

/// The members of a file that belong to its login: the name in a token answer, and the place.
fn members(options: &CredentialFileOptions) -> Vec<(String, String)> {
    let mut members = vec![
        ("access_token".to_owned(), options.access.clone()),
        ("refresh_token".to_owned(), options.refresh.clone()),
        ("token_type".to_owned(), beside(options, "token_type")),
        ("id_token".to_owned(), beside(options, "id_token")),
    ];
    members.extend(options.endpoint.iter().map(|pointer| (last_part(pointer), pointer.clone())));
    members.extend(expiry_pointer(options).map(|pointer| ("expires_in".to_owned(), pointer.to_owned())));
    members
}

fn expiry_pointer(options: &CredentialFileOptions) -> Option<&str> {
    match &options.expiry {
        Expiry::Millis(pointer) | Expiry::Seconds(pointer) | Expiry::Rfc3339(pointer) => Some(pointer),
        Expiry::None | Expiry::Jwt => None,
    }
}

/// The pointer of a member that stands beside the access token.
fn beside(options: &CredentialFileOptions, name: &str) -> String {
    let (parents, _) = options.access.rsplit_once('/').unwrap_or_default();
    format!("{parents}/{}", escape(name))
}

/// A time as the file has it.
fn written(time: SystemTime, expiry: &Expiry) -> Option<Value> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    match expiry {
        Expiry::Millis(_) => u64::try_from(since.as_millis()).ok().map(Value::from),
        Expiry::Seconds(_) => Some(since.as_secs().into()),
        Expiry::Rfc3339(_) => {
            let seconds = i64::try_from(since.as_secs()).ok()?;
            Some(jiff::Timestamp::from_second(seconds).ok()?.to_string().into())
        }
        Expiry::None | Expiry::Jwt => None,
    }
}

/// Sets what a JSON pointer leads to. Objects on the way are made where nothing or `null` is; a list gets no new items.
fn set(tree: &mut Value, pointer: &str, value: Value) {
    let mut at = tree;
    for part in pointer.split('/').skip(1) {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        let next = match at {
            Value::Object(object) => Some(object.entry(unescape(part)).or_insert(Value::Null)),
            other => other.pointer_mut(&format!("/{part}")),
        };
        let Some(next) = next else { return };
        at = next;
    }
    *at = value;
}

/// Takes out what a JSON pointer leads to, and the objects on the way that this leaves empty.
fn take(tree: &mut Value, pointer: &str) {
    let Some((parents, _)) = pointer.rsplit_once('/') else { return };
    let Some(object) = tree.pointer_mut(parents).and_then(Value::as_object_mut) else { return };
    if object.remove(&last_part(pointer)).is_some() && object.is_empty() {
        take(tree, parents);
    }
}

fn last_part(pointer: &str) -> String {
    unescape(pointer.rsplit('/').next().unwrap_or_default())
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_was_read_stays_in_memory() {
        let mut tree = json!({ "token": "secret", "list": ["secret", { "deep": "secret" }], "number": 1 });
        wipe(&mut tree);
        assert_eq!(tree, json!({ "token": "", "list": ["", { "deep": "" }], "number": 1 }));
    }
}
