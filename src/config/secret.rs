use std::fmt::{self, Debug, Formatter};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

/// A credential. It is wiped from memory when it is dropped, and nothing but [`expose`](Self::expose) shows it.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Keeps a credential.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into().into())
    }

    /// The credential itself, for the wire.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Says `[redacted]`.
impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Values that are kept as they were written, references resolved. `Debug` shows the keys alone, for there may be
/// credentials among the values.
#[derive(Clone, Default, PartialEq)]
pub struct Raw(pub Map<String, Value>);

impl std::ops::Deref for Raw {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl Debug for Raw {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::zeroize::ZeroizeOnDrop;

    use super::*;

    #[test]
    fn a_secret_is_wiped_when_it_is_dropped() {
        fn is_wiped(_: &impl ZeroizeOnDrop) {}

        let secret = Secret::new("key");
        is_wiped(&secret.0);
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
}
