//! A gateway for language-model requests, built from composable Tower layers.
//!
//! [`Config`] reads a `config.yaml`; [`Gateway`] is the service made from it, to be mounted in any axum or hyper app;
//! [`server`] runs it. The layers it is made of are in [`pointsman_layers`], to be stacked by hand.

pub mod config;
pub mod gateway;
pub mod login;
mod near;
pub mod provider;
pub mod selector;
pub mod server;

pub use self::{config::Config, gateway::Gateway};

/// The snippets of the README are tested as those of the documentation are.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
