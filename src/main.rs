//! The `pointsman` binary: arguments in, subcommand out.

mod cli;

use std::process::ExitCode;

/// Requests and answers make and drop many small things, on all threads. A thread of its own gives back to the system what
/// was free for some seconds, however quiet the gateway is then.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
