use std::sync::Arc;

use tokio::sync::Semaphore;

/// A turnstile between a test and a script: the script waits at it, the test lets it through.
///
/// Clones are the same gate. What is released before anyone waits is kept.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one through.
    pub fn release(&self) {
        self.0.add_permits(1);
    }

    /// Lets everyone through from now on.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits to be let through.
    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
