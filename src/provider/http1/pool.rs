use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::Connection;

/// How long a connection is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(90);

/// The connections to one host that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    /// The one that was used last is the last, and the first to be used again.
    connections: Vec<(Box<Connection>, Instant)>,
    /// Whether a task is closing those that are kept too long.
    is_swept: bool,
}

impl Pool {
    /// A connection on which a request can be sent.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (connection, since) = self.idle().connections.pop()?;
            if connection.is_open() && since.elapsed() < KEPT {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let mut idle = self.idle();
        idle.connections.push((connection, Instant::now()));
        // Outside of a runtime nothing could be swept; but nothing could be read there either.
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what is kept too long, until there is nothing to keep.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(KEPT / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.connections.retain(|(connection, since)| since.elapsed() < KEPT && connection.is_open());
        if idle.connections.is_empty() {
            idle.is_swept = false;
            return;
        }
    }
}
