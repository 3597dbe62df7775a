//! `pointsman login`, `logout` and `credentials`, against a scripted login server.

// Clippy sees the tests of a test crate, and not their helpers, as tests.
#![allow(clippy::unwrap_used)]

mod credentials;
mod login;
mod logout;
mod machine;
#[path = "../support/mod.rs"]
mod support;

use machine::{Machine, granted, server};

#[tokio::test]
async fn a_backend_without_a_login_is_told_of() {
    let server = server([granted()]);
    let machine = Machine::new(&server);
    for command in ["login", "logout", "credentials"] {
        assert_eq!(
            machine.fails(&[command, "vendro"]).await,
            "error: there is no backend `vendro`; did you mean `vendor`?"
        );
        assert_eq!(
            machine.fails(&[command, "quux"]).await,
            "error: there is no backend `quux`; these have a login: `vendor`"
        );
        assert_eq!(
            machine.fails(&[command, "plain"]).await,
            "error: the backend `plain` has no login: its configuration has no `oauth`"
        );
    }
    assert!(server.requests().is_empty());

    let elsewhere = Machine::with("      mode: read_only");
    assert_eq!(
        elsewhere.fails(&["login", "vendor"]).await,
        "error: a login of `vendor` cannot be made here, for its configuration names no address to begin at; run \
         `vendor login`"
    );
}
