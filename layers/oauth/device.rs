//! A login that is approved on another device.

#[cfg(test)]
mod tests;

use std::{fmt, fmt::Display, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tower_service::Service;

use super::{
    InsecureUrl, Tokens, clock,
    server::{self, Client, Post},
};
use crate::body::ReplayBody;

const TIMEOUT: Duration = Duration::from_secs(15);
/// Between two questions, where the server does not say: RFC 8628, section 3.2.
const INTERVAL: Duration = Duration::from_secs(5);
/// What `slow_down` adds to the interval: RFC 8628, section 3.5.
const SLOWER: Duration = Duration::from_secs(5);
/// A server that asks for no pause at all gets one all the same.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// Up to here the pause doubles while the server cannot be reached.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The life of a code where the server does not say, though it must.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Longer than anybody waits, and far from what an `Instant` cannot hold.
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The device authorization grant (RFC 8628) with PKCE (RFC 7636, method S256): this program shows a URL and a code, and
/// asks the token server until somebody has approved the code in a browser anywhere.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{Request, Response};
/// use pointsman_layers::{
///     body::ReplayBody,
///     oauth::{CredentialFile, CredentialFileOptions, DeviceLogin},
/// };
/// use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Stands for the client that reaches the two endpoints.
/// let client = service_fn(async |request: Request<ReplayBody>| {
///     let answer = match request.uri().path() {
///         "/device" => r#"{"device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": "https://login.example/go",
///                          "expires_in": 600}"#,
///         _ => r#"{"access_token": "new", "refresh_token": "r1", "expires_in": 3600}"#,
///     };
///     Ok::<_, Infallible>(Response::new(ReplayBody::from(answer)))
/// });
/// // From the operating system, in earnest.
/// let random = [7; 32];
///
/// let login = DeviceLogin::new("https://login.example/device".parse()?, "https://login.example/token".parse()?, "me")?;
/// let pending = login.scope("openid").start(client.clone(), random).await?;
/// println!("open {} and enter {}", pending.verification_uri(), pending.user_code());
/// let tokens = pending.finish().await?;
///
/// let folder = tempfile::tempdir()?;
/// let file = CredentialFile::new(CredentialFileOptions::new(folder.path().join("login.json")), client);
/// assert_eq!(file.store(&tokens).await?.fingerprint, Some(tokens.fingerprint()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeviceLogin {
    device_url: Uri,
    token_url: Uri,
    client_id: String,
    scope: Option<String>,
    fields: Vec<(String, String)>,
}

impl DeviceLogin {
    /// A login of the program that the server knows as `client_id`.
    ///
    /// # Errors
    ///
    /// If one of the URLs is not `https`; plain `http` is for loopback hosts only.
    pub fn new(device_url: Uri, token_url: Uri, client_id: impl Into<String>) -> Result<Self, InsecureUrl> {
        server::require_secure(&device_url)?;
        server::require_secure(&token_url)?;
        Ok(Self { device_url, token_url, client_id: client_id.into(), scope: None, fields: Vec::new() })
    }

    /// What to ask for.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// A further field to send to the token endpoint. One that the grant has itself goes before.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Asks for a code, over any HTTP service for requests with a full URL. It must not follow redirects.
    ///
    /// The code verifier is made of `random`, which must come from a source that nobody can foretell, and be used once.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached within 15 s, refuses, or answers something else.
    pub async fn start<C, B>(self, client: C, random: [u8; 32]) -> Result<PendingLogin, DeviceLoginError>
    where
        C: Service<Request<ReplayBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Display,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Display,
    {
        let client = Box::new(Client(client));
        let verifier = BASE64_URL_SAFE_NO_PAD.encode(random);
        let challenge = challenge(&verifier);
        let mut fields = vec![
            ("client_id", self.client_id.as_str()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        fields.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let request = server::form(&self.device_url, fields);
        let device_url = self.device_url.clone();
        let failed = |reason| DeviceLoginError::failed(&device_url, reason);
        let response = server::exchange(&*client, request, TIMEOUT).await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(failed(server::refusal(&response)));
        }
        let answer = server::object(&response).ok_or_else(|| failed("its answer is not a JSON object".into()))?;
        PendingLogin::read(&answer, self, client, verifier)
            .map_err(|name| failed(format!("its answer has no usable `{name}`")))
    }
}

/// Shows the names of the fields only: a value may be a client secret.
impl fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLogin")
            .field("device_url", &self.device_url)
            .field("token_url", &self.token_url)
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .field("fields", &self.fields.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

/// A [`DeviceLogin`] that waits to be approved.
pub struct PendingLogin {
    client: Box<dyn Post>,
    login: DeviceLogin,
    device_code: String,
    verifier: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    interval: Duration,
    expires: Instant,
}

/// What the token server says to one question.
enum Word {
    Granted(Map<String, Value>),
    Pending,
    SlowDown {
        retry_after: Option<Duration>,
    },
    /// It may go better later.
    Trouble {
        reason: String,
        retry_after: Option<Duration>,
    },
}

impl PendingLogin {
    /// Reads the answer of RFC 8628, section 3.2; the error is the name of the member that is missing.
    fn read(
        answer: &Map<String, Value>,
        login: DeviceLogin,
        client: Box<dyn Post>,
        verifier: String,
    ) -> Result<Self, &'static str> {
        let device_code = server::text(answer, "device_code").ok_or("device_code")?.to_owned();
        // What is shown on a terminal must not command it.
        let user_code = server::text(answer, "user_code").filter(|code| !code.contains(char::is_control));
        let user_code = user_code.ok_or("user_code")?.to_owned();
        // The other name is that of servers older than the standard.
        let uri = web_url(answer, "verification_uri").or_else(|| web_url(answer, "verification_url"));
        let lifetime = server::seconds(answer, "expires_in").unwrap_or(LIFETIME).min(MAX_TIME);
        Ok(Self {
            client,
            login,
            device_code,
            verifier,
            user_code,
            verification_uri_complete: web_url(answer, "verification_uri_complete"),
            verification_uri: uri.ok_or("verification_uri")?,
            interval: server::seconds(answer, "interval").unwrap_or(INTERVAL).clamp(MIN_INTERVAL, MAX_TIME),
            expires: Instant::now() + lifetime,
        })
    }

    /// The code to enter, or to compare with the one that the browser shows.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// The URL to open.
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// The URL with the code in it, if the server has one.
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.verification_uri_complete.as_deref()
    }

