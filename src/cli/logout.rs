use std::process::ExitCode;

use pointsman::login::Login;
use pointsman_layers::oauth::Removed;

use super::{ConfigArg, Outcome, load_with_backend, log, runtime};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the backend.
    backend: String,
    #[command(flatten)]
    config: ConfigArg,
}

/// Takes the tokens out of the backend's credential file.
pub(super) fn run(args: &Args) -> Outcome {
    log::init("warn");
    let config = load_with_backend(&args.config, &args.backend)?;
    runtime()?.block_on(async {
        let login = Login::find(&config, &args.backend).map_err(|error| format!("error: {error}"))?;
        let path = login.file().path().display();
        let removed = login.file().remove().await;
        match removed.map_err(|error| format!("error: the tokens could not be removed from {path}: {error}"))? {
            Removed::Nothing => say!("there is nothing to do: no tokens in {path}"),
            Removed::Tokens => say!("logged out: the tokens are removed from {path}; what else it holds is kept"),
            Removed::File => say!("logged out: {path} is deleted, for nothing but the tokens was in it"),
        }
        Ok(ExitCode::SUCCESS)
    })
}
