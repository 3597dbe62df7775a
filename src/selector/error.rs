use std::{fmt, ops::Range};

use http::StatusCode;
use pointsman_layers::body::ErrorAnswer;

/// What is wrong with a model string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    message: String,
    span: Range<usize>,
    /// Counted from 1, in characters.
    character: usize,
    is_parameter: bool,
}

impl SelectorError {
    pub(crate) fn new(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let character = text[..span.start].chars().count() + 1;
        Self { message: message.into(), span, character, is_parameter: false }
    }

    pub(super) fn parameter(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { is_parameter: true, ..Self::new(text, span, message) }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is a parameter that is wrong, and not the model string around it.
    pub fn is_parameter(&self) -> bool {
        self.is_parameter
    }

    /// The place in the model string, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (character {} of the model)", self.message, self.character)
    }
}

impl std::error::Error for SelectorError {}

impl From<SelectorError> for ErrorAnswer {
    fn from(error: SelectorError) -> Self {
        let code = if error.is_parameter { "invalid_model_parameter" } else { "invalid_model_selector" };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string()).param("model")
    }
}
