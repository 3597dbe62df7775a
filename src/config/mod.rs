//! The configuration: YAML in, typed and checked values out, or diagnostics that point at the line.
//!
//! Everything that is wrong with a file is reported at once, each with its place, and shown as a compiler would. Load
//! a file and look up a route:
//!
//! ```
//! use pointsman::config::Config;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("config.yaml");
//! std::fs::write(&path, "
//! models:
//!   - name: my-gpt4
//!     providers:
//!       - { provider: PollinationsAI, model: openai-large, condition: balance > 0 }
//!       - { provider: ollama, model: llama3 }
//! ")?;
//!
//! let loaded = Config::load(&path)?;
//! let route = loaded.config.route("my-gpt4").unwrap();
//! assert_eq!(route.candidates[0].backend, "pollinations");
//! assert_eq!(route.candidates[1].model, "llama3");
//! assert!(loaded.config.route("my-gpt5").is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A mistake is shown where it is:
//!
//! ```
//! use pointsman::config::Config;
//!
//! let wrong = Config::from_yaml("
//! models:
//!   - name: fast
//!     providers:
//!       - { provider: ollama, model: 4.1 }
//! ").unwrap_err();
//! assert_eq!(wrong.to_string(), "\
//! error: `model`: expected a string, found a number
//!  --> <config>:5:36
//!   |
//! 5 |       - { provider: ollama, model: 4.1 }
//!   |                                    ^^^ expected a string
//!   |
//!   = help: quote it to make it a string");
//! ```
//!
//! Instance files, `config/backends/backend-instances/<backend>[.<instance>].yaml` beside the configuration file, hold one
//! backend each and are laid over the entry of `backends` with their name: mappings merge, lists and scalars replace,
//! and the instance `default` is the backend itself. Where no entry has that name, it is the only one of the same
//! provider: with another of its names, or, for a provider with a login, with its type. Paths in them are relative to
//! the folder of the configuration file as well.
//!
//! In every string, `${VAR}`, `${VAR:-default}` and `${file:/path}` stand for a variable of the environment or the
//! content of a file, and `$${` for a plain `${`.

mod alias;
mod backend;
mod check;
mod decode;
mod default_backend;
mod diagnostic;
mod discover;
mod doubts;
mod exchange;
mod fields;
mod finding;
mod gate;
mod hold;
mod hybrid;
mod instances;
mod interpolate;
pub(crate) mod load;
mod locate;
mod login;
mod mask;
mod node;
mod oauth;
mod overrides;
mod places;
mod quantity;
mod quota;
mod resolve;
mod route;
mod scalar;
mod secret;
mod server;
mod source;

use std::path::PathBuf;

pub(crate) use self::resolve::find_backend;
pub use self::{
    alias::ModelAlias,
    backend::Backend,
    diagnostic::{Diagnostic, Diagnostics, Severity},
    discover::NotFound,
    gate::{Gate, GateSource},
    hold::Hold,
    hybrid::{Hybrid, HybridOverrides, OnReasoningFailure},
    interpolate::{Environment, ProcessEnvironment},
    load::Loaded,
    oauth::{Exchange, Grant, OAuth},
    overrides::Overrides,
    quota::QuotaConfig,
    route::{Candidate, Route},
    secret::{Raw, Secret},
    server::{RetryBudget, Server, Tls},
};
pub use crate::provider::{
    Timeouts,
    presets::{AuthForm, Reshape},
};

/// A configuration in which everything has been checked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The file that it was read from, if it was one.
    pub source: Option<PathBuf>,
    /// The listener and its limits.
    pub server: Server,
    /// The providers: those that are configured, in order, then the presets that something names.
    pub backends: Vec<Backend>,
    /// The routes, in order.
    pub routes: Vec<Route>,
    /// Where whatever no route takes goes: a backend, or a [selector](crate::selector) of several.
    pub default_backend: Option<String>,
    /// The [model string](crate::selector) that is asked for whatever a request says. No key of a file sets it, only the
    /// command line.
    pub force_model: Option<String>,
    /// Other spellings of model strings, in order: the first that fits counts.
    pub model_aliases: Vec<ModelAlias>,
    /// How hybrids of two models are made.
    pub hybrid: Hybrid,
}

impl Config {
    /// The route of this name. For one look-up; whoever routes requests keeps a map.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// The backend of this name. The aliases of a preset lead to it as well.
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        find_backend(&self.backends, name)
    }
}
