//! The slow path: asking the source and exchanging, one at a time, in a task that outlives its callers.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::{
    answer::{self, Exchanged},
    options::ExchangeOptions,
};
use crate::oauth::{
    Credential, CredentialError, Fingerprint, TokenSource, clock,
    server::Post,
    single_flight::{Flight, SingleFlight},
};

/// A token with less time left than this counts as expired: a request takes a while to get where it is judged.
const MARGIN: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// A `Retry-After` is heard up to here: one that is wrong must not hold a login back for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

type Outcome = Result<Credential, CredentialError>;

pub(super) struct Shared<T> {
    pub(super) source: T,
    pub(super) options: ExchangeOptions,
    client: Box<dyn Post>,
    pub(super) held: ArcSwapOption<Held>,
    pub(super) failure: ArcSwapOption<Failure>,
    /// With how much time left a token is renewed in the background.
    advisory: Duration,
    flights: SingleFlight<Need, Outcome>,
}

/// A token that was got.
pub(super) struct Held {
    pub(super) credential: Credential,
    /// What it was got for.
    of: Fingerprint,
    /// `None` if it is not known to expire.
    times: Option<Times>,
}

struct Times {
    renew: SystemTime,
    unfit: SystemTime,
    expires: SystemTime,
}

impl Held {
    /// Whether it was got for this long-lived token.
    pub(super) fn is_for(&self, long_lived: &Credential) -> bool {
        self.of == long_lived.fingerprint()
    }

    /// Whether it is good for a while.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        self.times.as_ref().is_none_or(|times| now < times.unfit)
    }

    /// Whether it is good for this moment.
    fn is_valid(&self, now: SystemTime) -> bool {
        self.times.as_ref().is_none_or(|times| now < times.expires)
    }

    /// Whether it is time to see to the next one.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.times.as_ref().is_some_and(|times| now >= times.renew)
    }
}

/// Why there is no token for a long-lived one, and when to try again.
pub(super) struct Failure {
    pub(super) error: CredentialError,
    of: Fingerprint,
    until: Instant,
    failures: u32,
}

/// What someone wants of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A token that has not expired.
    Usable,
    /// A token other than this one, which may still be good.
    Renewed(Fingerprint),
    /// A token other than this one.
    Not(Fingerprint),
}

impl Need {
    fn is_met_by(self, held: &Held, now: SystemTime) -> bool {
        match self {
            Self::Usable => held.is_fresh(now),
            Self::Renewed(old) | Self::Not(old) => held.credential.fingerprint() != old && held.is_fresh(now),
        }
    }

    /// Whether a token will do that is not the best.
    fn is_met_in_want_by(self, held: &Held, now: SystemTime) -> bool {
        !matches!(self, Self::Not(refused) if refused == held.credential.fingerprint()) && held.is_valid(now)
    }
}

impl<T: TokenSource> Shared<T> {
    pub(super) fn new(source: T, options: ExchangeOptions, client: Box<dyn Post>) -> Self {
        // Gateways that share a login are not to ask at one moment. Drawn once, it needs no generator to hand in.
        let jitter = Duration::from_millis(RandomState::new().hash_one(0) % 30_000);
        Self {
            source,
            options,
            client,
            held: ArcSwapOption::empty(),
            failure: ArcSwapOption::empty(),
            advisory: Duration::from_secs(120) + jitter,
            flights: SingleFlight::default(),
        }
    }

    /// What `need` asks for, from a task that others may share.
    pub(super) async fn obtain(self: Arc<Self>, need: Need) -> Outcome {
        loop {
            let flight = match self.start(need) {
                Err(started) => started,
                // Whatever the task does, this token is good.
                Ok(_)
                    if need == Need::Usable
                        && let Some(credential) = self.fresh() =>
                {
                    return Ok(credential);
                }
                Ok(joined) => joined,
            };
            let started_for = flight.need;
            let outcome = flight.outcome().await;
            if started_for == need {
                // A task that ends without an outcome has panicked, or the runtime shuts down.
                return outcome.unwrap_or_else(|| {
                    let sentence = self.options.sentence("did not come to an end");
                    Err(CredentialError::unavailable(sentence, Duration::from_secs(1)))
                });
            }
        }
    }

