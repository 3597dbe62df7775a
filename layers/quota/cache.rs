use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use http::HeaderName;

use super::{QuotaHandle, QuotaOptions, QuotaRead, QuotaSource, entry::Entry, headers::Watch};

/// The quotas of all backends, by name. A clone shares them.
///
/// ```
/// use pointsman_layers::quota::{Freshness, QuotaCache, QuotaError};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let quotas = QuotaCache::default();
/// quotas.insert("OpenaiAccount", async || Ok::<_, QuotaError>(json!({"balance": 3})));
/// assert_eq!(quotas.get("OpenaiAccount").await.value(), Some(&json!({"balance": 3})));
///
/// // For example after a 429: the next `get` fetches.
/// quotas.invalidate("OpenaiAccount");
/// let shown = quotas.handle("OpenaiAccount").unwrap().peek();
/// assert_eq!(shown.freshness(), Freshness::Stale);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct QuotaCache {
    defaults: QuotaOptions,
    /// Copied when a source is added, so that a look-up takes no lock.
    entries: Arc<ArcSwap<HashMap<Box<str>, QuotaHandle>>>,
}

impl QuotaCache {
    /// An empty cache with these options for every source that has none of its own.
    pub fn new(defaults: QuotaOptions) -> Self {
        Self { defaults, entries: Arc::default() }
    }

    /// Adds the source of `name`'s quota, or replaces it and forgets what the old one said.
    pub fn insert(&self, name: &str, source: impl QuotaSource) -> QuotaHandle {
        self.insert_with(name, source, self.defaults)
    }

    /// As [`insert`](Self::insert), with options for this source.
    pub fn insert_with(&self, name: &str, source: impl QuotaSource, options: QuotaOptions) -> QuotaHandle {
        let source = Arc::new(Entry::new(name, Box::new(source), options));
        self.put(name, |handle| handle.with_source(Arc::clone(&source)))
    }

    /// Watches these headers of the answers of `name`, beside its source if it has one: they are the quota's `headers`.
    /// See [`QuotaHandle::headers`]. Nothing is ever fetched for them.
    ///
    /// What they said is good until the reset that goes with it: `x-ratelimit-reset-requests` goes with
    /// `x-ratelimit-remaining-requests`. That is an hour at the most, and a minute where nothing says when it is.
    ///
    /// ```
    /// use http::{HeaderName, Request, Response};
    /// use pointsman_layers::quota::{QuotaCache, QuotaLayer};
    /// use serde_json::json;
    /// use tower::{Layer as _, ServiceExt as _, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let left = HeaderName::from_static("x-ratelimit-remaining-requests");
    /// let handle = QuotaCache::default().watch("groq", [left.clone()]);
    /// let provider = service_fn(async |_: Request<()>| {
    ///     Response::builder().header("x-ratelimit-remaining-requests", 14_370).body(())
    /// });
    /// QuotaLayer::new(handle.clone()).layer(provider).oneshot(Request::new(())).await.unwrap();
    /// assert_eq!(handle.headers().unwrap().value(), Some(&json!({"x-ratelimit-remaining-requests": 14_370})));
    /// # }
    /// ```
    pub fn watch(&self, name: &str, headers: impl IntoIterator<Item = HeaderName>) -> QuotaHandle {
        let watch = Arc::new(Watch::new(headers));
        self.put(name, |handle| handle.with_watch(Arc::clone(&watch)))
    }

    /// Takes the quota of `name` out, and what is known of it. Handles that are held elsewhere go on working.
    pub fn remove(&self, name: &str) {
        self.update(|entries| {
            entries.remove(name);
        });
    }

    /// The quota of `name`, fetched if need be; unknown if it has no source. See [`QuotaHandle::read`].
    pub fn get(&self, name: &str) -> QuotaRead {
        match self.handle(name) {
            Some(handle) => handle.read(),
            None => QuotaRead::no_source(),
        }
    }

    /// Reads the quota of `name`; `None` if it has no source, and no headers are watched.
    pub fn handle(&self, name: &str) -> Option<QuotaHandle> {
        self.entries.load().get(name).cloned()
    }

    /// Empties the entry of `name`: the next read fetches. See [`QuotaHandle::invalidate`].
    pub fn invalidate(&self, name: &str) {
        if let Some(handle) = self.handle(name) {
            handle.invalidate();
        }
    }

    /// Forgets all answers, those kept to be shown included. The sources stay.
    pub fn clear(&self) {
        for handle in self.entries.load().values() {
            handle.clear();
        }
    }

    /// How long an answer is fresh, unless its source has options of its own.
    pub fn ttl(&self) -> Duration {
        self.defaults.ttl
    }

    /// Replaces the handle of `name`, which may be a new one.
    fn put(&self, name: &str, with: impl Fn(QuotaHandle) -> QuotaHandle) -> QuotaHandle {
        self.update(|entries| {
            let handle = with(entries.remove(name).unwrap_or_default());
            entries.insert(name.into(), handle);
        });
        self.handle(name).unwrap_or_else(|| with(QuotaHandle::default()))
    }

    fn update(&self, change: impl Fn(&mut HashMap<Box<str>, QuotaHandle>)) {
        self.entries.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            change(&mut entries);
            entries
        });
    }
}
