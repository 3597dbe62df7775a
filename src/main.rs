//! The `pointsman` binary: arguments in, subcommand out.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
