//! Finds the tags by which models set their reasoning apart, in text that comes in pieces.

/// A tag, opening or closing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) text: &'static str,
    /// The same for an opening tag and the one that closes it.
    pub(super) name: &'static str,
    pub(super) opens: bool,
}

const fn opening(text: &'static str, name: &'static str) -> Tag {
    Tag { text, name, opens: true }
}

const fn closing(text: &'static str, name: &'static str) -> Tag {
    Tag { text, name, opens: false }
}

static TAGS: [Tag; 8] = [
    opening("<think>", "think"),
    opening("<thinking>", "thinking"),
    opening("<reasoning>", "reasoning"),
    opening("<reason>", "reason"),
    closing("</think>", "think"),
    closing("</thinking>", "thinking"),
    closing("</reasoning>", "reasoning"),
    closing("</reason>", "reason"),
];

/// A part of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Tag(&'static Tag),
}

impl<'a> Piece<'a> {
    pub(super) fn text(&self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Tag(tag) => tag.text,
        }
    }
}

/// Tells tags from text, wherever the pieces were cut.
#[derive(Debug, Default)]
pub(super) struct TagReader {
    /// The beginning of what may become a tag.
    held: String,
}

impl TagReader {
    /// Hands on what `text` holds, in order. What may be the first half of a tag waits for the next piece.
    pub(super) fn read(&mut self, text: &str, mut found: impl FnMut(Piece<'_>)) {
        self.held.push_str(text);
        let text = std::mem::take(&mut self.held);
        let mut rest = &text[..];
        while let Some(start) = rest.find('<') {
            let (before, tail) = rest.split_at(start);
            if !before.is_empty() {
                found(Piece::Text(before));
            }
            if let Some(tag) = TAGS.iter().find(|tag| tail.starts_with(tag.text)) {
                found(Piece::Tag(tag));
                rest = &tail[tag.text.len()..];
            } else if TAGS.iter().any(|tag| tag.text.starts_with(tail)) {
                self.held = tail.to_owned();
                return;
            } else {
                found(Piece::Text("<"));
                rest = &tail[1..];
            }
        }
        if !rest.is_empty() {
            found(Piece::Text(rest));
        }
    }

    /// What is left at the end: text after all.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found, with neighbouring texts as one; tags are in brackets.
    fn found<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut reader = TagReader::default();
        let mut all: Vec<String> = Vec::new();
        let mut text = String::new();
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Text(more) => text.push_str(more),
            Piece::Tag(tag) => {
                all.push(std::mem::take(&mut text));
                all.push(format!("[{}]", tag.text));
            }
        };
        for piece in pieces {
            reader.read(piece, &mut take);
        }
        take(Piece::Text(&reader.finish()));
        all.push(text);
        all
    }

    #[test]
    fn tags_are_found_and_the_rest_is_text() {
        let expected =
            ["a < b ", "[<think>]", "<thinker>x</thinks", "[</think>]", "<<", "[<reasoning>]", "<Think></", ""];
        let expected: Vec<_> = expected.iter().filter(|piece| !piece.is_empty()).map(ToString::to_string).collect();
        assert_eq!(found(["a < b <think><thinker>x</thinks</think><<<reasoning><Think></"]), expected);
        for tag in &TAGS {
            assert_eq!(found([tag.text]), [String::new(), format!("[{}]", tag.text), String::new()]);
        }
    }

    proptest! {
        #[test]
        fn where_the_text_is_cut_makes_no_difference(
            parts in prop::collection::vec(
                prop_oneof![
                    "[<>/é a-z]{0,6}",
                    (0..TAGS.len()).prop_map(|index| TAGS[index].text.to_owned()),
                ],
                0..8,
            ),
        ) {
            let text = parts.concat();
            let one_by_one: Vec<String> = text.chars().map(String::from).collect();
            prop_assert_eq!(found([&text[..]]), found(one_by_one.iter().map(String::as_str)));
            let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            for cut in cuts {
                prop_assert_eq!(found([&text[..cut], &text[cut..]]), found([&text[..]]));
            }
        }
    }
}
