//! The parts of the gateway, each by itself, and all layers over a provider in memory: times by criterion, and before
//! them how often each allocates. `cargo bench --bench micro`; a word behind `--` picks those that have it in the name.

mod body;
mod condition;
mod error_window;
mod harness;
mod layers;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // `cargo bench` says so; a test run of all targets does not, and is no time for a load.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // The layers ask for the time and make timers, without ever waiting.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    condition::benches(&mut criterion);
    body::benches(&mut criterion);
    error_window::benches(&mut criterion);
    layers::benches(&mut criterion);
    criterion.final_summary();
}
