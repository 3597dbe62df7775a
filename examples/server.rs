//! The bundled server in a few lines: `cargo run --example server`, or `-- path/to/config.yaml` behind it.
//!
//! UPSTREAM is the base URL of a server that speaks OpenAI's API (Ollama's on this machine), PORT where the gateway
//! listens (8000).

use std::{env, error::Error, path::Path, process::exit};

use pointsman::{
    Config, Gateway,
    server::{Limits, Server},
};

const CONFIG: &str = r#"
models:
  - name: small
    providers:
      - { provider: local, model: "llama3.2:3b", condition: error_count < 3 }
backends:
  local: { type: openai, base_url: "${UPSTREAM:-http://127.0.0.1:11434/v1}" }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let loaded = match env::args_os().nth(1) {
        Some(path) => Config::load(Path::new(&path)),
        None => Config::from_yaml(CONFIG),
    };
    // What is wrong with a configuration is shown with its lines, as a compiler would.
    let loaded = loaded.unwrap_or_else(|wrong| {
        eprintln!("{wrong}");
        exit(1)
    });
    // Also fine, and doubtful: a provider without a key, a condition that is always true.
    if !loaded.warnings.is_empty() {
        eprintln!("{}", loaded.warnings);
    }

    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse())?;
    let server = Server::bind(([127, 0, 0, 1], port).into(), Limits::default()).await?;
    println!("listening on http://{}", server.local_addr()?);

    // Ctrl-C closes the listener; requests that were accepted may finish.
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server.serve(Gateway::from_config(loaded.config), stop).await;
    Ok(())
}
