use std::time::Duration;

use pointsman::config::{HybridOverrides, OnReasoningFailure};

/// How hybrids of two models are made; the keys of the same names under `backends`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Hybrids of two models")]
pub(super) struct HybridArgs {
    /// Refuse hybrids.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "POINTSMAN_DISABLE_HYBRID_BACKEND", value_parser = clap::builder::BoolishValueParser::new())]
    disable_hybrid_backend: Option<bool>,
    /// How often the first model reasons, from 0 for never to 1 for always [default: 1].
    #[arg(long, value_name = "NUMBER", env = "POINTSMAN_REASONING_INJECTION_PROBABILITY", value_parser = probability)]
    reasoning_injection_probability: Option<f64>,
    /// The turns of a conversation, from the first, in which the first model always reasons [default: 1].
    #[arg(long, value_name = "TURNS", env = "POINTSMAN_HYBRID_REASONING_FORCE_INITIAL_TURNS")]
    hybrid_reasoning_force_initial_turns: Option<u64>,
    /// Repeat the reasoning as a last message of the assistant.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "POINTSMAN_HYBRID_BACKEND_REPEAT_MESSAGES", value_parser = clap::builder::BoolishValueParser::new())]
    hybrid_backend_repeat_messages: Option<bool>,
    /// How long the first model may take in all [default: 60s].
    #[arg(long, value_name = "TIME", env = "POINTSMAN_HYBRID_REASONING_MODEL_TIMEOUT", value_parser = timeout)]
    hybrid_reasoning_model_timeout: Option<Duration>,
    /// How long the second model may take until its answer begins [default: 120s].
    #[arg(long, value_name = "TIME", env = "POINTSMAN_HYBRID_EXECUTION_MODEL_TIMEOUT", value_parser = timeout)]
    hybrid_execution_model_timeout: Option<Duration>,
    /// What to do when the first model fails: `continue` without it, or `fail` [default: continue].
    #[arg(long, value_name = "WORD", env = "POINTSMAN_HYBRID_ON_REASONING_FAILURE", value_parser = on_failure)]
    hybrid_on_reasoning_failure: Option<OnReasoningFailure>,
    /// Let the first model reason about what a tool gave back, too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        env = "POINTSMAN_HYBRID_REASON_ON_TOOL_TURNS", value_parser = clap::builder::BoolishValueParser::new())]
    hybrid_reason_on_tool_turns: Option<bool>,
}

impl From<HybridArgs> for HybridOverrides {
    fn from(args: HybridArgs) -> Self {
        Self {
            disable_hybrid_backend: args.disable_hybrid_backend,
            reasoning_injection_probability: args.reasoning_injection_probability,
            hybrid_reasoning_force_initial_turns: args.hybrid_reasoning_force_initial_turns,
            hybrid_backend_repeat_messages: args.hybrid_backend_repeat_messages,
            hybrid_reasoning_model_timeout: args.hybrid_reasoning_model_timeout,
            hybrid_execution_model_timeout: args.hybrid_execution_model_timeout,
            hybrid_on_reasoning_failure: args.hybrid_on_reasoning_failure,
            hybrid_reason_on_tool_turns: args.hybrid_reason_on_tool_turns,
        }
    }
}

fn probability(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or("expected a number from 0 to 1")
}

/// As in the configuration: `90s`, `1m30s`, or a number of seconds.
fn timeout(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|time| !time.is_zero());
    time.ok_or("expected a time such as `90s` or `1m30s`")
}

fn on_failure(text: &str) -> Result<OnReasoningFailure, &'static str> {
    let word = OnReasoningFailure::WORDS.iter().find(|(word, _)| *word == text);
    word.map(|(_, meaning)| *meaning).ok_or("expected `continue` or `fail`")
}
