//! The logins of a configuration: finding them, making a new one, and the files they are in.

use std::{error::Error, fmt};

use pointsman_layers::oauth::{CredentialFile, DeviceLogin, DeviceLoginError, Mode, PendingLogin};
use tower::ServiceExt as _;

use crate::{
    config::{Backend, Config, OAuth},
    gateway::credentials::{credential_file, innermost},
    near::near,
    provider::Client,
};

/// The login of one backend. Whether its backend may be used (see [`Gate`](crate::config::Gate)) is another matter.
#[derive(Clone, Debug)]
pub struct Login<'c> {
    backend: &'c str,
    oauth: &'c OAuth,
    file: CredentialFile,
    client: Client,
}

impl<'c> Login<'c> {
    /// The login of the backend of this name.
    ///
    /// # Errors
    ///
    /// If there is no such backend, or it has no login, or one that cannot be used.
    pub fn find(config: &'c Config, name: &str) -> Result<Self, LoginError> {
        let Some(backend) = config.backend(name) else {
            let names = || config.backends.iter().map(|backend| backend.name.as_str());
            let with_login = names().filter(|name| config.backend(name).is_some_and(|known| known.oauth.is_some()));
            let near = near(name, names()).into_iter().map(str::to_owned).collect();
            return Err(LoginError::Unknown {
                name: name.to_owned(),
                near,
                with_login: with_login.map(str::to_owned).collect(),
            });
        };
        Self::of(backend)?.ok_or_else(|| LoginError::None { backend: backend.name.clone() })
    }

    /// The logins of all backends that have one.
    ///
    /// # Errors
    ///
    /// If one of them cannot be used.
    pub fn all(config: &'c Config) -> Result<Vec<Self>, LoginError> {
        config.backends.iter().filter_map(|backend| Self::of(backend).transpose()).collect()
    }

    fn of(backend: &'c Backend) -> Result<Option<Self>, LoginError> {
        let Some(oauth) = &backend.oauth else { return Ok(None) };
        let client = Client::new(backend.timeouts.connect);
        let file = credential_file(oauth, client.clone())
            .map_err(|reason| LoginError::Unusable { backend: backend.name.clone(), reason })?;
        Ok(Some(Self { backend: &backend.name, oauth, file, client }))
    }

    /// The name of the backend.
    pub fn backend(&self) -> &'c str {
        self.backend
    }

    /// The login as it is configured.
    pub fn config(&self) -> &'c OAuth {
        self.oauth
    }

    /// The file that it is in.
    pub fn file(&self) -> &CredentialFile {
        &self.file
    }

    /// Whether the gateway renews the token when the file has the means.
    pub fn is_renewed_here(&self) -> bool {
        self.oauth.grant.is_some() && self.oauth.mode != Mode::ReadOnly
    }

    /// Begins a new login. What comes of it is for [`CredentialFile::store`].
    ///
    /// # Errors
    ///
    /// If the configuration does not say how, or the login server gives no code.
    pub async fn start(&self) -> Result<PendingLogin, LoginError> {
        let unusable = |reason: String| LoginError::Unusable { backend: self.backend.to_owned(), reason };
        let grant = self.oauth.grant.as_ref();
        let Some((grant, device_url)) = grant.and_then(|grant| Some((grant, grant.device_url.clone()?))) else {
            return Err(LoginError::Elsewhere { backend: self.backend.to_owned(), remedy: self.oauth.remedy.clone() });
        };
        let mut login = DeviceLogin::new(device_url, grant.token_url.clone(), &grant.client_id)
            .map_err(|error| unusable(error.to_string()))?;
        if let Some(scope) = &grant.scope {
            login = login.scope(scope);
        }
        for (name, value) in &grant.fields {
            login = login.field(name, value);
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| unusable(format!("the system has no randomness to give: {error}")))?;
        login.start(self.client.clone().map_err(innermost), random).await.map_err(LoginError::Server)
    }
}

/// Why there is no login.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginError {
    /// No backend has this name.
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that it could be a slip of.
        near: Vec<String>,
        /// The names of the backends with a login.
        with_login: Vec<String>,
    },
    /// The backend has no login.
    None {
        /// Its name.
        backend: String,
    },
    /// The login cannot be used as it is configured.
    Unusable {
        /// The name of its backend.
        backend: String,
        /// Why not.
        reason: String,
    },
    /// Only the vendor's own program can make a login.
    Elsewhere {
        /// The name of its backend.
        backend: String,
        /// What a person has to do.
        remedy: String,
    },
    /// The login server did not give a code.
    Server(DeviceLoginError),
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Unknown { name, near, with_login } => {
                write!(f, "there is no backend `{name}`")?;
                match (near.as_slice(), with_login.as_slice()) {
                    ([], []) => f.write_str(", and no backend of the configuration has a login"),
                    ([], with_login) => write!(f, "; these have a login: {}", quoted(with_login)),
                    (near, _) => write!(f, "; did you mean {}?", quoted(near)),
                }
            }
            Self::None { backend } => {
                write!(f, "the backend `{backend}` has no login: its configuration has no `oauth`")
            }
            Self::Unusable { backend, reason } => write!(f, "the login of `{backend}` cannot be used: {reason}"),
            Self::Elsewhere { backend, remedy } => write!(
                f,
                "a login of `{backend}` cannot be made here, for its configuration names no address to begin at; {remedy}"
            ),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl Error for LoginError {}
