//! A gateway for language-model requests, built from composable Tower layers.

pub mod config;
mod near;
pub mod provider;
