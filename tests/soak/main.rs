//! Many requests and streams at once, some of them with faults: each has one outcome, and nothing is left behind.
//!
//! Tasks are counted where the gateway is in this process. Memory is measured where it is a process of its own, which
//! has its own open files as well: so 5,000 streams, with both of their ends here, need 10,000 files here and 10,000
//! there. `cargo test --test soak -- --nocapture` prints the figures. Linux alone tells of a process what is needed here.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod overload;
mod process;
mod requests;
mod streams;

use std::{sync::LazyLock, time::Duration};

use tokio::{runtime::Handle, sync::Mutex};

const CHAT: &str = "/v1/chat/completions";

/// Held by each test from its start to its end: none of them is measured, or slowed, by another.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Waits until no more tasks are alive than there were.
async fn tasks_return_to(before: usize) {
    assert!(comes(|| tasks() <= before).await, "{} tasks, and there were {before}", tasks());
}

/// Waits until something is so; false if it does not come.
async fn comes(mut is_so: impl FnMut() -> bool) -> bool {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok()
}
