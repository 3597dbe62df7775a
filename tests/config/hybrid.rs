//! How hybrids of two models are made: the keys under `backends`, and what goes before them.

use std::time::Duration;

use pointsman::config::{HybridOverrides, OnReasoningFailure, Overrides, ProcessEnvironment};

use crate::support::{config, errors};

const ALL: &str = "
backends:
  local: { type: ollama }
  disable_hybrid_backend: true
  reasoning_injection_probability: 0.25
  hybrid_reasoning_force_initial_turns: 4
  hybrid_backend_repeat_messages: true
  hybrid_reasoning_model_timeout: 90
  hybrid_execution_model_timeout: 2m
  hybrid_on_reasoning_failure: fail
  hybrid_reason_on_tool_turns: true
";

#[test]
fn the_keys_stand_beside_the_backends() {
    let config = config(ALL);
    assert_eq!(config.backends.len(), 1);
    let hybrid = config.hybrid;
    assert!(hybrid.disable_hybrid_backend && hybrid.hybrid_backend_repeat_messages);
    assert!(hybrid.hybrid_reason_on_tool_turns);
    assert_eq!(hybrid.reasoning_injection_probability, 0.25);
    assert_eq!(hybrid.hybrid_reasoning_force_initial_turns, 4);
    assert_eq!(hybrid.hybrid_reasoning_model_timeout, Duration::from_secs(90));
    assert_eq!(hybrid.hybrid_execution_model_timeout, Duration::from_secs(120));
    assert_eq!(hybrid.hybrid_on_reasoning_failure, OnReasoningFailure::Fail);
}

#[test]
fn without_them_hybrids_work() {
    let hybrid = config("backends: { local: { type: ollama } }").hybrid;
    assert!(!hybrid.disable_hybrid_backend && !hybrid.hybrid_backend_repeat_messages);
    assert!(!hybrid.hybrid_reason_on_tool_turns);
    assert_eq!(hybrid.reasoning_injection_probability, 1.0);
    assert_eq!(hybrid.hybrid_reasoning_force_initial_turns, 1);
    assert_eq!(hybrid.hybrid_reasoning_model_timeout, Duration::from_secs(60));
    assert_eq!(hybrid.hybrid_execution_model_timeout, Duration::from_secs(120));
    assert_eq!(hybrid.hybrid_on_reasoning_failure, OnReasoningFailure::Continue);
}

#[test]
fn each_mistake_is_told_with_its_place() {
    assert_eq!(
        errors(
            "
backends:
  disable_hybrid_backend: \"yes\"
  reasoning_injection_probability: 1.5
  hybrid_reasoning_force_initial_turns: -1
  hybrid_backend_repeat_messages: 1
  hybrid_reasoning_model_timeout: soon
  hybrid_execution_model_timeout: 0
  hybrid_on_reasoning_failure: fial
"
        ),
        [
            "3:27: `disable_hybrid_backend`: expected a boolean, found a string (write `true` or `false`, without quotes)",
            "4:36: `reasoning_injection_probability`: expected a number from 0 to 1",
            "5:41: `hybrid_reasoning_force_initial_turns`: expected a whole number of at least 0",
            "6:35: `hybrid_backend_repeat_messages`: expected a boolean, found a number",
            "7:35: `hybrid_reasoning_model_timeout` is not a duration (write `10s`, `1m30s`, `500ms` or a number of seconds)",
            "8:35: `hybrid_execution_model_timeout` leaves no time at all (0 is not endless; write `24h` for that)",
            "9:32: `hybrid_on_reasoning_failure`: there is no such choice (did you mean `fail`?)",
        ]
    );
    for number in ["\"0.5\"", ".nan", "-0.1", "[]", "often"] {
        let wrong = errors(&format!("backends: {{ reasoning_injection_probability: {number} }}"));
        assert_eq!(wrong.len(), 1, "{number}: {wrong:?}");
    }
}

#[test]
fn the_command_line_goes_before_the_file() {
    let mut config = config(ALL);
    let hybrid = HybridOverrides {
        disable_hybrid_backend: Some(false),
        reasoning_injection_probability: Some(0.75),
        hybrid_reasoning_model_timeout: Some(Duration::from_secs(5)),
        ..HybridOverrides::default()
    };
    config.apply(Overrides { hybrid, ..Overrides::default() }, &ProcessEnvironment).unwrap();
    assert!(!config.hybrid.disable_hybrid_backend);
    assert_eq!(config.hybrid.reasoning_injection_probability, 0.75);
    assert_eq!(config.hybrid.hybrid_reasoning_model_timeout, Duration::from_secs(5));
    // What it does not speak of stays.
    assert_eq!(config.hybrid.hybrid_reasoning_force_initial_turns, 4);
    assert_eq!(config.hybrid.hybrid_execution_model_timeout, Duration::from_secs(120));
}
