//! An HTTP/1.1 client for providers that are reached without TLS, such as those on the same machine.
//!
//! hyper's client runs each connection as a task of its own and hands every frame from that task to the one that
//! answers, which costs more than all else that a gateway does. Here the request, its connection and its answer are one
//! future and one body: what was read is handed on in the same poll, and what one read brought, in however many chunks,
//! is one frame.

mod body;
mod chunks;
mod connection;
mod exchange;
mod head;
mod pool;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{
    HeaderName, HeaderValue, Method, Uri,
    uri::{Authority, PathAndQuery},
};
use pointsman_layers::body::ReplayBody;
use tower_service::Service as _;

pub(super) use self::{body::Http1Body, exchange::Exchange};
use self::{connection::Connection, pool::Pool};
use super::client::Connector;

/// The way to one host.
#[derive(Clone, Debug)]
pub(super) struct Http1 {
    connector: Connector,
    host: Uri,
    pool: Arc<Pool>,
}

impl Http1 {
    /// The client for `host`, if it is one to be reached without TLS.
    pub(super) fn new(connector: Connector, host: &Uri) -> Option<Self> {
        (host.scheme() == Some(&http::uri::Scheme::HTTP) && host.authority().is_some()).then(|| Self {
            connector,
            host: host.clone(),
            pool: Arc::default(),
        })
    }

    /// Sends a request with these fields to its host.
    pub(super) fn request<'a>(
        &self,
        method: Method,
        target: &PathAndQuery,
        fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
        body: ReplayBody,
    ) -> Exchange {
        let authority = self.host.authority().map_or("", Authority::as_str);
        let head = head::write(&method, target.as_str(), authority, fields, body.len());
        match self.pool.take() {
            Some(connection) => Exchange::on(connection, &self.pool, method, head, body),
            None => {
                let mut connector = self.connector.clone();
                Exchange::connect(connector.call(self.host.clone()), &self.pool, method, head, body)
            }
        }
    }
}

/// Why there is no answer, or no whole one.
#[derive(Debug)]
pub(super) enum Error {
    /// There was no connection.
    Connect(Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke, or what came is not HTTP.
    Broken(std::io::Error),
}

fn malformed(what: &'static str) -> Error {
    Error::Broken(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
}

fn cut_off(what: &'static str) -> Error {
    Error::Broken(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, what))
}
