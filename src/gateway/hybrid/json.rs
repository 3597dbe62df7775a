//! Places in JSON text, so that a part of it can be changed and the rest stays byte for byte.

use std::{fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A field of an object, as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// The key, quotes included.
    key: &'a str,
    pub(super) value: &'a str,
}

impl<'a> Field<'a> {
    pub(super) fn is(&self, name: &str) -> bool {
        let bare = &self.key[1..self.key.len() - 1];
        bare == name || (bare.contains('\\') && string(self.key).as_deref() == Some(name))
    }

    /// Key and value, and what is between them.
    pub(super) fn text(&self, object: &'a str) -> &'a str {
        &object[place(object, self.key).start..place(object, self.value).end]
    }
}

/// The fields of an object in order; `None` if `text` is none.
pub(super) fn fields(text: &str) -> Option<Vec<Field<'_>>> {
    serde_json::from_str::<Fields<'_>>(text).ok().map(|fields| fields.0)
}

/// The value of a field; the last one, as most readers have it, if there are several.
pub(super) fn get<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    fields(object)?.into_iter().rev().find(|field| field.is(name)).map(|field| field.value)
}

/// The items of a list; `None` if `text` is none.
pub(super) fn items(text: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// The text that a JSON string stands for.
pub(super) fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serializes")
}

/// `text` as it stands in a JSON string, without the quotes.
pub(super) fn escaped(text: &str) -> String {
    let quoted = quoted(text);
    quoted[1..quoted.len() - 1].to_owned()
}

/// Where `part`, a slice of `whole`, stands in it.
pub(super) fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

struct Fields<'a>(Vec<Field<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    fields.push(Field { key: key.get(), value: value.get() });
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_taken_apart_as_it_is_written() {
        let object = r#" { "a" : 1e400, "\ud83d":[ ], "caf\u00e9": {"a": "\ud83d"} , "a":"x" } "#;
        let fields = fields(object).expect("an object");
        let values: Vec<_> = fields.iter().map(|field| field.value).collect();
        assert_eq!(values, ["1e400", "[ ]", r#"{"a": "\ud83d"}"#, "\"x\""]);
        assert!(fields[2].is("café") && fields[0].is("a") && !fields[1].is("a"));
        assert_eq!(fields[0].text(object), r#""a" : 1e400"#);
        assert_eq!(get(object, "a"), Some("\"x\""));
        assert_eq!(&object[place(object, fields[1].value)], "[ ]");
        assert!(super::fields("[1]").is_none() && super::fields("{").is_none());
    }

    #[test]
    fn a_list_is_taken_apart_as_it_is_written() {
        assert_eq!(items(r#"[ 1 , {"a": [2]},"x"]"#), Some(vec!["1", r#"{"a": [2]}"#, "\"x\""]));
        assert_eq!(items("{}"), None);
    }
}
