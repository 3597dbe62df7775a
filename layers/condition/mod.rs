//! To be written.

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition;

/// x
#[derive(Clone, Copy, Debug, Default)]
pub enum OnUnknown {
    /// z
    #[default]
    Zero,
}
