//! Where nodes start in their text.
//!
//! The parser tells the place of nothing but errors. So the text is read once more, the same way, and the reading fails
//! wherever a place is asked for, in one of two ways after which it can go on:
//!
//! - At a node, the parser's limit of depth is made to fail, by which nothing is read.
//! - An alias is read to its end and fails there: the error is at what it stands for, and the parser behind the alias.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt::Display,
    iter,
};

/// The nodes of one text whose places are asked for.
pub(super) struct Search<'t> {
    text: &'t str,
    /// Where the parser's lines start.
    lines: Vec<usize>,
    wanted: HashSet<usize>,
    found: RefCell<HashMap<usize, usize>>,
}

impl<'t> Search<'t> {
    pub(super) fn new(text: &'t str, wanted: HashSet<usize>) -> Self {
        let is_break = |c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let ends = text.char_indices().filter(|&(at, c)| is_break(c) && !text[at..].starts_with("\r\n"));
        let lines = iter::once(0).chain(ends.map(|(at, c)| at + c.len_utf8())).collect();
        Self { text, lines, wanted, found: RefCell::default() }
    }

    /// Whether the place of the node with this number is asked for.
    pub(super) fn wants(&self, id: usize) -> bool {
        self.wanted.contains(&id)
    }

    /// The node with this number is where the error says.
    pub(super) fn found(&self, id: usize, error: &impl Display) {
        self.found.borrow_mut().insert(id, self.place(error));
    }

    /// Whether there is an alias where the error says.
    pub(super) fn is_alias(&self, error: &impl Display) -> bool {
        self.text[self.place(error)..].starts_with('*')
    }

    /// Where each node starts, in bytes.
    pub(super) fn into_places(self) -> HashMap<usize, usize> {
        self.found.into_inner()
    }

    /// The place that ends the error's text, the start of the text if there is none.
    fn place(&self, error: &impl Display) -> usize {
        // Inside of the parser its errors are of no known type.
        let told = error.to_string();
        let place = told.rsplit_once(" at line ").and_then(|(_, place)| place.split_once(" column "));
        let Some((Ok(line), Ok(column))) = place.map(|(line, column)| (line.parse(), column.parse())) else { return 0 };
        self.byte(line, column).unwrap_or(0)
    }

    fn byte(&self, line: usize, column: usize) -> Option<usize> {
        let start = *self.lines.get(line.checked_sub(1)?)?;
        let (rest, before) = (&self.text[start..], column.checked_sub(1)?);
        let length = match rest.get(..before).filter(|before| before.is_ascii()) {
            Some(before) => before.len(),
            None => rest.char_indices().nth(before).map_or(rest.len(), |(at, _)| at),
        };
        Some(start + length)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use serde::de::{
        DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
    };

    use super::super::node::Node;

    /// Reads the text as far as to the node with this number and fails there: so each place takes a reading of its own.
    fn place_by_itself(text: &str, id: usize) -> Option<usize> {
        let reader = Reader { left: &Cell::new(id) };
        Some(reader.deserialize(serde_yaml::Deserializer::from_str(text)).err()?.location()?.index())
    }

    #[derive(Clone, Copy)]
    struct Reader<'a> {
        left: &'a Cell<usize>,
    }

    impl Reader<'_> {
        fn node<E: Error>(self) -> Result<(), E> {
            match self.left.get().checked_sub(1) {
                None => Err(E::custom("here")),
                Some(left) => {
                    self.left.set(left);
                    Ok(())
                }
            }
        }
    }

    impl<'de> DeserializeSeed<'de> for Reader<'_> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Reader<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a YAML value")
        }

        fn visit_unit<E: Error>(self) -> Result<(), E> {
            self.node()
        }

        fn visit_none<E: Error>(self) -> Result<(), E> {
            self.node()
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
            self.node()
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
            self.node()
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
            self.node()
        }

        fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
            self.node()
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
            self.node()
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
            self.node()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
            self.node()?;
            while access.next_element_seed(self)?.is_some() {}
            Ok(())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
            self.node()?;
            while access.next_key_seed(self)?.is_some() {
                access.next_value_seed(self)?;
            }
            Ok(())
        }

        fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<(), A::Error> {
            self.node()?;
            access.variant::<IgnoredAny>()?.1.newtype_variant::<IgnoredAny>()?;
            Ok(())
        }
    }

    /// YAML in all styles, most of it valid; `&a` is the first node, so that an alias may stand anywhere behind it.
    fn yaml() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            "[a-zé]{1,3}( [a-z]{1,3})?",
            "-?[0-9]{1,3}(\\.[0-9])?",
            Just(String::new()),
            prop::sample::select(vec![
                "~",
                "true",
                "\"x\\ty\"",
                "\"a\u{2028}b\"",
                "'it''s'",
                "'two\n\n     lines'",
                "[]",
                "{}",
                "*a",
                "[*a, *a]",
                "!tag x",
                "!tag [a, {b: c}]",
                "&b x",
                "&a {b: [c]}",
                "*b",
                "&b !tag y",
                "!!str 1",
                "99999999999999999999",
            ])
            .prop_map(str::to_owned),
        ];
        let flow = scalar.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|entries| {
                    let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                    format!("&a {{ {} }}", entries.join(", "))
                }),
            ]
        });
        // Blocks are lists of lines; what contains one indents it.
        let block = flow.prop_map(|flow| vec![format!(" {flow}")]).prop_recursive(4, 24, 4, |inner| {
            let property = prop::sample::select(vec!["", "", " &a", " &b", " !tag", " # c", " # é: [{"]);
            let entry = (
                prop::sample::select(vec!["-", "- -", "k:", "é l:", "1:", "? k\n:", "? [p, {q: *a}]\n:"]),
                property,
                inner,
            );
            (any::<bool>(), prop::collection::vec(entry, 1..4)).prop_map(|(list, entries)| {
                let mut lines = vec![String::new()];
                for (head, property, below) in entries.iter().filter(|(head, ..)| head.starts_with('-') == list) {
                    match &below[..] {
                        [line] => lines.extend(format!("{head}{line}").lines().map(str::to_owned)),
                        [_, more @ ..] => {
                            lines.extend(format!("{head}{property}").lines().map(str::to_owned));
                            lines.extend(more.iter().map(|line| format!("  {line}")));
                        }
                        [] => {}
                    }
                }
                lines
            })
        });
        let line_end = prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", " # é\n"]);
        ("(# é\n|--- ?)?", prop::collection::vec(block, 1..4), line_end).prop_map(|(start, blocks, line_end)| {
            let mut text = format!("{start}- &a first{line_end}");
            for block in blocks {
                let first = if block.len() == 1 { block[0].as_str() } else { "" };
                text += &format!("-{first}{line_end}");
                text.extend(block.iter().skip(1).map(|line| format!("  {line}{line_end}")));
            }
            text
        })
    }

    fn nodes(text: &str) -> usize {
        (0..).take_while(|id| place_by_itself(text, *id).is_some()).count()
    }

    proptest! {
        #[test]
        fn places_are_those_that_a_reading_for_each_finds(text in yaml(), wanted in any::<[bool; 16]>()) {
            prop_assume!(Node::parse(&text, 0).is_ok());
            let all = 0..nodes(&text);
            let wanted: Vec<usize> = all.filter(|id| wanted[id % wanted.len()]).collect();
            let places = Node::places(&text, wanted.iter().copied().collect());
            for id in wanted {
                prop_assert_eq!(places.get(&id).copied(), place_by_itself(&text, id), "node {}", id);
            }
        }
    }
}