    fn start(self: &Arc<Self>, need: Need) -> Result<Flight<Need, Outcome>, Flight<Need, Outcome>> {
        let shared = Arc::clone(self);
        self.flights.join_or_start(need, || async move { shared.run(need).await })
    }

    fn fresh(&self) -> Option<Credential> {
        let held = self.held.load();
        held.as_ref().filter(|held| held.is_fresh(clock::now())).map(|held| held.credential.clone())
    }

    /// Renews a token that is still good, unless something is under way or speaks against it.
    pub(super) fn renew_in_background(self: &Arc<Self>, held: &Held) {
        let may_ask = self.failure.load().as_ref().is_none_or(|failure| failure.until <= Instant::now());
        if may_ask && self.flights.is_idle() && tokio::runtime::Handle::try_current().is_ok() {
            let _ = self.start(Need::Renewed(held.credential.fingerprint()));
        }
    }

    async fn run(&self, need: Need) -> Outcome {
        let mut long_lived = self.source.token().await?;
        let mut refused = false;
        loop {
            let held = self.held.load_full().filter(|held| held.is_for(&long_lived));
            if let Some(held) = held.as_ref().filter(|held| need.is_met_by(held, clock::now())) {
                return Ok(held.credential.clone());
            }
            let in_want = held.filter(|held| need.is_met_in_want_by(held, clock::now()));
            let or_held = |error| in_want.map(|held| held.credential.clone()).ok_or(error);
            let failure = self.failure.load_full().filter(|failure| failure.of == long_lived.fingerprint());
            if let Some(failure) = failure.as_ref().filter(|failure| failure.until > Instant::now()) {
                return or_held(failure.error_now());
            }
            let asked = clock::now();
            let failures = failure.map_or(0, |failure| failure.failures).saturating_add(1);
            let (error, wait) = match answer::exchange(&*self.client, &self.options, long_lived.token(), asked).await {
                Exchanged::Granted { credential, expires } => return Ok(self.adopt(&long_lived, credential, expires)),
                Exchanged::Refused(what) => {
                    let other = if refused { Ok(None) } else { self.source.refused(&long_lived).await };
                    match other {
                        Ok(Some(other)) => {
                            (refused, long_lived) = (true, other);
                            continue;
                        }
                        Ok(None) => (CredentialError::invalid(self.options.sentence_with_remedy(what)), MAX_BACKOFF),
                        Err(error) => (error, MAX_BACKOFF),
                    }
                }
                Exchanged::Denied(what) => {
                    (CredentialError::invalid(self.options.sentence_with_remedy(what)), MAX_BACKOFF)
                }
                Exchanged::Failed { reason, retry_after } => {
                    let wait = FIRST_BACKOFF.saturating_mul(1 << (failures - 1).min(10)).min(MAX_BACKOFF);
                    let wait = wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
                    let sentence = self.options.sentence(format_args!("gave no token ({reason})"));
                    (CredentialError::unavailable(sentence, wait), wait)
                }
            };
            tracing::warn!("{error}");
            let (of, until) = (long_lived.fingerprint(), Instant::now() + wait);
            self.failure.store(Some(Arc::new(Failure { error: error.clone(), of, until, failures })));
            return or_held(error);
        }
    }

    fn adopt(&self, long_lived: &Credential, credential: Credential, expires: Option<SystemTime>) -> Credential {
        let now = clock::now();
        let times = expires.map(|expires| {
            // A token that lives for less than that is not to be renewed with every request.
            let quarter = expires.duration_since(now).unwrap_or_default() / 4;
            Times { renew: expires - self.advisory.min(quarter), unfit: expires - MARGIN.min(quarter), expires }
        });
        tracing::info!(host = self.options.url.host(), token = %credential.fingerprint(), "exchanged the token");
        let held = Held { credential: credential.clone(), of: long_lived.fingerprint(), times };
        self.held.store(Some(Arc::new(held)));
        self.failure.store(None);
        credential
    }
}

impl Failure {
    /// The error, with the time that is left of the wait.
    fn error_now(&self) -> CredentialError {
        self.error.with_wait(self.until - Instant::now())
    }
}
