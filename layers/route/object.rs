use std::{fmt, marker::PhantomData, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Reads a JSON object to its end, and hands the place of each value at its top level to `found` whose key is `wanted`.
///
/// Keys are compared as bytes, escapes resolved: like any string, they may have halves of surrogate pairs in them, which
/// no Rust string holds.
///
/// # Errors
///
/// What is wrong with the JSON; of the category `Data` if it is not an object.
pub(super) fn read_object<K>(
    body: &[u8],
    wanted: impl Fn(&[u8]) -> Option<K>,
    mut found: impl FnMut(K, Range<usize>),
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let span = |value: &RawValue| {
        // The value borrows from `body`, so the difference of the addresses is its place there.
        let start = value.get().as_ptr().addr() - body.as_ptr().addr();
        start..start + value.get().len()
    };
    json.deserialize_map(Fields { wanted, found: |key, value: &RawValue| found(key, span(value)), key: PhantomData })?;
    json.end()
}

/// The key of a field, if it is wanted.
struct Key<'a, W>(&'a W);

impl<'de, W: Fn(&[u8]) -> Option<K>, K> DeserializeSeed<'de> for Key<'_, W> {
    type Value = Option<K>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<K>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<W: Fn(&[u8]) -> Option<K>, K> Visitor<'_> for Key<'_, W> {
    type Value = Option<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Option<K>, E> {
        Ok((self.0)(key))
    }
}

struct Fields<W, F, K> {
    wanted: W,
    found: F,
    key: PhantomData<K>,
}

impl<'de, W, F, K> Visitor<'de> for Fields<W, F, K>
where
    W: Fn(&[u8]) -> Option<K>,
    F: FnMut(K, &'de RawValue),
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key(&self.wanted))? {
            match key {
                Some(key) => (self.found)(key, map.next_value::<&'de RawValue>()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
