//! The `pointsman` binary: arguments in, subcommand out.

mod cli;

use std::process::ExitCode;

/// Requests and answers make and drop many small things, on all threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
