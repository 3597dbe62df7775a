use std::{net::SocketAddr, process::ExitCode, time::Duration};

use super::{ConfigArg, Outcome, files, hybrid::HybridArgs, load, log, runtime, signals};
use pointsman::{
    Gateway,
    config::{self, Config, GateSource, Loaded, Overrides, ProcessEnvironment, Secret},
    server::{Limits, Server, Tls},
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
    /// The backend for every model that no route takes.
    #[arg(long, value_name = "BACKEND", env = "POINTSMAN_DEFAULT_BACKEND")]
    default_backend: Option<String>,
    /// Ask for this model, whatever a request says.
    #[arg(long, value_name = "MODEL", env = "POINTSMAN_FORCE_MODEL")]
    force_model: Option<String>,
    /// Enable the qwen-oauth backend, for development of the gateway only: its login belongs to another program.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_qwen_oauth_backend_debugging_override: Option<bool>,
    #[command(flatten)]
    hybrid: HybridArgs,
}

/// The flag above, as a gate knows it. What the environment says of it is read with the configuration.
const QWEN_OAUTH_GATE: &str = "enable-qwen-oauth-backend-debugging-override";

/// Serves the gateway until a signal says to stop.
pub(super) fn run(args: Args) -> Outcome {
    log::init("info");
    let config = configuration(args)?;
    for backend in &config.backends {
        let notice = backend.preset.and_then(|preset| preset.terms);
        if let (Some(notice), true) = (notice, backend.gate.as_ref().is_some_and(|gate| gate.is_open())) {
            tracing::warn!(backend = backend.name, "{notice}");
        }
    }
    runtime()?.block_on(serve(config))
}

/// The configuration that is to be served: the file, and what the environment and the command line say, which goes before
/// it. A default backend does without a file.
fn configuration(mut args: Args) -> Result<Config, String> {
    // A variable that is set to nothing says nothing.
    for choice in [&mut args.host, &mut args.default_backend, &mut args.force_model] {
        choice.take_if(|text| text.is_empty());
    }
    let mut loaded = match args.config.find() {
        Ok(path) => {
            let loaded = load(&path)?;
            tracing::info!(config = %path.display(), routes = loaded.config.routes.len(), "configuration loaded");
            loaded
        }
        Err(_) if args.default_backend.is_some() => Loaded::default(),
        Err(message) => return Err(message),
    };
    let overrides =
        Overrides { default_backend: args.default_backend, force_model: args.force_model, hybrid: args.hybrid.into() };
    loaded.config.apply(overrides, &ProcessEnvironment).map_err(|error| format!("error: {error}"))?;
    if let Some(open) = args.enable_qwen_oauth_backend_debugging_override {
        loaded.say(QWEN_OAUTH_GATE, open, GateSource::CommandLine);
    }
    for warning in loaded.warnings.iter() {
        let (file, line, help) = (warning.file(), warning.line(), warning.help());
        tracing::warn!(file, line, help, "{}", warning.message());
    }
    let server = &mut loaded.config.server;
    if let Ok(keys) = std::env::var("POINTSMAN_API_KEYS") {
        let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        server.api_keys = keys.map(Secret::new).collect();
    }
    server.host = args.host.unwrap_or_else(|| std::mem::take(&mut server.host));
    server.port = args.port.unwrap_or(server.port);
    server.shutdown_timeout = args.shutdown_timeout.unwrap_or(server.shutdown_timeout);
    Ok(loaded.config)
}

async fn serve(config: Config) -> Outcome {
    let address = address(&config).await?;
    let mut server = Server::bind(address, limits(&config.server))
        .await
        .map_err(|error| format!("error: cannot listen on {address}: {error}"))?;
    let mut scheme = "http";
    if let Some(files) = &config.server.tls {
        let tls = Tls::from_files(&files.cert, &files.key).map_err(|error| format!("error: `server.tls`: {error}"))?;
        (server, scheme) = (server.tls(tls), "https");
    }
    let bound = server.local_addr().map_err(|error| format!("error: {error}"))?;
    let stopped = signals::stop()?;
    let gateway = Gateway::from_config(config);
    tracing::info!("listening on {scheme}://{bound}");

    let (draining, settling) = (gateway.clone(), gateway.clone());
    let stop = async move {
        stopped.await;
        draining.drain();
        tracing::info!("stopping; a second signal stops at once");
    };
    let cut = server.serve(gateway, stop).await;
    settling.settle().await;
    tracing::info!(cut, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// The address to listen on. A gateway without keys serves this machine alone.
async fn address(config: &Config) -> Result<SocketAddr, String> {
    let server = &config.server;
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let unknown = |error| format!("error: the host `{host}` is not an address of this machine: {error}");
    let addresses: Vec<_> = tokio::net::lookup_host((host, server.port)).await.map_err(unknown)?.collect();
    let first = addresses.first().ok_or_else(|| format!("error: the host `{host}` has no address"))?;
    let is_public = !addresses.iter().all(|address| address.ip().is_loopback());
    let mut gates = config.backends.iter().filter_map(|backend| Some((&backend.name, backend.gate.as_ref()?)));
    if let (true, Some((name, gate))) = (is_public, gates.find(|(_, gate)| gate.is_open())) {
        return Err(format!(
            "error: `{host}` is open to other machines, and the backend `{name}` is for this machine alone\n  \
             = help: listen on 127.0.0.1, or {}",
            match gate.flag() {
                Some(flag) => format!("start without `--{flag}`"),
                None => format!("take `backends.{name}.accept_terms` out"),
            }
        ));
    }
    if server.api_keys.is_empty() && is_public {
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
        keep_alive_timeout: server.keep_alive_timeout,
        connections: files::allow(server.max_connections),
        shutdown_timeout: server.shutdown_timeout,
    }
}
