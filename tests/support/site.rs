use std::net::SocketAddr;

use pointsman::{
    Config, Gateway,
    server::{Limits, Server, Tls},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Client, guard};

/// A gateway behind the project's own server, in this process. It sees no variable of the environment.
#[derive(Debug)]
pub struct Site {
    /// The address to connect to.
    pub addr: SocketAddr,
    /// The gateway itself.
    pub gateway: Gateway,
    stop: oneshot::Sender<()>,
    served: JoinHandle<usize>,
}

impl Site {
    /// Serves this configuration. The limits, and TLS, are those given here and not its own.
    pub async fn serve(yaml: &str, limits: Limits, tls: Option<Tls>) -> Self {
        let nothing = |_: &str| None;
        let config = Config::from_yaml_with(yaml, &nothing).unwrap_or_else(|wrong| panic!("{wrong}\n{yaml}")).config;
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

    /// Connects.
    pub async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// Stops it, and says how many connections were cut.
    pub async fn stopped(self) -> usize {
        let _ = self.stop.send(());
        guard("the end of the server", self.served).await.expect("it does not panic")
    }
}