    /// How long the code is still good for.
    pub fn time_left(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }

    /// Asks until the login is approved.
    ///
    /// A server that cannot be reached, or answers 5xx or what is no JSON, is asked again, with pauses that double up to
    /// 60 s. Dropping the future ends the asking.
    ///
    /// # Errors
    ///
    /// If the login is denied, if the code expires first, or if the server refuses to be asked.
    pub async fn finish(mut self) -> Result<Tokens, DeviceLoginError> {
        let mut troubles = 0;
        let mut wait = self.interval;
        loop {
            if self.time_left() <= wait {
                return Err(DeviceLoginError::Expired);
            }
            tokio::time::sleep(wait).await;
            let asked = clock::now();
            let word = self.ask().await?;
            troubles = if matches!(word, Word::Trouble { .. }) { troubles + 1 } else { 0 };
            wait = match word {
                Word::Granted(answer) => {
                    return Tokens::asked_at(answer, asked)
                        .ok_or_else(|| DeviceLoginError::failed(&self.login.token_url, "no access token".into()));
                }
                Word::Pending => self.interval,
                Word::SlowDown { retry_after } => {
                    self.interval = (self.interval + SLOWER).min(MAX_TIME);
                    self.interval.max(retry_after.unwrap_or_default())
                }
                Word::Trouble { reason, retry_after } => {
                    tracing::warn!(reason, "the login server did not answer as it should; it is asked again");
                    let doubled = self.interval.saturating_mul(1 << troubles.min(10));
                    doubled.min(MAX_BACKOFF).max(self.interval).max(retry_after.unwrap_or_default())
                }
            };
        }
    }

    async fn ask(&self) -> Result<Word, DeviceLoginError> {
        let own = [
            ("grant_type", DEVICE_CODE),
            ("device_code", &self.device_code),
            ("client_id", &self.login.client_id),
            ("code_verifier", &self.verifier),
        ];
        let given = self.login.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let given = given.filter(|(name, _)| own.iter().all(|(own, _)| own != name));
        let request = server::form(&self.login.token_url, own.into_iter().chain(given));
        match server::exchange(&*self.client, request, TIMEOUT).await {
            Ok(response) => judge(&response, &self.login.token_url),
            Err(reason) => Ok(Word::Trouble { reason, retry_after: None }),
        }
    }
}

/// What is shown of a code verifier before it is sent itself: RFC 7636, section 4.2.
fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Reads the answer of RFC 8628, section 3.5. The error code goes before the status: not every server sends 400 with it.
fn judge(response: &Response<Bytes>, url: &Uri) -> Result<Word, DeviceLoginError> {
    let status = response.status();
    let retry_after = server::retry_after(response.headers());
    let answer = server::object(response).unwrap_or_default();
    match server::text(&answer, "error") {
        Some("access_denied") => return Err(DeviceLoginError::Denied),
        Some("expired_token") => return Err(DeviceLoginError::Expired),
        Some("slow_down") => return Ok(Word::SlowDown { retry_after }),
        Some("authorization_pending") if status != StatusCode::TOO_MANY_REQUESTS => return Ok(Word::Pending),
        _ => {}
    }
    if status.is_success() && server::text(&answer, "access_token").is_some() {
        Ok(Word::Granted(answer))
    } else if status == StatusCode::TOO_MANY_REQUESTS {
        Ok(Word::SlowDown { retry_after })
    } else if status.is_success() {
        let reason = format!("its answer, with status {}, has no access token", status.as_u16());
        Ok(Word::Trouble { reason, retry_after })
    } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        Ok(Word::Trouble { reason: format!("status {}", status.as_u16()), retry_after })
    } else {
        Err(DeviceLoginError::failed(url, server::refusal(response)))
    }
}

/// A URL that a browser opens; one that parses has no control characters.
fn web_url(answer: &Map<String, Value>, name: &str) -> Option<String> {
    let text = server::text(answer, name)?;
    let url: Uri = text.parse().ok()?;
    matches!(url.scheme_str(), Some("https" | "http")).then(|| text.to_owned())
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin")
            .field("login", &self.login)
            .field("verification_uri", &self.verification_uri)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Why a [`DeviceLogin`] gave no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceLoginError {
    /// Somebody said no.
    Denied,
    /// Nobody said anything in time.
    Expired,
    /// The server cannot be reached, refuses, or answers something else.
    Failed {
        /// The server's host.
        host: String,
        /// What is wrong; it quotes no secret.
        reason: String,
    },
}

impl DeviceLoginError {
    fn failed(url: &Uri, reason: String) -> Self {
        Self::Failed { host: url.host().unwrap_or_default().to_owned(), reason }
    }
}

impl Display for DeviceLoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("the login was denied"),
            Self::Expired => f.write_str("the code expired before the login was approved"),
            Self::Failed { host, reason } => write!(f, "the login at {host} failed: {reason}"),
        }
    }
}

impl std::error::Error for DeviceLoginError {}
