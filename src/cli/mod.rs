//! The command line: one file for each subcommand.

/// Prints a line. A reader that has seen enough, such as `head`, is no failure, and no reason to panic.
macro_rules! say {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($what)*);
    }};
}

/// The same for what goes wrong.
macro_rules! complain {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($what)*);
    }};
}

mod check;
mod credentials;
mod demo;
mod eval;
mod explain;
mod files;
mod hybrid;
mod log;
mod login;
mod logout;
mod providers;
mod serve;
mod signals;
mod words;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use pointsman::{
    Config,
    config::{Loaded, ProcessEnvironment},
    provider::presets,
};

/// A gateway for language-model requests: named models go to ordered providers, each behind a condition.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a subcommand, the gateway is served.
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway (the default).
    Serve(serve::Args),
    /// Try it without a key, an account or a network.
    Demo(demo::Args),
    /// Check a configuration and say what is wrong with it, and where.
    Check(check::Args),
    /// List the providers that are known by name, or show one of them.
    Providers(providers::Args),
    /// Evaluate a condition and show how its value comes about.
    Eval(eval::Args),
    /// Show what a model string leads to, and what the gates on the way say.
    Explain(explain::Args),
    /// Log in to a backend's provider, in a browser on this device or another one.
    Login(login::Args),
    /// Remove a backend's tokens from this machine.
    Logout(logout::Args),
    /// Show how the backends' logins stand; never a token.
    Credentials(credentials::Args),
}

/// A configuration file, for the subcommands that read one.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration; without it, the first of: ./config.yaml, $XDG_CONFIG_HOME/pointsman/config.yaml,
    /// ~/.config/g4f/cookies/config.yaml, ./har_and_cookies/config.yaml.
    #[arg(long, short, value_name = "FILE", env = "POINTSMAN_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    /// The file to read: the one that was named, or the first that is there.
    fn find(&self) -> Result<PathBuf, String> {
        match &self.config {
            Some(path) => Ok(path.clone()),
            None => Config::discover().map_err(|error| error.to_string()),
        }
    }
}

/// Reads a configuration; what is wrong with it is the error, ready to be shown.
fn load(path: &std::path::Path) -> Result<Loaded, String> {
    use std::io::IsTerminal as _;

    Config::load(path).map_err(|diagnostics| diagnostics.render(std::io::stderr().is_terminal()))
}

/// The configuration with the backend that the arguments name, which may be a preset that it does not mention. Without
/// a file, there are the presets.
fn load_with_backend(config: &ConfigArg, backend: &str) -> Result<Config, String> {
    let mut loaded = match config.find() {
        Err(_) if config.config.is_none() => Config::default(),
        path => load(&path?)?.config,
    };
    match loaded.backend_or_preset(backend, &ProcessEnvironment) {
        Err(reason) if presets::find_ignoring_case(backend).is_some() => Err(format!("error: {reason}")),
        // Whoever looks for the backend says what is wrong with the name.
        _ => Ok(loaded),
    }
}

/// What the process ends with: a status, or a message for standard error and the status that stands for failure.
type Outcome = Result<ExitCode, String>;

/// Runs the subcommand that the arguments name.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Providers(args) => providers::run(&args),
        Command::Eval(args) => return eval::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Login(args) => login::run(&args),
        Command::Logout(args) => logout::run(&args),
        Command::Credentials(args) => credentials::run(&args),
    };
    outcome.unwrap_or_else(|message| {
        complain!("{message}");
        ExitCode::FAILURE
    })
}

/// A runtime for the subcommands that use the network or wait.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Runtime::new().map_err(|error| format!("error: the runtime could not be started: {error}"))
}
