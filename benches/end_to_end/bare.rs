//! The limit: a reverse proxy that does nothing but pass requests on, of the same parts as the gateway.

use std::convert::Infallible;

use http::{Request, Response, StatusCode, Uri, uri::Authority};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

use crate::Failure;

pub(crate) fn run(provider: &str) -> Result<(), Failure> {
    let provider: Authority = provider.parse()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let mut stop = signal(SignalKind::terminate())?;
        loop {
            let stream = tokio::select! {
                _ = stop.recv() => return Ok(()),
                accepted = listener.accept() => accepted?.0,
            };
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, client.clone(), provider.clone()));
        }
    })
}

async fn serve(stream: TcpStream, client: Client<HttpConnector, Incoming>, provider: Authority) {
    let service = service_fn(|request| pass(request, &client, &provider));
    // A client that leaves is no failure.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn pass(
    mut request: Request<Incoming>,
    client: &Client<HttpConnector, Incoming>,
    provider: &Authority,
) -> Result<Response<Either<Incoming, Empty<Bytes>>>, Infallible> {
    let mut uri = request.uri().clone().into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = Some(provider.clone());
    *request.uri_mut() = Uri::from_parts(uri).expect("a path with a scheme and an authority");
    Ok(match client.request(request).await {
        Ok(response) => response.map(Either::Left),
        Err(_) => {
            let mut response = Response::new(Either::Right(Empty::new()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    })
}
