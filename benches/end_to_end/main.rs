//! The gateway beside a bare hyper proxy and nginx, under load, over sockets. See `docs/performance.md`.
//!
//! Every server is a process of its own: this program runs itself again as the provider, the bare proxy and the client.

mod bare;
mod case;
mod client;
mod idle;
mod instructions;
mod load;
mod measure;
mod mock;
mod options;
mod paced;
mod process;
mod report;
mod servers;

use std::{error::Error, process::ExitCode};

/// Whatever ends a measurement before its end.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments {
        ["mock"] => mock::run(),
        ["bare", provider] => bare::run(provider),
        ["load", address, case] => load::run(address, case),
        ["paced", address, streams, events] => paced::run(address, streams, events),
        ["idle", address, streams] => idle::run(address, streams),
        // `cargo bench` says so; a test run of all targets does not, and is no time for a load.
        _ if arguments.contains(&"--bench") => options::Options::read(&arguments).and_then(measure::run),
        _ => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
