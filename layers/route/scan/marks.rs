use fearless_simd::{Level, dispatch, mask8x64, prelude::*, u8x16, u8x64};

/// How much is looked at in one step: four vectors.
const STEP: usize = 4 * VECTOR;
const VECTOR: usize = 64;

/// What may spell a key `model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// `"model"`, as it is nearly always written. Inside of a string, its quotes have backslashes before them.
    Plain,
    /// `\u006`, the start of an escape for any of its letters.
    Escape,
}

/// What there is of marks in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Marks {
    #[default]
    Nothing,
    /// A plain one alone, at this place. Every request carries it about, so it is small.
    Once(u32),
    /// Anything else; or one may lie across pieces of the body.
    Unclear,
}

impl Mark {
    fn at_start_of(text: &[u8]) -> Option<Self> {
        match text {
            [b'"', b'm', b'o', b'd', b'e', b'l', b'"', ..] => Some(Self::Plain),
            [b'\\', b'u', b'0', b'0', b'6', ..] => Some(Self::Escape),
            _ => None,
        }
    }
}

/// A search for marks in a body that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MarkSearch {
    marks: Marks,
    /// How much was searched.
    length: usize,
    /// The end of it; `None` if a piece is so short that a mark might reach across all of it.
    end: Option<[u8; SIDE]>,
}

/// A byte less than a mark has: so much of it is on either side of a seam at the most.
const SIDE: usize = 6;

impl MarkSearch {
    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    /// Goes on with the next piece.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        if self.marks == Marks::Unclear {
            return;
        }
        if self.length > 0 && self.may_reach_into(piece) {
            self.marks = Marks::Unclear;
        } else if let Some((place, mark)) = next_mark(piece, 0) {
            let is_alone = mark == Mark::Plain && self.marks == Marks::Nothing && next_mark(piece, place + 1).is_none();
            let place = u32::try_from(self.length + place).ok().filter(|_| is_alone);
            self.marks = place.map_or(Marks::Unclear, Marks::Once);
        }
        self.end = piece.last_chunk().copied();
        self.length += piece.len();
    }

    /// Whether a mark may start in what was read, and end in this.
    fn may_reach_into(&self, piece: &[u8]) -> bool {
        let Some(end) = self.end else { return true };
        let piece = &piece[..piece.len().min(SIDE)];
        let mut seam = [0; 2 * SIDE];
        seam[..SIDE].copy_from_slice(&end);
        seam[SIDE..][..piece.len()].copy_from_slice(piece);
        next_mark(&seam, 0).is_some()
    }
}

/// The first mark at `from` or behind it, and its place.
///
/// All of a body is looked through for it, so this goes by many bytes at a time.
fn next_mark(body: &[u8], from: usize) -> Option<(usize, Mark)> {
    dispatch!(Level::new(), simd => search(simd, body, from))
}

#[inline(always)]
fn search<S: Simd>(simd: S, body: &[u8], from: usize) -> Option<(usize, Mark)> {
    let mut rest = body.get(from..)?;
    while let Some(step) = rest.first_chunk() {
        if let Some(pairs) = pairs_in(simd, step)
            && let Some(found) = mark_of_pairs(body, body.len() - rest.len(), from, pairs)
        {
            return Some(found);
        }
        rest = &rest[STEP..];
    }
    // What is added to the rest is part of no mark.
    let mut step = [0; STEP + 1];
    step[..rest.len()].copy_from_slice(rest);
    mark_of_pairs(body, body.len() - rest.len(), from, pairs_in(simd, &step)?)
}

/// Where in a step the [`pairs`] are, if there are any.
#[inline(always)]
fn pairs_in<S: Simd>(simd: S, step: &[u8; STEP + 1]) -> Option<[u64; STEP / VECTOR]> {
    let (a, b) = (pairs(simd, &step[..=VECTOR]), pairs(simd, &step[VECTOR..=2 * VECTOR]));
    let (c, d) = (pairs(simd, &step[2 * VECTOR..=3 * VECTOR]), pairs(simd, &step[3 * VECTOR..]));
    let any = (a | b) | (c | d);
    any.any_true().then_some([a.to_bitmask(), b.to_bitmask(), c.to_bitmask(), d.to_bitmask()])
}

/// Where `"m` or `06` stands: the one starts a mark, the other ends one, and neither is frequent in text, in code or in
/// pictures. A bit for the first byte of each, and for few other places.
///
/// The lower half of a byte chooses the byte that must come next. This takes half the instructions of two comparisons for
/// either pair.
#[inline(always)]
fn pairs<S: Simd>(simd: S, bytes: &[u8]) -> mask8x64<S> {
    /// Stands in no UTF-8.
    const NONE: u8 = 0xff;
    let mut next = [NONE; 16];
    next[usize::from(b'"' & 0x0f)] = b'm';
    next[usize::from(b'0' & 0x0f)] = b'6';
    let next = u8x64::block_splat(u8x16::from_slice(simd, &next));
    let first = u8x64::from_slice(simd, &bytes[..VECTOR]);
    let second = u8x64::from_slice(simd, &bytes[1..]);
    next.swizzle_dyn_within_blocks(first & u8x64::splat(simd, 0x0f)).simd_eq(second)
}

/// The first mark at `from` or behind it whose pair is at one of the places behind `at` that have a bit.
#[cold]
fn mark_of_pairs(body: &[u8], at: usize, from: usize, pairs: [u64; STEP / VECTOR]) -> Option<(usize, Mark)> {
    for (number, mut pairs) in pairs.into_iter().enumerate() {
        while pairs != 0 {
            let place = at + number * VECTOR + pairs.trailing_zeros() as usize;
            let start = if body[place] == b'"' { place } else { place.saturating_sub(3) };
            if start >= from
                && let Some(mark) = Mark::at_start_of(&body[start..])
            {
                return Some((start, mark));
            }
            pairs &= pairs - 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_mark_is_found_at_every_place(
            parts in prop::collection::vec(prop_oneof![
                prop::sample::select(vec![
                    "\"model\"", "\\u006d", "\"mod\"", "\\n\\0", "\"m", "06", "\\u00", "\"model", "\\\\u006",
                ]).prop_map(|part| part.as_bytes().to_vec()),
                "[a-z\"\\\\06]{0,300}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
            ], 0..12),
        ) {
            let body = parts.concat();
            let expected = |from: usize| (from..body.len()).find_map(|at| Some((at, Mark::at_start_of(&body[at..])?)));
            let mut from = 0;
            loop {
                let found = next_mark(&body, from);
                prop_assert_eq!(found, expected(from));
                let Some((at, _)) = found else { break };
                from = at + 1;
            }
        }
    }

    #[test]
    fn each_level_of_a_processor_finds_the_same() {
        fn all<S: Simd>(simd: S, body: &[u8]) -> Vec<(usize, Mark)> {
            let next = |from: usize| search(simd, body, from);
            std::iter::successors(next(0), |(at, _)| next(at + 1)).collect()
        }

        for place in 0..2 * STEP {
            let mut body = [b'a'; 2 * STEP + 20];
            body[place..place + 7].copy_from_slice(b"\"model\"");
            body[place + 9..place + 14].copy_from_slice(b"\\u006");
            let expected = [(place, Mark::Plain), (place + 9, Mark::Escape)];
            assert_eq!(dispatch!(Level::new(), simd => all(simd, &body)), expected);
            assert_eq!(dispatch!(Level::baseline(), simd => all(simd, &body)), expected);
        }
    }
}
