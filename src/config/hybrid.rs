use std::{ops::RangeInclusive, time::Duration};

use super::{decode::Cursor, fields::Fields};

/// How a [hybrid](crate::selector) of two models is made. The keys stand under `backends`, beside the backends.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hybrid {
    /// Whether hybrids are refused; false.
    pub disable_hybrid_backend: bool,
    /// How often the first model is asked to reason, from 0 for never to 1 for always; 1.
    pub reasoning_injection_probability: f64,
    /// As long as the assistant has spoken less often than this, the first model always reasons, unless the probability
    /// is 0; 1.
    pub hybrid_reasoning_force_initial_turns: u64,
    /// Whether the reasoning is repeated as a last message of the assistant; false.
    pub hybrid_backend_repeat_messages: bool,
    /// How long the first model may take, its stream included; 60 s.
    pub hybrid_reasoning_model_timeout: Duration,
    /// How long the second model may take until its answer begins; 120 s.
    pub hybrid_execution_model_timeout: Duration,
    /// What happens when the first model fails.
    pub hybrid_on_reasoning_failure: OnReasoningFailure,
    /// Whether the first model also reasons about what a tool gave back; false.
    pub hybrid_reason_on_tool_turns: bool,
}

/// What happens when the model that is to reason fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReasoningFailure {
    /// The other model answers without.
    #[default]
    Continue,
    /// The failure is the answer.
    Fail,
}

impl OnReasoningFailure {
    /// The words for it.
    pub const WORDS: [(&str, Self); 2] = [("continue", Self::Continue), ("fail", Self::Fail)];
}

impl Default for Hybrid {
    fn default() -> Self {
        Self {
            disable_hybrid_backend: false,
            reasoning_injection_probability: 1.0,
            hybrid_reasoning_force_initial_turns: 1,
            hybrid_backend_repeat_messages: false,
            hybrid_reasoning_model_timeout: Duration::from_secs(60),
            hybrid_execution_model_timeout: Duration::from_secs(120),
            hybrid_on_reasoning_failure: OnReasoningFailure::Continue,
            hybrid_reason_on_tool_turns: false,
        }
    }
}

/// What `reasoning_injection_probability` may be.
const PROBABILITY: RangeInclusive<f64> = 0.0..=1.0;

impl Hybrid {
    /// Takes the keys out of `backends`.
    pub(super) fn decode(fields: &mut Fields<'_>) -> Self {
        let usual = Self::default();
        Self {
            disable_hybrid_backend: fields
                .optional("disable_hybrid_backend", Cursor::bool)
                .unwrap_or(usual.disable_hybrid_backend),
            reasoning_injection_probability: fields
                .optional("reasoning_injection_probability", |number| number.number(PROBABILITY))
                .unwrap_or(usual.reasoning_injection_probability),
            hybrid_reasoning_force_initial_turns: fields
                .optional("hybrid_reasoning_force_initial_turns", |turns| turns.integer(0..=u64::MAX))
                .unwrap_or(usual.hybrid_reasoning_force_initial_turns),
            hybrid_backend_repeat_messages: fields
                .optional("hybrid_backend_repeat_messages", Cursor::bool)
                .unwrap_or(usual.hybrid_backend_repeat_messages),
            hybrid_reasoning_model_timeout: fields
                .optional("hybrid_reasoning_model_timeout", Cursor::timeout)
                .unwrap_or(usual.hybrid_reasoning_model_timeout),
            hybrid_execution_model_timeout: fields
                .optional("hybrid_execution_model_timeout", Cursor::timeout)
                .unwrap_or(usual.hybrid_execution_model_timeout),
            hybrid_on_reasoning_failure: fields
                .optional("hybrid_on_reasoning_failure", |choice| choice.word(&OnReasoningFailure::WORDS))
                .unwrap_or(usual.hybrid_on_reasoning_failure),
            hybrid_reason_on_tool_turns: fields
                .optional("hybrid_reason_on_tool_turns", Cursor::bool)
                .unwrap_or(usual.hybrid_reason_on_tool_turns),
        }
    }

    /// Puts in what the environment and the command line say.
    pub(super) fn apply(&mut self, overrides: HybridOverrides) {
        fn set<T>(value: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *value = said;
            }
        }
        set(&mut self.disable_hybrid_backend, overrides.disable_hybrid_backend);
        set(&mut self.reasoning_injection_probability, overrides.reasoning_injection_probability);
        set(&mut self.hybrid_reasoning_force_initial_turns, overrides.hybrid_reasoning_force_initial_turns);
        set(&mut self.hybrid_backend_repeat_messages, overrides.hybrid_backend_repeat_messages);
        set(&mut self.hybrid_reasoning_model_timeout, overrides.hybrid_reasoning_model_timeout);
        set(&mut self.hybrid_execution_model_timeout, overrides.hybrid_execution_model_timeout);
        set(&mut self.hybrid_on_reasoning_failure, overrides.hybrid_on_reasoning_failure);
        set(&mut self.hybrid_reason_on_tool_turns, overrides.hybrid_reason_on_tool_turns);
    }
}

/// What the environment and the command line say of [`Hybrid`]s, by the same names; it goes before the file.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each is the field of `Hybrid` by the same name")]
pub struct HybridOverrides {
    pub disable_hybrid_backend: Option<bool>,
    /// From 0 to 1.
    pub reasoning_injection_probability: Option<f64>,
    pub hybrid_reasoning_force_initial_turns: Option<u64>,
    pub hybrid_backend_repeat_messages: Option<bool>,
    pub hybrid_reasoning_model_timeout: Option<Duration>,
    pub hybrid_execution_model_timeout: Option<Duration>,
    pub hybrid_on_reasoning_failure: Option<OnReasoningFailure>,
    pub hybrid_reason_on_tool_turns: Option<bool>,
}
