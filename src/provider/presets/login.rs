use pointsman_layers::oauth::{Expiry, Mode};

/// The file in which another program keeps its login, and how that is renewed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Login {
    /// The environment variable that names the folder of the file, if it is set.
    pub folder_variable: Option<&'static str>,
    /// The usual folder; `~` is the home directory.
    pub folder: &'static str,
    /// The file.
    pub file: &'static str,
    /// The lock file beside it.
    pub lock: Option<&'static str>,
    /// A JSON pointer to the access token.
    pub access: &'static str,
    /// A JSON pointer to the refresh token.
    pub refresh: &'static str,
    /// A JSON pointer to the base URL, if one comes with the login.
    pub endpoint: Option<&'static str>,
    /// A JSON pointer to the time at which the access token expires.
    pub expiry: &'static str,
    /// How that time is written.
    pub expiry_unit: ExpiryUnit,
    /// Who renews the token.
    pub mode: Mode,
    /// Where tokens are renewed.
    pub token_url: &'static str,
    /// Where a login on another device begins.
    pub device_url: Option<&'static str>,
    /// What the token server knows the program as.
    pub client_id: &'static str,
    /// What a new login asks for.
    pub scope: Option<&'static str>,
    /// The hosts that the base URL may name; `*` stands for anything but a dot.
    pub allow_hosts: &'static [&'static str],
    /// What a user has to do when the login is no good.
    pub remedy: &'static str,
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
