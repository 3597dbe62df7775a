//! The YAML text as a tree of our own: entries keep their order, duplicate keys stay, and every node has a number by
//! which its place in the text can be found again.

use std::{
    cell::Cell,
    fmt::{self, Formatter},
};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::Number;

/// A node of the tree, a mapping's keys included.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Which text it was read from: 0 is the configuration file, then come the instance files.
    pub(super) source: usize,
    /// The node's number in its text: they are given out in the order of reading.
    pub(super) id: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    /// `.nan`, `.inf` or an integer past 64 bits.
    UnusableNumber,
    String(String),
    Seq(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// Anything with a tag of its own, as in `!env NAME`.
    Tagged,
}

impl Node {
    /// Reads the tree of the text that has this number.
    pub(super) fn parse(text: &str, source: usize) -> Result<Self, serde_yaml::Error> {
        let seed = Seed { source, numbers: &Cell::new(0), stop_at: None };
        seed.deserialize(serde_yaml::Deserializer::from_str(text))
    }

    /// Where the node with this number starts in the text, in bytes.
    ///
    /// The parser tells the place of nothing but errors. So the text is read once more, the same way, and the reading
    /// fails at the node. That is dear, and only ever done for a diagnostic.
    pub(super) fn locate(text: &str, id: usize) -> Option<usize> {
        let seed = Seed { source: 0, numbers: &Cell::new(0), stop_at: Some(id) };
        let stopped = seed.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        Some(stopped.location()?.index())
    }

    /// What the node is, in words: `a string`.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) | Value::UnusableNumber => "a number",
            Value::String(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Tagged => "a tagged value",
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    source: usize,
    numbers: &'a Cell<usize>,
    stop_at: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let id = self.numbers.get();
        self.numbers.set(id + 1);
        let value = deserializer.deserialize_any(Reader { seed: self, id })?;
        Ok(Node { source: self.source, id, value })
    }
}

struct Reader<'a> {
    seed: Seed<'a>,
    id: usize,
}

impl Reader<'_> {
    /// Fails at the node that is looked for; the parser adds the place of the node to the error.
    fn found<E: Error>(&self, value: Value) -> Result<Value, E> {
        if self.seed.stop_at == Some(self.id) { Err(E::custom("here")) } else { Ok(value) }
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.found(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.found(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.found(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.found(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.found(Value::Number(value.into()))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        self.found(Value::UnusableNumber)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        self.found(Value::UnusableNumber)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.found(Number::from_f64(value).map_or(Value::UnusableNumber, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.found(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.found(Value::Null)?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.seed)? {
            items.push(item);
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.found(Value::Null)?;
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(self.seed)? {
            entries.push((key, access.next_value_seed(self.seed)?));
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        self.found(Value::Null)?;
        access.variant::<IgnoredAny>()?.1.newtype_variant::<IgnoredAny>()?;
        Ok(Value::Tagged)
    }
}
