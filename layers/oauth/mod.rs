//! Credentials: a token on each request, and a new one when it is refused.
//!
//! [`OAuthLayer`] takes a token from a [`TokenSource`] and puts it on the request, as a header marked sensitive that
//! replaces the client's. If the provider refuses the token (401, or 403 with `error="invalid_token"` in
//! `WWW-Authenticate`, but never `insufficient_scope`), the layer sends the request once more, with the token that is
//! current by then or with a refreshed one. A second refusal goes up. When there is no token to be had, the layer answers
//! by itself: 401 with the code `oauth_credentials_invalid` if it takes a person to mend that, 503 with the code
//! `oauth_refresh_failed` and a `Retry-After` if not. A credential that names its own base URL sets
//! [`Endpoint`](crate::ext::Endpoint) on the request.
//!
//! [`CredentialFile`] is the source for files that a vendor's login wrote, [`StaticToken`] that for keys, and
//! [`TokenExchange`] that for short-lived tokens which a server gives for those of another source. [`DeviceLogin`] makes a
//! new login, to be [stored](CredentialFile::store) in a credential file.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{HeaderName, HeaderValue, Request, Response, header};
//! use pointsman_layers::{
//!     body::ReplayBody,
//!     oauth::{CredentialFile, CredentialFileOptions, Expiry, OAuthLayer, RefreshGrant},
//! };
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("oauth_creds.json");
//! std::fs::write(&path, r#"{"access_token": "old", "refresh_token": "r1", "expiry_date": 0, "mine": true}"#)?;
//!
//! // Stands for the client that reaches the token endpoint, and for the provider.
//! let token_endpoint = service_fn(async |_: Request<ReplayBody>| {
//!     let answer = r#"{"access_token": "new", "refresh_token": "r2", "expires_in": 3600}"#;
//!     Ok::<_, Infallible>(Response::new(ReplayBody::from(answer)))
//! });
//! let provider = service_fn(async |request: Request<ReplayBody>| {
//!     assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer new");
//!     assert_eq!(request.headers()["x-login"], "cli");
//!     Ok::<_, Infallible>(Response::new(request.into_body()))
//! });
//!
//! let options = CredentialFileOptions::new(&path)
//!     .expiry(Expiry::Millis("/expiry_date".into()))
//!     .grant(RefreshGrant::new("https://login.example/token".parse()?)?.client_id("me"))
//!     .remedy("run `login`");
//! let layer = OAuthLayer::new(CredentialFile::new(options, token_endpoint))
//!     .header(HeaderName::from_static("x-login"), HeaderValue::from_static("cli"));
//!
//! let response = layer.layer(provider).oneshot(Request::new("hello".into())).await?;
//! assert_eq!(response.status(), 200);
//!
//! let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
//! assert_eq!((&file["access_token"], &file["refresh_token"], &file["mine"]), (&"new".into(), &"r2".into(), &true.into()));
//! # Ok(())
//! # }
//! ```
//!
//! # Placement
//!
//! Next to the provider, inside whatever logs, retries or routes, so that nothing above sees the token. The service below
//! must leave the header alone, and one that builds the URL must read [`Endpoint`](crate::ext::Endpoint). A header of
//! the answer that holds the token is removed.
//!
//! # Cost
//!
//! While a token is at hand: a copy of the request's head, for a second sending, and no waiting or locking. The body is
//! never copied. An answer with 401 is held while its token is renewed.
//!
//! # Cancellation
//!
//! Dropping the future drops the request under way. A refresh that it waited for goes on, for others and because a
//! refresh token may be good only once.

mod clock;
mod credential;
mod device;
mod exchange;
mod file;
mod future;
mod headers;
mod layer;
mod server;
mod service;
mod single_flight;
mod source;
#[cfg(test)]
mod tests;

pub use self::{
    credential::{Credential, CredentialError, Fingerprint},
    device::{DeviceLogin, DeviceLoginError, PendingLogin},
    exchange::{ExchangeOptions, TokenExchange},
    file::{
        CredentialFile, CredentialFileOptions, CredentialStatus, Expiry, GrantEncoding, Mode, RefreshGrant, Removed,
        Tokens,
    },
    future::OAuthFuture,
    layer::OAuthLayer,
    server::InsecureUrl,
    service::OAuth,
    source::{SourceFuture, StaticToken, TokenSource},
};
