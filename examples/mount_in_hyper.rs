//! A gateway inside a plain hyper server, behind a prefix: `cargo run --example mount_in_hyper`.
//!
//! UPSTREAM is the base URL of a server that speaks OpenAI's API (Ollama's on this machine), PORT where the server
//! listens (8000).

use std::{convert::Infallible, env, error::Error, net::Ipv4Addr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pointsman::{Config, Gateway, gateway::GatewayBody};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

const CONFIG: &str = r#"
models:
  - name: small
    providers:
      - { provider: local, model: "llama3.2:3b" }
backends:
  local: { type: openai, base_url: "${UPSTREAM:-http://127.0.0.1:11434/v1}" }
"#;

/// A body of the gateway, or one of this program's own.
type Body = Either<GatewayBody, Full<Bytes>>;

async fn answer(gateway: Gateway, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path().starts_with("/llm/") {
        // The gateway finds `/v1/...` behind whatever prefix it is mounted at.
        return Ok(gateway.oneshot(request).await?.map(Either::Left));
    }
    Ok(Response::new(Either::Right(Full::from("the gateway is below /llm"))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gateway = Gateway::from_config(Config::from_yaml(CONFIG)?.config);

    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // Events are small and have to leave at once.
        stream.set_nodelay(true)?;
        let gateway = gateway.clone(); // shares all state
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(gateway.clone(), request));
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection ended with an error: {error}");
            }
        });
    }
}
