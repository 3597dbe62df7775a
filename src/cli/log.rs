use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sends the log to standard error, at the level that `POINTSMAN_LOG` or `RUST_LOG` says, else `default`.
pub(super) fn init(default: &str) {
    let filter = ["POINTSMAN_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::new(filter.as_deref().unwrap_or(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
