use std::{
    fmt::{self, Debug, Formatter},
    path::PathBuf,
    time::Duration,
};

use http::{HeaderMap, Uri};
use pointsman_layers::oauth::{Expiry, GrantEncoding, Mode};

use crate::provider::presets::AuthForm;

/// A login that another program wrote to a file: where its parts are, and how it is renewed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OAuth {
    /// The credential file.
    pub path: PathBuf,
    /// A JSON pointer to the access token.
    pub access: String,
    /// A JSON pointer to the refresh token.
    pub refresh: String,
    /// A JSON pointer to the base URL that comes with the login, if one may.
    pub endpoint: Option<String>,
    /// Where the file says when the access token expires.
    pub expiry: Expiry,
    /// Who renews the token.
    pub mode: Mode,
    /// How the token is renewed, and how a new login is made; `None` if that cannot be done here.
    pub grant: Option<Grant>,
    /// Where the file's token is exchanged for the one that requests take, if it is.
    pub exchange: Option<Exchange>,
    /// The lock file that the vendor's own program respects.
    pub lock: Option<PathBuf>,
    /// How old that lock has to be to count as left behind; 35 s.
    pub lock_stale: Duration,
    /// The hosts that the base URL of a login, or of an exchanged token, may name; `*` stands for anything but a dot.
    pub allow_hosts: Vec<String>,
    /// Further headers of each request.
    pub headers: HeaderMap,
    /// What a user has to do when the login is no good.
    pub remedy: String,
}

/// The token server of a login. `Debug` shows the names of the further fields alone, for there may be a secret in them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Grant {
    /// Where tokens are renewed.
    pub token_url: Uri,
    /// Where a login on another device begins (RFC 8628), if it can.
    pub device_url: Option<Uri>,
    /// What the token server knows this program as. It is public: there is no secret with it.
    pub client_id: String,
    /// What a new login asks for.
    pub scope: Option<String>,
    /// How the request is written.
    pub encoding: GrantEncoding,
    /// Further fields of the request.
    pub fields: Vec<(String, String)>,
}

/// A request that exchanges the token of a login for a short-lived one. `Debug` shows the names of the headers alone, for
/// there may be a secret in them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// Where to.
    pub url: Uri,
    /// How the login's token travels.
    pub auth: AuthForm,
    /// Further headers of the request.
    pub headers: HeaderMap,
    /// A JSON pointer to the short-lived token in the answer.
    pub access: String,
    /// A JSON pointer to the base URL that it is for, if one may come with it.
    pub endpoint: Option<String>,
    /// Where the answer says when it expires.
    pub expiry: Expiry,
}

impl OAuth {
    /// A login at `path`, with the usual names of things and nothing to renew it with.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: "/access_token".into(),
            refresh: "/refresh_token".into(),
            endpoint: None,
            expiry: Expiry::None,
            mode: Mode::OnDemand,
            grant: None,
            exchange: None,
            lock: None,
            lock_stale: Duration::from_secs(35),
            allow_hosts: Vec::new(),
            headers: HeaderMap::new(),
            remedy: "log in again".into(),
        }
    }
}

impl Grant {
    /// A token server at `token_url` that knows this program as `client_id`.
    pub fn new(token_url: Uri, client_id: impl Into<String>) -> Self {
        Self {
            token_url,
            device_url: None,
            client_id: client_id.into(),
            scope: None,
            encoding: GrantEncoding::Form,
            fields: Vec::new(),
        }
    }
}

impl Exchange {
    /// An exchange at `url` for the token at `/token`, with the login's token as `Authorization: Bearer`.
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            auth: AuthForm::Bearer,
            headers: HeaderMap::new(),
            access: "/token".into(),
            endpoint: None,
            expiry: Expiry::None,
        }
    }
}

impl Debug for Exchange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("url", &self.url)
            .field("auth", &self.auth)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("access", &self.access)
            .field("endpoint", &self.endpoint)
            .field("expiry", &self.expiry)
            .finish()
    }
}

impl Debug for Grant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Grant")
            .field("token_url", &self.token_url)
            .field("device_url", &self.device_url)
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .field("encoding", &self.encoding)
            .field("fields", &names)
            .finish()
    }
}
