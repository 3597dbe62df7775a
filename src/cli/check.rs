use std::process::ExitCode;

use super::{ConfigArg, Outcome, load};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Prints what is wrong with a configuration; exit status 1 if something is.
pub(super) fn run(args: &Args) -> Outcome {
    use std::io::IsTerminal as _;

    let path = args.config.find()?;
    let loaded = load(&path)?;
    if !loaded.warnings.is_empty() {
        complain!("{}\n", loaded.warnings.render(std::io::stderr().is_terminal()));
    }
    let (routes, warnings) = (loaded.config.routes.len(), loaded.warnings.len());
    say!("{}: {}, {}", path.display(), count(routes, "route"), count(warnings, "warning"));
    for route in &loaded.config.routes {
        let candidates = route.candidates.iter().map(|candidate| format!("{}/{}", candidate.backend, candidate.model));
        say!("  {} -> {}", route.name, candidates.collect::<Vec<_>>().join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
