//! To be written.

/// Handle.
#[derive(Clone, Debug)]
pub struct QuotaHandle;
