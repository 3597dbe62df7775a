//! What a configuration file may say, what becomes of it, and how its mistakes are told.

// Clippy sees the tests of a test crate, and not their helpers, as tests.
#![allow(clippy::unwrap_used)]

mod backends;
mod broken;
mod discover;
mod good;
mod hybrid;
mod instances;
mod logins;
mod never_panics;
mod oauth;
mod secrets;
mod support;
mod warnings;
