use std::{net::SocketAddr, process::ExitCode, time::Duration};

use super::{ConfigArg, Outcome, load, log, runtime, signals};
use pointsman::{
    Gateway,
    config::{self, Config, Secret},
    server::{Limits, Server},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The address to listen on [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS", env = "POINTSMAN_SERVER_HOST")]
    host: Option<String>,
    /// The port to listen on, 0 for any that is free [default: 8000].
    #[arg(long, value_name = "PORT", env = "POINTSMAN_SERVER_PORT")]
    port: Option<u16>,
    /// How long requests may go on after the first signal to stop, as `30s` or `2m` [default: 30s].
    #[arg(long, value_name = "TIME", env = "POINTSMAN_SERVER_SHUTDOWN_TIMEOUT", value_parser = humantime::parse_duration)]
    shutdown_timeout: Option<Duration>,
}

/// Serves the gateway until a signal says to stop.
pub(super) fn run(args: Args) -> Outcome {
    log::init("info");
    let path = args.config.find()?;
    let loaded = load(&path)?;
    for warning in loaded.warnings.iter() {
        tracing::warn!(line = warning.line(), "{}", warning.message());
    }
    tracing::info!(config = %path.display(), routes = loaded.config.routes.len(), "configuration loaded");
    let config = with_overrides(loaded.config, args);
    runtime()?.block_on(serve(config))
}

/// What the environment and the command line say goes before the file.
fn with_overrides(mut config: Config, args: Args) -> Config {
    let server = &mut config.server;
    if let Ok(keys) = std::env::var("POINTSMAN_API_KEYS") {
        let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        server.api_keys = keys.map(Secret::new).collect();
    }
    server.host = args.host.unwrap_or_else(|| std::mem::take(&mut server.host));
    server.port = args.port.unwrap_or(server.port);
    server.shutdown_timeout = args.shutdown_timeout.unwrap_or(server.shutdown_timeout);
    config
}

async fn serve(config: Config) -> Outcome {
    let address = address(&config.server).await?;
    let server = Server::bind(address, limits(&config.server))
        .await
        .map_err(|error| format!("error: cannot listen on {address}: {error}"))?;
    let bound = server.local_addr().map_err(|error| format!("error: {error}"))?;
    let stopped = signals::stop()?;
    let gateway = Gateway::from_config(config);
    tracing::info!("listening on http://{bound}");

    let draining = gateway.clone();
    let stop = async move {
        stopped.await;
        draining.drain();
        tracing::info!("stopping; a second signal stops at once");
    };
    let cut = server.serve(gateway, stop).await;
    tracing::info!(cut, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// The address to listen on. A gateway without keys serves this machine alone.
async fn address(server: &config::Server) -> Result<SocketAddr, String> {
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let unknown = |error| format!("error: the host `{host}` is not an address of this machine: {error}");
    let addresses: Vec<_> = tokio::net::lookup_host((host, server.port)).await.map_err(unknown)?.collect();
    let first = addresses.first().ok_or_else(|| format!("error: the host `{host}` has no address"))?;
    if server.api_keys.is_empty() && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(format!(
            "error: `{host}` is open to other machines, and anybody there could use your providers' keys\n  \
             = help: set `server.api_keys` in the configuration or POINTSMAN_API_KEYS, or listen on 127.0.0.1"
        ));
    }
    Ok(*first)
}

fn limits(server: &config::Server) -> Limits {
    Limits {
        header_bytes: server.header_limit,
        header_timeout: server.header_timeout,
        connections: server.max_connections,
        shutdown_timeout: server.shutdown_timeout,
    }
}
