use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;

use super::endpoint::matches_host;
use crate::oauth::server::{InsecureUrl, require_secure};

/// Describes a credential file; see [`CredentialFile`](super::CredentialFile).
#[derive(Clone, Debug)]
pub struct CredentialFileOptions {
    pub(super) path: PathBuf,
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) endpoint: Option<String>,
    pub(super) expiry: Expiry,
    pub(super) mode: Mode,
    pub(super) grant: Option<RefreshGrant>,
    pub(super) lock: Option<PathBuf>,
    pub(super) lock_stale: Duration,
    pub(super) allow_hosts: Vec<String>,
    pub(super) remedy: Option<String>,
}

/// Who refreshes the tokens of a credential file, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Another program does; the file is only ever read.
    ReadOnly,
    /// This source does, when a request finds the token expired (less than 30 s left) or the provider refuses it.
    #[default]
    OnDemand,
    /// As on demand; and in the background while the token still has about two minutes.
    Proactive,
}

/// Where the time at which a token expires is to be found. The strings are JSON pointers into the file.
///
/// A time that is missing, or not of its kind, means that the token is not known to expire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Nowhere.
    #[default]
    None,
    /// Milliseconds since 1970.
    Millis(String),
    /// Seconds since 1970.
    Seconds(String),
    /// A text as of RFC 3339.
    Rfc3339(String),
    /// The `exp` of the access token, which is a JSON Web Token. Its signature is not checked.
    Jwt,
}

impl CredentialFileOptions {
    /// A file with the token at `/access_token`, the refresh token at `/refresh_token`, no endpoint, no expiry and no way
    /// to refresh.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: "/access_token".into(),
            refresh: "/refresh_token".into(),
            endpoint: None,
            expiry: Expiry::None,
            mode: Mode::default(),
            grant: None,
            lock: None,
            lock_stale: Duration::from_secs(35),
            allow_hosts: Vec::new(),
            remedy: None,
        }
    }

    /// The JSON pointer of the access token. A part such as `host:*` stands for the name `host`, or else for the first
    /// that begins with `host:`.
    #[must_use]
    pub fn access(mut self, pointer: impl Into<String>) -> Self {
        self.access = pointer.into();
        self
    }

    /// The JSON pointer of the refresh token, written like that of the access token.
    #[must_use]
    pub fn refresh(mut self, pointer: impl Into<String>) -> Self {
        self.refresh = pointer.into();
        self
    }

    /// The JSON pointer of the base URL that the token is for. A refresh answer names it by the pointer's last part.
    #[must_use]
    pub fn endpoint(mut self, pointer: impl Into<String>) -> Self {
        self.endpoint = Some(pointer.into());
        self
    }

    /// Where the file says when the access token expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Who refreshes, and when. [`Mode::OnDemand`] by default.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How to refresh. Without it, nothing is refreshed in any mode.
    #[must_use]
    pub fn grant(mut self, grant: RefreshGrant) -> Self {
        self.grant = Some(grant);
        self
    }

    /// The lock file that the vendor's own client holds while it refreshes, respected and held here too.
    #[must_use]
    pub fn lock(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock = Some(path.into());
        self
    }

    /// The age from which the vendor's lock file counts as left behind and is broken. 35 s by default.
    #[must_use]
    pub fn lock_stale(mut self, age: Duration) -> Self {
        self.lock_stale = age;
        self
    }

    /// The hosts that the file's endpoint may have; `*` stands for any text without a dot. None by default.
    #[must_use]
    pub fn allow_hosts<I: IntoIterator<Item: Into<String>>>(mut self, patterns: I) -> Self {
        self.allow_hosts.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// What a person can do when the file holds no usable credential: ``run `vendor login` ``.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn usable_grant(&self) -> Option<&RefreshGrant> {
        self.grant.as_ref().filter(|_| self.mode != Mode::ReadOnly)
    }

    pub(super) fn allows_host(&self, host: &str) -> bool {
        self.allow_hosts.iter().any(|pattern| matches_host(pattern, host))
    }

    /// A sentence about the file, with the remedy.
    pub(super) fn sentence(&self, what: impl fmt::Display) -> String {
        let sentence = self.plain_sentence(what);
        match &self.remedy {
            Some(remedy) => format!("{sentence}; {remedy}"),
            None => sentence,
        }
    }

    /// A sentence about the file.
    pub(super) fn plain_sentence(&self, what: impl fmt::Display) -> String {
        format!("the credential file {} {what}", Path::display(&self.path))
    }
}

/// How an OAuth 2.0 refresh token is turned into a new access token: RFC 6749, section 6.
#[derive(Clone)]
pub struct RefreshGrant {
    pub(super) url: Uri,
    pub(super) encoding: GrantEncoding,
    pub(super) fields: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

/// How the body of a refresh request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrantEncoding {
    /// `application/x-www-form-urlencoded`, as the standard has it.
    #[default]
    Form,
    /// A JSON object.
    Json,
}

impl RefreshGrant {
    /// A form POST to the token endpoint with `grant_type=refresh_token`, which is given 15 s.
    ///
    /// # Errors
    ///
    /// If the URL is not `https`; plain `http` is for loopback hosts only.
    pub fn new(url: Uri) -> Result<Self, InsecureUrl> {
        require_secure(&url)?;
        let fields = vec![("grant_type".to_owned(), "refresh_token".to_owned())];
        Ok(Self { url, encoding: GrantEncoding::Form, fields, timeout: Duration::from_secs(15) })
    }

    /// How the body is written.
    #[must_use]
    pub fn encoding(mut self, encoding: GrantEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The `client_id` to send.
    #[must_use]
    pub fn client_id(self, id: impl Into<String>) -> Self {
        self.field("client_id", id)
    }

    /// A field to send beside `refresh_token`, in place of one with the same name.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.fields.retain(|(other, _)| *other != name);
        self.fields.push((name, value.into()));
        self
    }

    /// How long the exchange may take as a whole.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Shows the names of the fields only: a value may be a client secret.
impl fmt::Debug for RefreshGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshGrant")
            .field("url", &self.url)
            .field("encoding", &self.encoding)
            .field("fields", &self.fields.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .finish()
    }
}
