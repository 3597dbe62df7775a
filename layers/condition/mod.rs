//! To be written.

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition;
