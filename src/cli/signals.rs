//! When to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Ready at the first SIGINT or SIGTERM; the second ends the process.
pub(super) fn stop() -> Result<impl Future<Output = ()>, String> {
    let receive = |kind| signal(kind).map_err(|error| format!("error: signals cannot be received: {error}"));
    let mut interrupt = receive(SignalKind::interrupt())?;
    let mut terminate = receive(SignalKind::terminate())?;
    let (first, stopped) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut first = Some(first);
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match first.take() {
                // The receiver lives as long as the server.
                Some(first) => drop(first.send(())),
                None => std::process::exit(130),
            }
        }
    });
    Ok(async move {
        let _ = stopped.await;
    })
}
