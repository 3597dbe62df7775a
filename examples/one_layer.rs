//! One layer around a service of one's own: `cargo run --example one_layer`.
//!
//! A small reverse proxy. Some servers say "overloaded" inside a stream that began with `200 OK`; with the layer around
//! the client, the proxy's answer has the status that means: a 503. UPSTREAM is the host and port of the server to pass
//! requests on to (Ollama's on this machine), PORT where to listen (8000).

use std::{convert::Infallible, env, error::Error};

use http::{
    Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use pointsman::server::{Limits, Server};
use pointsman_layers::first_event::FirstEventLayer;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let upstream: Authority = env::var("UPSTREAM").as_deref().unwrap_or("127.0.0.1:11434").parse()?;

    // hyper-util's client is a tower service, so a layer goes around it like around any other.
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    let client = ServiceBuilder::new().layer(FirstEventLayer::new()).service(client);

    let proxy = service_fn(move |mut request: Request<Incoming>| {
        let (client, upstream) = (client.clone(), upstream.clone());
        async move {
            let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
            let uri = Uri::builder().scheme(Scheme::HTTP).authority(upstream).path_and_query(path).build();
            *request.uri_mut() = uri.expect("each part is valid");
            // These two belong to the connection; the client has one of its own.
            *request.version_mut() = Version::HTTP_11;
            request.headers_mut().remove(header::HOST);
            let response = match client.oneshot(request).await {
                Ok(response) => response.map(Either::Left),
                // The layer passes the client's errors through as they are: what they mean is up to this proxy.
                Err(error) => {
                    let mut response = Response::new(Either::Right(error.to_string()));
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                    response
                }
            };
            Ok::<_, Infallible>(response)
        }
    });

    let port = env::var("PORT").map_or(Ok(8000), |port| port.parse())?;
    let server = Server::bind(([127, 0, 0, 1], port).into(), Limits::default()).await?;
    println!("listening on http://{}", server.local_addr()?);
    server.serve(proxy, async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}
