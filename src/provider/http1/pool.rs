use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle};

use super::Connection;

/// How often those are closed that nobody has used since the last time but one. So each is kept for 45 to 90 seconds.
const SWEEP: Duration = Duration::from_secs(45);

/// The connections to one host that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

/// How many sweeps a connection has seen; to ask for the time would cost each request more.
type Age = u8;

#[derive(Debug, Default)]
struct Idle {
    /// The one that was used last is the last, and the first to be used again.
    connections: Vec<(Box<Connection>, Age)>,
    /// The task that closes those that are kept too long.
    sweeper: Option<AbortHandle>,
}

impl Pool {
    /// A connection on which a request can be sent.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (connection, _) = self.idle().connections.pop()?;
            if connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let mut idle = self.idle();
        idle.connections.push((connection, 0));
        if idle.sweeper.is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            idle.sweeper = Some(runtime.spawn(sweep(Arc::downgrade(self))).abort_handle());
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(sweeper) = &self.idle().sweeper {
            sweeper.abort();
        }
    }
}

/// Closes what is kept too long, until there is nothing to keep.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        let old = idle.connections.extract_if(.., |(connection, age)| {
            *age += 1;
            *age >= 2 || !connection.is_open()
        });
        let old: Vec<_> = old.collect();
        let is_empty = idle.connections.is_empty();
        if is_empty {
            idle.sweeper = None;
        }
        // To close many takes its time, for which no request is to wait.
        drop(idle);
        drop(old);
        if is_empty {
            return;
        }
    }
}
