//! The slow path: looking at the file and refreshing, one at a time, in a task that outlives its callers.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    clock,
    disk::{self, Signature},
    document::{self, Document, Tree},
    grant::{self, Exchange},
    lock::Locks,
    options::CredentialFileOptions,
    state::{Denied, Need, State, Verdict},
};
use crate::oauth::{
    Credential, Fingerprint,
    server::Post,
    single_flight::{Flight, SingleFlight},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file caught half-written is looked at again this often, this many times.
const LOOK_AGAIN: (Duration, u32) = (Duration::from_millis(50), 4);
const LOCK_POLL: Duration = Duration::from_millis(50);
const WRITE_AGAIN: Duration = Duration::from_secs(5);

type Outcome = Result<Credential, Denied>;

pub(super) struct Shared {
    pub(super) options: CredentialFileOptions,
    client: Box<dyn Post>,
    pub(super) state: ArcSwap<State>,
    started: Instant,
    /// In milliseconds since `started`.
    next_look: AtomicU64,
    /// With how much time left a token is refreshed in the background.
    pub(super) advisory: Duration,
    flights: SingleFlight<Need, Outcome>,
}

impl Shared {
    pub(super) fn new(options: CredentialFileOptions, client: Box<dyn Post>) -> Self {
        // Gateways that share a file are not to refresh at one moment. Drawn once, it needs no generator to hand in.
        let jitter = Duration::from_millis(RandomState::new().hash_one(0) % 30_000);
        Self {
            options,
            client,
            state: ArcSwap::default(),
            started: Instant::now(),
            next_look: AtomicU64::new(0),
            advisory: Duration::from_secs(120) + jitter,
            flights: SingleFlight::default(),
        }
    }

    fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Has the file looked at before the next request.
    pub(super) fn look_soon(&self) {
        self.next_look.store(0, Ordering::Relaxed);
    }

    /// Whether the file was not looked at for a second.
    pub(super) fn look_due(&self) -> bool {
        self.elapsed_millis() >= self.next_look.load(Ordering::Relaxed)
    }

    /// What `need` asks for, from a task that others may share.
    pub(super) async fn obtain(self: Arc<Self>, need: Need) -> Outcome {
        loop {
            let flight = match self.start(need) {
                Err(started) => started,
                Ok(joined) => match self.state.load().fresh(clock::now()) {
                    // Whatever the task does, this token is good.
                    Some(document) if need == Need::Usable => return Ok(document.credential.clone()),
                    _ => joined,
                },
            };
            let started_for = flight.need;
            let outcome = flight.outcome().await;
            if started_for == need {
                // A task that ends without an outcome has panicked, or the runtime shuts down.
                return outcome.unwrap_or_else(|| {
                    let sentence = self.options.plain_sentence("could not be refreshed");
                    Err(Denied::unavailable(sentence, LOOK_EVERY))
                });
            }
        }
    }

    fn start(self: &Arc<Self>, need: Need) -> Result<Flight<Need, Outcome>, Flight<Need, Outcome>> {
        let shared = Arc::clone(self);
        self.flights.join_or_start(need, || async move { shared.run(need).await })
    }

    /// Refreshes a token that is still good, unless something is under way or speaks against it.
    pub(super) fn refresh_in_background(self: &Arc<Self>, state: &State, document: &Document) {
        if self.flights.is_idle()
            && document.refresh.is_some()
            && state.may_refresh()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            let _ = self.start(Need::Not(document.credential.fingerprint()));
        }
    }

    /// Waits until nothing is under way, and tries a last time to write what could not be written.
    pub(super) async fn settle(&self) {
        self.flights.settle().await;
        if self.state.load().unwritten.is_some() {
            self.write_again().await;
        }
    }

    fn judge(&self, need: Need) -> Verdict {
        self.state.load().judge(need, clock::now(), &self.options)
    }

    async fn run(&self, need: Need) -> Outcome {
        self.look(need).await;
        match self.judge(need) {
            Verdict::Serve(credential) => Ok(credential),
            Verdict::Deny(denied) => Err(denied),
            Verdict::Refresh(document) if need == Need::Look => Ok(document.credential.clone()),
            Verdict::Refresh(_) => self.refresh(need).await,
        }
    }

    /// Reads the file if it looks different.
    async fn look(&self, need: Need) {
        // After a refusal the news may be younger than a second.
        if need == Need::Usable && !self.look_due() {
            return;
        }
        let next = self.elapsed_millis() + LOOK_EVERY.as_millis() as u64;
        self.next_look.store(next, Ordering::Relaxed);
        let known = self.state.load().signature;
        let path = self.options.path.clone();
        if known.is_none() || blocking(move || Signature::of_file(&path)).await.ok() != known {
            self.read().await;
        }
        if self.state.load().unwritten.is_some_and(|again| again <= Instant::now()) {
            self.write_again().await;
        }
    }

    async fn read(&self) {
        // Nobody else replaces it meanwhile.
        let before = self.state.load_full();
        for again in (0..=LOOK_AGAIN.1).rev() {
            let path = self.options.path.clone();
            let read = blocking(move || disk::read(&path)).await;
            let (state, unfinished) = before.after_read(&read, &self.options);
            if !unfinished || again == 0 {
                self.tell(&before, &state, read.is_ok_and(|content| content.exposed));
                self.state.store(Arc::new(state));
                return;
            }
            tokio::time::sleep(LOOK_AGAIN.0).await;
        }
    }

    /// Logs what changed between two states of the file.
    fn tell(&self, before: &State, state: &State, exposed: bool) {
        let path = self.options.path.display();
        match &state.problem {
            Some(problem) if before.problem.as_ref() != Some(problem) => {
                let kept = if state.document.is_some() { "; its last content stays in use" } else { "" };
                tracing::warn!("{}{kept}", self.options.sentence(problem));
            }
            None if before.problem.is_some() => tracing::info!(%path, "the credential file is good again"),
            _ => {}
        }
        if exposed && state.content != before.content {
            tracing::warn!(%path, "the credential file can be read by others than its owner");
        }
    }

    fn try_lock(&self) -> impl Future<Output = Option<Locks>> + use<> {
        let options = self.options.clone();
        let now = clock::now();
        let locks = blocking(move || {
            let vendor = options.lock.as_deref().map(|path| (path, options.lock_stale));
            Ok(Locks::try_acquire(&options.path, vendor, now))
        });
        async { locks.await.ok().flatten() }
    }

    /// Both locks; `None` after longer than a live program should hold one.
    pub(super) async fn lock(&self) -> Option<Locks> {
        let deadline = Instant::now() + self.options.lock_stale + Duration::from_secs(5);
        loop {
            let locks = self.try_lock().await;
            if locks.is_some() || Instant::now() >= deadline {
                return locks;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn refresh(&self, need: Need) -> Outcome {
        let Some(locks) = self.lock().await else {
            let sentence = self.options.plain_sentence("is being refreshed by another program, which does not finish");
            tracing::warn!("{sentence}");
            return Err(Denied::unavailable(sentence, LOOK_EVERY));
        };
        let outcome = self.refresh_locked(need).await;
        give_back(locks).await;
        outcome
    }

    async fn refresh_locked(&self, need: Need) -> Outcome {
        let mut refused: Option<(Arc<Document>, String)> = None;
        loop {
            // Whoever had the lock before, or was faster without one, may have left a new token.
            self.read().await;
            let document = match self.judge(need) {
                Verdict::Serve(credential) => return Ok(credential),
                Verdict::Deny(denied) => return Err(denied),
                Verdict::Refresh(document) => document,
            };
            if let Some((tried, reason)) = &refused
                && tried.refresh == document.refresh
            {
                tracing::warn!(path = %self.options.path.display(), reason, "the refresh token is refused");
                let dead = Some(reason.as_str().into());
                self.state.store(Arc::new(State { dead, ..State::clone(&self.state.load()) }));
                continue;
            }
            let grant = self.options.usable_grant().expect("without one, the verdict is not to refresh");
            let token = document.refresh.as_deref().expect("without one, the verdict is not to refresh");
            let asked = clock::now();
            match grant::exchange(&*self.client, grant, token).await {
                Exchange::Granted(answer) => {
                    // Not all who write the file heed the locks, and the exchange took a while.
                    self.read().await;
                    let mut tree = match &self.state.load().document {
                        // Somebody logged in anew, which is not to be undone.
                        Some(current) if current.refresh != document.refresh => continue,
                        Some(current) => current.tree.clone(),
                        None => document.tree.clone(),
                    };
                    document::merge(&mut tree, &answer, &self.options, asked);
                    return self.adopt(tree).await;
                }
                Exchange::Refused(reason) => refused = Some((document, reason)),
                Exchange::Failed { reason, retry_after } => {
                    tracing::warn!(path = %self.options.path.display(), reason, "the token could not be refreshed");
                    let state = self.state.load().after_failure(&reason, retry_after);
                    self.state.store(Arc::new(state));
                }
            }
        }
    }

    /// Writes a new token to the file, and only then uses it.
    async fn adopt(&self, tree: Tree) -> Outcome {
        let written = self.write(&tree).await;
        let before = self.state.load();
        let (content, unwritten) = match &written {
            Ok(fingerprint) => (Some(*fingerprint), None),
            Err(error) => {
                tracing::error!(
                    path = %self.options.path.display(), %error,
                    "the refreshed token could not be written; the one in the credential file is dead now, and the new \
                     one is lost if this program ends before it can be written"
                );
                (before.content, Some(Instant::now() + WRITE_AGAIN))
            }
        };
        let state = State { content, unwritten, ..State::default() };
        let (state, outcome) = match Document::read(tree, &self.options) {
            Ok(document) => {
                let credential = document.credential.clone();
                let (path, token) = (self.options.path.display(), credential.fingerprint());
                tracing::info!(%path, %token, "refreshed the token");
                (State { document: Some(Arc::new(document)), ..state }, Ok(credential))
            }
            Err(problem) => {
                let denied = Denied::invalid(self.options.sentence(&problem));
                tracing::warn!("{}", denied.error);
                (State { problem: Some(problem.into()), ..state }, Err(denied))
            }
        };
        self.state.store(Arc::new(state));
        outcome
    }

    async fn write(&self, tree: &Value) -> io::Result<Fingerprint> {
        let bytes = Zeroizing::new(serde_json::to_vec_pretty(tree)?);
        let fingerprint = Fingerprint::of(&bytes);
        let path = self.options.path.clone();
        blocking(move || disk::replace(&path, &bytes)).await?;
        Ok(fingerprint)
    }

    /// Tries once more to write what could not be written, if nobody is in the way and the file is as it was.
    async fn write_again(&self) {
        let Some(locks) = self.try_lock().await else { return };
        self.read().await;
        let state = self.state.load_full();
        if let (Some(document), None, Some(_)) = (&state.document, &state.problem, state.unwritten) {
            let state = match self.write(&document.tree).await {
                Ok(fingerprint) => {
                    tracing::info!(path = %self.options.path.display(), "the refreshed token is written now");
                    State { content: Some(fingerprint), unwritten: None, signature: None, ..State::clone(&state) }
                }
                Err(_) => State { unwritten: Some(Instant::now() + WRITE_AGAIN), ..State::clone(&state) },
            };
            self.state.store(Arc::new(state));
        }
        give_back(locks).await;
    }
}

pub(super) async fn give_back(locks: Locks) {
    let release = move || {
        drop(locks);
        Ok(())
    };
    // Where there is no thread left to do it, the locks went with the closure.
    let _ = blocking(release).await;
}

/// Work on files, away from the threads that serve requests: a home folder may be on a network.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
