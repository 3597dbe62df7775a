//! What the black-box tests stand on: a scripted provider, a raw client, a server for any service, and the binary.
//!
//! Everything here talks over real sockets on 127.0.0.1, so none of it is for a test with a paused clock. Order comes
//! from a [`Gate`] that the test opens, or from a wait for something that was seen, never from a sleep. Every wait is
//! guarded, so that a test that would hang fails and says what it waited for; a guard decides no outcome.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its own part of this")]

mod binary;
mod client;
pub mod contract;
mod deployed;
mod gate;
mod reply;
mod served;
mod site;
mod upstream;
mod wire;

use std::time::Duration;

pub use self::{
    binary::{Binary, Finished, Running, Signal},
    client::{Answer, Client, Ended, get, post_json},
    deployed::{Deployed, backend, backends},
    gate::Gate,
    reply::{Reply, Step},
    served::Served,
    site::Site,
    upstream::{Received, Refusing, Upstream},
    wire::{Head, Headers},
};

/// How long a wait may take before the test is given up.
const GUARD: Duration = Duration::from_secs(60);

/// Waits for `future`; a test that waits longer than the guard has failed.
pub async fn guard<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(GUARD, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {GUARD:?} for {what}"),
    }
}
