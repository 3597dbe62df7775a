//! A token source that exchanges the tokens of another one.

mod answer;
mod flight;
mod options;
#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Display},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use self::flight::{Need, Shared};
pub use self::options::ExchangeOptions;
use super::{Credential, SourceFuture, TokenSource, clock, server::Client};
use crate::body::ReplayBody;

/// Short-lived tokens that a server gives for the long-lived one of another source, as [`ExchangeOptions`] describe.
///
/// The short-lived token is kept in memory alone. It is exchanged for a new one in the background when less than about
/// two minutes of it are left (a quarter of its lifetime if that is less), when a provider refuses it, and when the
/// source has another long-lived token. One exchange runs at a time, in a task of its own: any number of requests share
/// it, and none of them aborts it by leaving.
///
/// A long-lived token that the server answers with 401 is told to its source as refused, which may have a newer one. It,
/// and one that is answered with 403 or 404, is not sent again for five minutes, or until the source has another one;
/// requests are answered with 401 and the code `oauth_credentials_invalid`. An exchange that fails for a reason that may
/// pass is tried again after 5 s, then twice as long each time up to 5 min, and not before the `Retry-After` of the
/// answer. Whatever happens, a token serves as long as it is valid.
pub struct TokenExchange<T> {
    shared: Arc<Shared<T>>,
}

impl<T: TokenSource> TokenExchange<T> {
    /// Exchanges the tokens of `source` over `client`: any HTTP service for requests with a full URL. It must not follow
    /// redirects.
    pub fn new<C, B>(source: T, options: ExchangeOptions, client: C) -> Self
    where
        C: Service<Request<ReplayBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Display,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Display,
    {
        Self { shared: Arc::new(Shared::new(source, options, Box::new(Client(client)))) }
    }

    /// Where the long-lived tokens come from.
    pub fn source(&self) -> &T {
        &self.shared.source
    }

    /// Why the last exchange gave no token, in a sentence, if there was none since.
    pub fn problem(&self) -> Option<String> {
        self.shared.failure.load().as_ref().map(|failure| failure.error.message().to_owned())
    }
}

impl<T: TokenSource> TokenSource for TokenExchange<T> {
    fn current(&self) -> Option<Credential> {
        let long_lived = self.shared.source.current()?;
        let held = self.shared.held.load();
        let held = held.as_ref().filter(|held| held.is_for(&long_lived))?;
        let now = clock::now();
        if held.is_due(now) {
            self.shared.renew_in_background(held);
        }
        held.is_fresh(now).then(|| held.credential.clone())
    }

    fn token(&self) -> SourceFuture<Credential> {
        let shared = Arc::clone(&self.shared);
        Box::pin(shared.obtain(Need::Usable))
    }

    fn refused(&self, refused: &Credential) -> SourceFuture<Option<Credential>> {
        let (shared, need) = (Arc::clone(&self.shared), Need::Not(refused.fingerprint()));
        Box::pin(async move { shared.obtain(need).await.map(Some) })
    }
}

impl<T> Clone for TokenExchange<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: fmt::Debug> fmt::Debug for TokenExchange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.shared.held.load();
        f.debug_struct("TokenExchange")
            .field("source", &self.shared.source)
            .field("options", &self.shared.options)
            .field("credential", &held.as_ref().map(|held| &held.credential))
            .finish_non_exhaustive()
    }
}
