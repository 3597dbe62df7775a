//! A gateway for language-model requests, built from composable Tower layers.

mod near;
pub mod provider;
