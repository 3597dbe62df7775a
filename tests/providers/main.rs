//! Every provider that is known by name, against a server that behaves as it does: its path, the form of its key, its
//! headers, what it says of its quota, and how it says that nothing is left.

// Clippy sees the tests of a test crate, and not their helpers, as tests.
#![allow(clippy::unwrap_used)]

mod document;
mod listing;
mod names;
mod rows;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod vendor;
