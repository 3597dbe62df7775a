use std::net::SocketAddr;

use pointsman::{Config, Gateway};
use serde_json::{Value, json};

use super::{Answer, Client, Served, post_json};

/// A gateway behind a server of its own, and a way to look into its state. It sees no variable of the environment.
#[derive(Debug)]
pub struct Deployed {
    gateway: Gateway,
    served: Served,
}

impl Deployed {
    /// Serves this configuration.
    pub fn start(yaml: &str) -> Self {
        let nothing = |_: &str| None;
        let loaded = Config::from_yaml_with(yaml, &nothing).unwrap_or_else(|wrong| panic!("{wrong}\n{yaml}"));
        let gateway = Gateway::from_config(loaded.config);
        Self { served: Served::start(gateway.clone()), gateway }
    }

    /// The gateway itself.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.served.addr()
    }

    /// The errors that are counted for a backend.
    pub fn errors(&self, backend: &str) -> u64 {
        self.gateway.error_counts().count(backend)
    }

    /// Connects.
    pub async fn client(&self) -> Client {
        Client::connect(self.addr()).await
    }

    /// Asks for a chat completion.
    pub async fn chat(&self, model: &str) -> Answer {
        self.post(&json!({ "model": model, "messages": [] })).await
    }

    /// Asks for a streamed chat completion.
    pub async fn stream(&self, model: &str) -> Answer {
        self.post(&json!({ "model": model, "messages": [], "stream": true })).await
    }

    async fn post(&self, json: &Value) -> Answer {
        post_json(self.addr(), "/v1/chat/completions", json, &[]).await
    }
}

/// The `backends` of a configuration.
pub fn backends(entries: impl IntoIterator<Item = String>) -> String {
    format!("backends:\n{}", entries.into_iter().collect::<String>())
}

/// An entry of `backends`: a server at `root` that speaks OpenAI's API, with the key `key-of-<name>`. `more` are further
/// keys, as in a flow mapping.
pub fn backend(name: &str, root: &str, more: &str) -> String {
    format!("  {name}: {{ type: openai, base_url: \"{root}/v1\", api_key: key-of-{name}, {more} }}\n")
}
