//! The providers that are known by name: a table of data, in which nothing is special-cased.
//!
//! A preset is where a backend of the configuration starts from; every value of it can be replaced there. Look one up
//! by its name or by one of its aliases:
//!
//! ```
//! use pointsman::provider::presets;
//!
//! let groq = presets::find("Groq").unwrap();
//! assert_eq!(groq.name, "groq");
//! assert_eq!(groq.key_variable, Some("GROQ_API_KEY"));
//! assert!(presets::find("GROQ").is_none());
//! assert_eq!(presets::near("grok").first(), Some(&"groq"));
//! ```

mod login;
mod logins;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header, header::InvalidHeaderValue};
use pointsman_layers::rate_limit_retry::Exhausted;

pub use self::{
    login::{ExpiryField, ExpiryUnit, GateFlag, GateRule, HoldKeys, Login, LoginExchange, LoginGrant},
    table::PRESETS,
};
use crate::near;

/// A provider that is known by name.
#[derive(Debug)]
#[non_exhaustive]
pub struct Preset {
    /// The name, in lower case.
    pub name: &'static str,
    /// Other names of the same.
    pub aliases: &'static [&'static str],
    /// Where its API starts, `/v1` or its like included. `None`: the configuration has to say.
    pub base_url: Option<&'static str>,
    /// The environment variable that holds the key. `None`: it takes none.
    pub key_variable: Option<&'static str>,
    /// How the key travels.
    pub auth: AuthForm,
    /// Further headers of each request.
    pub headers: &'static [(&'static str, &'static str)],
    /// What is different for requests in another vendor's dialect.
    pub dialect: Option<Dialect>,
    /// The request that asks for the quota.
    pub quota: Option<QuotaRequest>,
    /// The headers of its answers that say what is left, in lower case; a `*` at the end stands for anything. Conditions
    /// read them as `quota.headers.<name>`.
    pub quota_headers: &'static [&'static str],
    /// Models to list, where the provider's own list cannot be asked for.
    pub models: &'static [&'static str],
    /// What is taken off the front of a model's name before it is sent.
    pub model_prefix: Option<&'static str>,
    /// The login of another program that it uses, for want of a key.
    pub login: Option<Login>,
    /// What it takes to enable it; `None`: nothing.
    pub gate: Option<GateRule>,
    /// Its settings for a rate limit; `None`: nothing is held unless the configuration says so.
    pub hold: Option<HoldKeys>,
    /// What it says when waiting for a rate limit is of no use.
    pub exhausted: Exhausted,
    /// What a user has to know about the provider's terms.
    pub terms: Option<&'static str>,
}

/// How a credential is put on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthForm {
    /// Not at all.
    None,
    /// `Authorization: Bearer <key>`
    Bearer,
    /// `Authorization: <scheme> <key>`
    Scheme(Cow<'static, str>),
    /// `<header>: <key>`
    Header(HeaderName),
    /// `Cookie: <name>=<key>`
    Cookie(Cow<'static, str>),
}

impl AuthForm {
    /// The header that the credential travels in, if it travels at all.
    pub fn header_name(&self) -> Option<HeaderName> {
        match self {
            Self::None => None,
            Self::Bearer | Self::Scheme(_) => Some(header::AUTHORIZATION),
            Self::Header(name) => Some(name.clone()),
            Self::Cookie(_) => Some(header::COOKIE),
        }
    }

    /// The value of that header, marked sensitive; for [`AuthForm::None`] it is the credential as it is.
    ///
    /// # Errors
    ///
    /// If the credential has a character that no header can hold.
    pub fn header_value(&self, credential: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = match self {
            Self::None | Self::Header(_) => HeaderValue::from_str(credential),
            Self::Bearer => HeaderValue::try_from(format!("Bearer {credential}")),
            Self::Scheme(scheme) => HeaderValue::try_from(format!("{scheme} {credential}")),
            Self::Cookie(name) => HeaderValue::try_from(format!("{name}={credential}")),
        }?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// How requests are sent to the paths of another vendor's API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dialect {
    /// The path, as clients write it. It stands for all that are below it, too.
    pub path: &'static str,
    /// How the key travels there.
    pub auth: AuthForm,
    /// Headers that requests need there, unless the client has sent them.
    pub headers: &'static [(&'static str, &'static str)],
}

impl Dialect {
    /// Whether a client's path is one of those that are meant.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.path).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }
}

/// A request that asks for the quota.
#[derive(Debug)]
#[non_exhaustive]
pub struct QuotaRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Where to.
    pub url: &'static str,
    /// How the backend's key travels. [`AuthForm::None`]: the key is of no use, so the configuration has to give
    /// `quota.headers` before anything is asked.
    pub auth: AuthForm,
    /// A JSON pointer to the part of the answer that counts; empty for the whole.
    pub pointer: &'static str,
    /// Fields to add to that part: dotted path, and where the value comes from.
    pub map: &'static [(&'static str, Reshape)],
    /// The fields that conditions can read, `*` for any name or index; `None` if they are not all known.
    pub fields: Option<&'static [&'static str]>,
}

/// Where the value of an added field comes from. The pointers are JSON pointers, relative to the part that counts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reshape {
    /// The first of these places that has a value which is no object and no list.
    Pointer(Cow<'static, [Cow<'static, str>]>),
    /// A number, whatever the answer.
    Constant(f64),
    /// The number at the first place less the number at the second.
    Difference(Cow<'static, str>, Cow<'static, str>),
    /// The list at `list` as an object, each item under the name that it has at `by`.
    KeyedBy {
        /// Where the list is.
        list: Cow<'static, str>,
        /// Where in an item its name is.
        by: Cow<'static, str>,
    },
}

impl Preset {
    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The preset with exactly this name or alias.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.names().any(|known| known == name))
}

/// The preset with this name or alias in other letters' case.
pub fn find_ignoring_case(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.names().any(|known| known.eq_ignore_ascii_case(name)))
}

/// The names and aliases that this one could be a slip of, the likeliest first.
pub fn near(name: &str) -> Vec<&'static str> {
    near::near(name, PRESETS.iter().flat_map(Preset::names))
}
