//! Provider services: the hyper client at the bottom of the stack, and what it does to a request and its answer.

mod body;
mod client;
mod error;
mod headers;
mod http1;
pub mod presets;
mod service;
mod url;

pub(crate) use self::headers::concerns_the_connection;
pub use self::{
    body::ProviderBody,
    client::Client,
    error::{ClassifyProviderError, ProviderError},
    service::{Provider, ProviderBuilder, ProviderFuture, Timeouts},
};
