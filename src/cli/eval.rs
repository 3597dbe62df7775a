use std::process::ExitCode;

use pointsman_layers::condition::Condition;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The condition, as it stands in a configuration.
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expression: String,
    /// What the provider's quota is.
    #[arg(long, value_name = "JSON", default_value = "null")]
    quota: String,
    /// How many errors of the provider are counted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    error_count: u64,
}

/// Prints the value of a condition and how it comes about: exit status 0 for true, 1 for false, 2 for an error.
pub(super) fn run(args: &Args) -> ExitCode {
    match evaluate(args) {
        Ok(value) => ExitCode::from(u8::from(!value)),
        Err(message) => {
            complain!("{message}");
            ExitCode::from(2)
        }
    }
}

fn evaluate(args: &Args) -> Result<bool, String> {
    let condition: Condition = args.expression.parse().map_err(|error| {
        let error: pointsman_layers::condition::ParseError = error;
        error.render()
    })?;
    let quota: Value =
        serde_json::from_str(&args.quota).map_err(|error| format!("error: --quota is not valid JSON: {error}"))?;
    let value = condition.evaluate(&quota, args.error_count).map_err(|error| format!("error: {error}"));
    let explanation = condition.explain(&quota, args.error_count);
    match &value {
        Ok(value) => say!("{value}\n\n{explanation}"),
        Err(_) => say!("{explanation}\n"),
    }
    value
}
