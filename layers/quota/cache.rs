use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{QuotaHandle, QuotaOptions, QuotaRead, QuotaSource, entry::Entry};

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
        let handle = QuotaHandle::new(Arc::new(Entry::new(name, Box::new(source), options)));
        self.update(|entries| {
            entries.insert(name.into(), handle.clone());
        });
        handle
    }

    /// Takes the source of `name` out, and what it said. Handles that are held elsewhere go on working.
    pub fn remove(&self, name: &str) {
        self.update(|entries| {
            entries.remove(name);
        });
    }

    /// The quota of `name`, fetched if need be; unknown if it has no source. See [`QuotaHandle::read`].
    pub fn get(&self, name: &str) -> QuotaRead {
        match self.handle(name) {
            Some(handle) => handle.read(),
            None => QuotaRead::unknown("no quota source"),
        }
    }

    /// Reads the quota of `name`; `None` if it has no source.
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

    fn update(&self, change: impl Fn(&mut HashMap<Box<str>, QuotaHandle>)) {
        self.entries.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            change(&mut entries);
            entries
        });
    }
}
