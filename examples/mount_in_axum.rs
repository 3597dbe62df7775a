//! A gateway inside an axum app that has routes of its own: `cargo run --example mount_in_axum`.
//!
//! UPSTREAM is the base URL of a server that speaks OpenAI's API (Ollama's on this machine), PORT where the app
//! listens (8000).

use std::{env, error::Error, net::Ipv4Addr};

use axum::{Router, routing::get};
use pointsman::{Config, Gateway};
use tokio::net::TcpListener;

const CONFIG: &str = r#"
models:
  - name: small
    providers:
      - { provider: local, model: "llama3.2:3b" }
backends:
  local: { type: openai, base_url: "${UPSTREAM:-http://127.0.0.1:11434/v1}" }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gateway = Gateway::from_config(Config::from_yaml(CONFIG)?.config);
    let app = Router::new()
        .route("/", get(async || "the gateway is below /llm"))
        // Clients take http://localhost:8000/llm/v1 for their base URL. The gateway always answers, so axum asks for no
        // error handler; a layer of the app around this route, such as a login, is in front of the gateway too.
        .nest_service("/llm", gateway);

    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
