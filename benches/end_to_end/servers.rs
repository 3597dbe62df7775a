use std::{ffi::OsString, fs, net::TcpListener, path::Path};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    Failure,
    process::{Core, Server, myself, on_core},
};

/// Where Debian's nginx is.
const NGINX: &str = "/usr/sbin/nginx";

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The limit that the others are measured by.
    Bare,
    Nginx,
    Gateway,
}

impl Kind {
    /// Those that are on this machine, the limit first.
    pub(crate) fn all() -> Vec<Self> {
        let nginx = Path::new(NGINX).exists().then_some(Self::Nginx);
        if nginx.is_none() {
            println!("nginx is not installed, so it is left out; `apt-get install nginx-light` would bring it.");
        }
        [Self::Bare].into_iter().chain(nginx).chain([Self::Gateway]).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper proxy",
            Self::Nginx => "nginx",
            Self::Gateway => "gateway",
        }
    }
}

/// A server of some kind at work, in front of a provider.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) server: Server,
    /// Its configuration.
    _home: TempDir,
}

/// How a server is to be run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting<'a> {
    /// Under callgrind, which writes what it counted into this file.
    pub(crate) counted: Option<&'a Path>,
    /// So many routes more than those of the document, for a gateway.
    pub(crate) more_routes: usize,
    /// A line in the log for each request, for a gateway.
    pub(crate) logs_requests: bool,
}

/// Starts the provider that all of them stand in front of.
pub(crate) async fn provider() -> Result<Server, Failure> {
    let mut command = myself(Core::Others)?;
    command.arg("mock");
    Server::start(command).await
}

pub(crate) async fn start(kind: Kind, provider: &str, setting: Setting<'_>) -> Result<Running, Failure> {
    let home = tempfile::tempdir()?;
    let program = |path: OsString| match setting.counted {
        None => on_core(Core::Measured, path),
        Some(file) => {
            let mut command = on_core(Core::Measured, "valgrind");
            command
                .args(["--quiet", "--tool=callgrind"])
                .arg(format!("--callgrind-out-file={}", file.display()))
                .arg(path);
            command
        }
    };
    let server = match kind {
        Kind::Bare => {
            let mut command = program(std::env::current_exe()?.into());
            command.args(["bare", provider]);
            Server::start(command).await?
        }
        Kind::Gateway => {
            let config = home.path().join("config.yaml");
            fs::write(&config, gateway_config(provider, setting.more_routes))?;
            let mut command = program(env!("CARGO_BIN_EXE_pointsman").into());
            let log = if setting.logs_requests { "info" } else { "warn,pointsman::cli=info" };
            command.args(["serve", "--port", "0", "--config"]).arg(config).env("POINTSMAN_LOG", log);
            Server::start(command).await?
        }
        Kind::Nginx => nginx(program(NGINX.into()), provider, home.path()).await?,
    };
    Ok(Running { server, _home: home })
}

/// The document's routes, with every provider on this machine and a quota for the one whose condition may ask for it.
fn gateway_config(provider: &str, more_routes: usize) -> String {
    let mut config = include_str!("../../tests/data/example.yaml").to_owned();
    for number in 0..more_routes {
        config.push_str(&format!(
            "  - name: route-{number}\n    providers:\n      - {{ provider: Groq, model: m{number}, condition: error_count < 3 }}\n"
        ));
    }
    config.push_str("backends:\n");
    for backend in ["OpenaiAccount", "PollinationsAI", "Yupp", "Groq", "DeepInfra"] {
        config.push_str(&format!("  {backend}: {{ base_url: \"http://{provider}/v1\", api_key: sk-of-the-backend"));
        if backend == "OpenaiAccount" {
            config.push_str(&format!(", quota: {{ url: \"http://{provider}/balance\" }}"));
        }
        config.push_str(" }\n");
    }
    config
}

async fn nginx(mut command: Command, provider: &str, home: &Path) -> Result<Server, Failure> {
    // It cannot be told to take any port that is free, so it is given one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let config = home.join("nginx.conf");
    fs::write(
        &config,
        format!(
            "daemon off; master_process off; pid {home}/pid; error_log stderr;
             events {{ worker_connections 16384; }}
             http {{
                 access_log off; keepalive_requests 1000000; client_max_body_size 32m;
                 client_body_buffer_size 2m; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
                 fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
                 upstream provider {{ server {provider}; keepalive 128; keepalive_requests 1000000; }}
                 server {{
                     listen {address};
                     location / {{
                         proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection \"\";
                         proxy_buffering off;
                     }}
                 }}
             }}",
            home = home.display()
        ),
    )?;
    command.arg("-e").arg("stderr").arg("-c").arg(config);
    Server::start_at(command, address).await
}
