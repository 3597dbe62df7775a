use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::ErrorWindow;

/// The [`ErrorWindow`]s of all backends, by name. A clone shares them.
///
/// A name costs nothing until an error is recorded for it or its window is asked for.
///
/// ```
/// use pointsman_layers::error_count::ErrorCounts;
///
/// let errors = ErrorCounts::default();
/// errors.record("OpenaiAccount");
/// assert_eq!(errors.count("OpenaiAccount"), 1);
/// assert_eq!(errors.count("PollinationsAI"), 0);
///
/// errors.reset("OpenaiAccount");
/// assert_eq!(errors.count("OpenaiAccount"), 0);
/// ```
#[derive(Clone, Debug)]
pub struct ErrorCounts {
    length: Duration,
    /// Copied when a name is new, so that a look-up takes no lock.
    windows: Arc<ArcSwap<HashMap<Box<str>, Arc<ErrorWindow>>>>,
}

impl ErrorCounts {
    /// Windows of this length.
    pub fn new(length: Duration) -> Self {
        Self { length, windows: Arc::default() }
    }

    /// How many errors of `name` are in its window now.
    pub fn count(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |window| window.count())
    }

    /// Counts an error of `name`, now.
    pub fn record(&self, name: &str) {
        self.window(name).record();
    }

    /// Forgets the errors of `name`.
    pub fn reset(&self, name: &str) {
        if let Some(window) = self.find(name) {
            window.reset();
        }
    }

    /// Forgets the errors of all names.
    pub fn clear(&self) {
        // The windows themselves stay: layers hold them.
        for window in self.windows.load().values() {
            window.reset();
        }
    }

    /// The window of `name`, for its [`ErrorCountLayer`](super::ErrorCountLayer). Every call returns the same.
    pub fn window(&self, name: &str) -> Arc<ErrorWindow> {
        self.window_of(name, self.length)
    }

    /// The same, for a name whose window has a length of its own. The first call for a name decides.
    pub fn window_of(&self, name: &str, length: Duration) -> Arc<ErrorWindow> {
        if let Some(window) = self.find(name) {
            return window;
        }
        let fresh = Arc::new(ErrorWindow::new(length));
        self.windows.rcu(|windows| {
            let mut windows = HashMap::clone(windows);
            windows.entry(name.into()).or_insert_with(|| Arc::clone(&fresh));
            windows
        });
        // Not always the fresh one: another thread may have been first.
        self.find(name).unwrap_or(fresh)
    }

    fn find(&self, name: &str) -> Option<Arc<ErrorWindow>> {
        self.windows.load().get(name).cloned()
    }
}

/// Windows of one hour.
impl Default for ErrorCounts {
    fn default() -> Self {
        Self::new(ErrorWindow::default().length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_only_asked_about_costs_nothing() {
        let errors = ErrorCounts::new(Duration::from_secs(3600));
        assert_eq!(errors.count("nobody"), 0);
        errors.reset("nobody");
        assert_eq!(errors.windows.load().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_has_one_window_that_all_clones_share() {
        let errors = ErrorCounts::default();
        let (a, b) = (errors.window("a"), errors.clone().window("a"));
        assert!(Arc::ptr_eq(&a, &b));
        a.record();
        errors.clone().record("b");
        assert_eq!((errors.count("a"), errors.count("b")), (1, 1));

        errors.clear();
        assert_eq!((errors.count("a"), errors.count("b")), (0, 0));
        a.record();
        assert_eq!(errors.count("a"), 1, "a window that a layer holds is still the name's");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_may_have_a_window_of_its_own_length() {
        let errors = ErrorCounts::default();
        let short = errors.window_of("short", Duration::from_secs(60));
        assert_eq!(short.length(), Duration::from_secs(60));
        assert!(Arc::ptr_eq(&short, &errors.window("short")));
        assert_eq!(errors.window("usual").length(), Duration::from_secs(3600));
    }

    #[test]
    fn threads_that_ask_for_new_names_at_once_get_the_same_windows() {
        let errors = ErrorCounts::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|name| errors.record(&name.to_string())));
            }
        });
        assert!((0..50).all(|name| errors.count(&name.to_string()) == 4));
    }
}
