mod future;
mod layer;
mod read;
mod service;

pub use self::{future::CollectFuture, layer::CollectLayer, service::Collect};
