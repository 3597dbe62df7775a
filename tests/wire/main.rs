//! What the server makes of whatever comes over the wire, byte for byte.

#[path = "../support/mod.rs"]
mod support;

mod framing;
mod heads;
mod http2;
mod keys;
mod limits;
mod stop;
mod tls;

use std::net::SocketAddr;

use pointsman::{
    Config, Gateway,
    server::{Limits, Server, Tls},
};
use support::{Client, Upstream, backend, backends, guard};
use tokio::{sync::oneshot, task::JoinHandle};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"model":"m"}"#;

/// A gateway behind the project's own server, in this process.
struct Site {
    addr: SocketAddr,
    gateway: Gateway,
    stop: oneshot::Sender<()>,
    served: JoinHandle<usize>,
}

impl Site {
    async fn start(upstream: &Upstream, limits: Limits) -> Self {
        Self::with(upstream, "", limits, None).await
    }

    /// `options` are keys of `server`.
    async fn with(upstream: &Upstream, options: &str, limits: Limits, tls: Option<Tls>) -> Self {
        let yaml = format!(
            "server: {{ {options} }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
            backends([backend("a", &upstream.url(""), "")])
        );
        let nothing = |_: &str| None;
        let config = Config::from_yaml_with(&yaml, &nothing).unwrap_or_else(|wrong| panic!("{wrong}\n{yaml}")).config;
        let mut server = Server::bind(([127, 0, 0, 1], 0).into(), limits).await.expect("a free port");
        if let Some(tls) = tls {
            server = server.tls(tls);
        }
        let addr = server.local_addr().expect("an address");
        let gateway = Gateway::from_config(config);
        let (stop, stopped) = oneshot::channel();
        let (service, draining) = (gateway.clone(), gateway.clone());
        let served = tokio::spawn(server.serve(service, async move {
            let _ = stopped.await;
            draining.drain();
        }));
        Self { addr, gateway, stop, served }
    }

    async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// Stops it, and says how many connections were cut.
    async fn stopped(self) -> usize {
        let _ = self.stop.send(());
        guard("the end of the server", self.served).await.expect("it does not panic")
    }
}

/// A good request with these fields behind its `host`.
fn request(fields: &str) -> String {
    format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{fields}content-length: {}\r\n\r\n{GOOD}", GOOD.len())
}
