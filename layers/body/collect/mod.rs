mod future;
mod layer;
mod service;

pub use self::{future::CollectFuture, layer::CollectLayer, service::Collect};
