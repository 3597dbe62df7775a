//! The YAML text as a tree of our own: entries keep their order, duplicate keys stay, and every node has a number by
//! which its place in the text can be found again.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt::{self, Formatter},
};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::Number;

use super::places::Search;

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
        let seed = Seed { source, numbers: &Cell::new(0), search: None, aim: Aim::Value };
        seed.deserialize(serde_yaml::Deserializer::from_str(text))
    }

    /// Where the nodes with these numbers start in the text, in bytes. The text is read once for all of them.
    pub(super) fn places(text: &str, wanted: HashSet<usize>) -> HashMap<usize, usize> {
        if wanted.is_empty() {
            return HashMap::new();
        }
        let search = Search::new(text, wanted);
        let seed = Seed { source: 0, numbers: &Cell::new(0), search: Some(&search), aim: Aim::PlaceBehind };
        if let Err(root) = seed.deserialize(serde_yaml::Deserializer::from_str(text)) {
            search.found(0, &root);
        }
        search.into_places()
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
    /// The places that a second reading is for.
    search: Option<&'a Search<'a>>,
    aim: Aim,
}

/// What a node is read for.
#[derive(Clone, Copy)]
enum Aim {
    Value,
    /// An error at its place, before anything of it is read.
    Place,
    /// An error at its place, when all of it has been read.
    PlaceBehind,
}

impl Seed<'_> {
    /// Reads the next node of a list or a mapping, and finds its place if that is asked for.
    fn next<E: Error>(self, mut read: impl FnMut(Self) -> Result<Option<Node>, E>) -> Result<Option<Node>, E> {
        let id = self.numbers.get();
        let mut read_for = |aim| read(Self { aim, ..self });
        let Some(search) = self.search.filter(|search| search.wants(id)) else { return read_for(Aim::Value) };
        // At the end of a list there is nothing to fail at: the number is that of a later node.
        let Err(here) = read_for(Aim::Place) else { return Ok(None) };
        if !search.is_alias(&here) {
            search.found(id, &here);
            return read_for(Aim::Value);
        }
        if let Err(target) = read_for(Aim::PlaceBehind) {
            search.found(id, &target);
        }
        Ok(Some(Node { source: self.source, id, value: Value::Null }))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if let Aim::Place = self.aim {
            match deserializer.deserialize_newtype_struct("", TooDeep)? {}
        }
        let id = self.numbers.get();
        self.numbers.set(id + 1);
        let value = deserializer.deserialize_any(Reader { seed: self })?;
        Ok(Node { source: self.source, id, value })
    }
}

/// Takes everything for one more newtype, which is a level and reads nothing, until the parser's limit of depth.
struct TooDeep;

impl<'de> Visitor<'de> for TooDeep {
    type Value = Infallible;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Infallible, D::Error> {
        deserializer.deserialize_newtype_struct("", self)
    }
}

struct Reader<'a> {
    seed: Seed<'a>,
}

impl Reader<'_> {
    /// All of the node has been read.
    fn end<E: Error>(&self, value: Value) -> Result<Value, E> {
        match self.seed.aim {
            Aim::Value => Ok(value),
            // The parser adds the place.
            Aim::Place | Aim::PlaceBehind => Err(E::custom("here")),
        }
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.end(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.end(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.end(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.end(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.end(Value::Number(value.into()))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        self.end(Value::UnusableNumber)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        self.end(Value::UnusableNumber)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.end(Number::from_f64(value).map_or(Value::UnusableNumber, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.end(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = self.seed.next(|seed| access.next_element_seed(seed))? {
            items.push(item);
        }
        self.end(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = self.seed.next(|seed| access.next_key_seed(seed))?
            && let Some(value) = self.seed.next(|seed| access.next_value_seed(seed).map(Some))?
        {
            entries.push((key, value));
        }
        self.end(Value::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        access.variant::<IgnoredAny>()?.1.newtype_variant::<IgnoredAny>()?;
        self.end(Value::Tagged)
    }
}
