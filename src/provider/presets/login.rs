use pointsman_layers::oauth::{Expiry, Mode};

use super::AuthForm;

/// The file in which another program keeps its login, and what is done to have a token from it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Login {
    /// The environment variable that names the folder of the file, if it is set.
    pub folder_variable: Option<&'static str>,
    /// The usual folder; `~` is the home directory.
    pub folder: &'static str,
    /// The file; of several, the first that is there.
    pub files: &'static [&'static str],
    /// The lock file beside it.
    pub lock: Option<&'static str>,
    /// A JSON pointer to the access token.
    pub access: &'static str,
    /// A JSON pointer to the refresh token.
    pub refresh: &'static str,
    /// A JSON pointer to the base URL, if one comes with the login.
    pub endpoint: Option<&'static str>,
    /// When the access token expires, if the file says so.
    pub expiry: Option<ExpiryField>,
    /// Who renews the token.
    pub mode: Mode,
    /// How the token is renewed, if it can be.
    pub grant: Option<LoginGrant>,
    /// Where the token is exchanged for the one that requests take, if it is.
    pub exchange: Option<LoginExchange>,
    /// The hosts that the base URL may name; `*` stands for anything but a dot.
    pub allow_hosts: &'static [&'static str],
    /// What a user has to do when the login is no good.
    pub remedy: &'static str,
}

/// The token server of a [`Login`].
#[derive(Debug)]
#[non_exhaustive]
pub struct LoginGrant {
    /// Where tokens are renewed.
    pub token_url: &'static str,
    /// Where a login on another device begins.
    pub device_url: Option<&'static str>,
    /// What the token server knows the program as.
    pub client_id: &'static str,
    /// What a new login asks for.
    pub scope: Option<&'static str>,
}

/// A request that exchanges the token of a [`Login`] for a short-lived one.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoginExchange {
    /// Where to.
    pub url: &'static str,
    /// How the login's token travels.
    pub auth: AuthForm,
    /// A JSON pointer to the short-lived token in the answer.
    pub access: &'static str,
    /// A JSON pointer to the base URL that it is for, if the answer names one.
    pub endpoint: Option<&'static str>,
    /// When it expires, if the answer says so.
    pub expiry: Option<ExpiryField>,
}

/// Where a time is written at which a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiryField {
    /// A JSON pointer.
    pub field: &'static str,
    /// How it is written.
    pub unit: ExpiryUnit,
}

/// How a credential file writes the time at which a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiryUnit {
    /// Milliseconds since 1970.
    Millis,
    /// Seconds since 1970.
    Seconds,
    /// A text as of RFC 3339.
    Rfc3339,
}

impl ExpiryUnit {
    /// A time in this unit, at this JSON pointer.
    pub fn at(self, pointer: impl Into<String>) -> Expiry {
        let pointer = pointer.into();
        match self {
            Self::Millis => Expiry::Millis(pointer),
            Self::Seconds => Expiry::Seconds(pointer),
            Self::Rfc3339 => Expiry::Rfc3339(pointer),
        }
    }
}

/// What enables a backend that uses another program's login.
#[derive(Debug)]
#[non_exhaustive]
pub enum GateRule {
    /// A flag.
    Flag(GateFlag),
    /// `accept_terms: true` of the backend.
    Terms,
}

/// The flag without which a backend stays disabled.
#[derive(Debug)]
#[non_exhaustive]
pub struct GateFlag {
    /// On the command line, without the dashes.
    pub flag: &'static str,
    /// In the environment.
    pub variable: &'static str,
    /// Under `extra` of the backend.
    pub key: &'static str,
}

/// A rate-limit retry that is on unless it is turned off, and the names of its settings under `extra` of the backend.
#[derive(Debug)]
#[non_exhaustive]
pub struct HoldKeys {
    /// What the log calls the provider.
    pub label: &'static str,
    /// Whether it is on.
    pub enabled: &'static str,
    /// The upper bound of any wait, in seconds.
    pub max_wait: &'static str,
    /// The least wait without a hint, in seconds.
    pub random_min: &'static str,
    /// The longest wait without a hint, in seconds.
    pub random_max: &'static str,
}
