//! One task at a time, which everyone who wants what it is for shares, and which none of them aborts by leaving.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Runs one task at a time. `N` is what a task can be needed for, `T` what comes of it.
pub(super) struct SingleFlight<N, T> {
    under_way: Arc<Mutex<Option<Flight<N, T>>>>,
}

/// A task under way, and what it was started for.
#[derive(Clone)]
pub(super) struct Flight<N, T> {
    pub(super) need: N,
    outcome: watch::Receiver<Option<T>>,
}

impl<N, T> Flight<N, T> {
    /// What came of it; `None` if the task panicked, or the runtime shuts down.
    pub(super) async fn outcome(mut self) -> Option<T>
    where
        T: Clone,
    {
        self.outcome.wait_for(Option::is_some).await.map_or(None, |outcome| outcome.clone())
    }
}

impl<N, T> Default for SingleFlight<N, T> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

impl<N, T> SingleFlight<N, T>
where
    N: Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn lock(under_way: &Mutex<Option<Flight<N, T>>>) -> MutexGuard<'_, Option<Flight<N, T>>> {
        // What is inside is whole at any time.
        under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task under way, whatever it was started for; `Err` with a new one, which does `work`, if there is none.
    pub(super) fn join_or_start<F>(&self, need: N, work: impl FnOnce() -> F) -> Result<Flight<N, T>, Flight<N, T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = Self::lock(&self.under_way);
        // One whose sender is gone has died of a panic.
        if let Some(flight) = under_way.as_ref().filter(|flight| flight.outcome.has_changed().is_ok()) {
            return Ok(flight.clone());
        }
        let (sender, outcome) = watch::channel(None);
        let started = Flight { need, outcome };
        *under_way = Some(started.clone());
        let (work, under_way) = (work(), Arc::clone(&self.under_way));
        tokio::spawn(async move {
            let outcome = work.await;
            *Self::lock(&under_way) = None;
            sender.send_replace(Some(outcome));
        });
        Err(started)
    }

    /// Whether nothing is under way; also `false` when that cannot be told without waiting.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.try_lock().is_ok_and(|under_way| under_way.is_none())
    }

    /// Waits until nothing is under way.
    pub(super) async fn settle(&self) {
        loop {
            let Some(flight) = Self::lock(&self.under_way).clone() else { return };
            if flight.outcome().await.is_none() {
                return;
            }
        }
    }
}
