use fearless_simd::{Level, dispatch, mask8x32, prelude::*, u8x32};

/// How much is looked at in one step.
const STEP: usize = 128;

/// Bytes behind a step that its last marks may reach to.
const REACH: usize = 3;

/// What may spell a key `model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// `"model"`, as it is nearly always written. Inside of a string, its quotes have backslashes before them.
    Plain,
    /// `\u006`, the start of an escape for any of its letters.
    Escape,
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

/// The first mark at `from` or behind it, and its place.
///
/// All of a body is looked through for it, so this goes by many bytes at a time.
pub(super) fn next_mark(body: &[u8], from: usize) -> Option<(usize, Mark)> {
    let mut at = from;
    while at < body.len() {
        at = dispatch!(Level::new(), simd => skip(simd, body, at));
        let end = body.len().min(at + STEP);
        if let Some(found) = (at..end).find_map(|at| Some((at, Mark::at_start_of(&body[at..])?))) {
            return Some(found);
        }
        at = end;
    }
    None
}

/// Goes on from `at` to the first step that may have a mark in it, or to the end.
#[inline(always)]
fn skip<S: Simd>(simd: S, body: &[u8], mut at: usize) -> usize {
    while let Some(step) = body.get(at..at + STEP + REACH) {
        if may_hold(simd, step) {
            return at;
        }
        at += STEP;
    }
    // What is added to the rest is part of no mark.
    let rest = &body[at..];
    let mut step = [0; STEP + REACH];
    step[..rest.len()].copy_from_slice(rest);
    if may_hold(simd, &step) { at } else { body.len() }
}

/// Whether a step may have a mark in it.
#[inline(always)]
fn may_hold<S: Simd>(simd: S, step: &[u8]) -> bool {
    let halves = (may_start(simd, &step[..35]) | may_start(simd, &step[32..67]))
        | (may_start(simd, &step[64..99]) | may_start(simd, &step[96..131]));
    halves.any_true()
}

/// Which of 32 bytes may start a mark, by them and the third behind each: few other pairs are as rare.
#[inline(always)]
fn may_start<S: Simd>(simd: S, bytes: &[u8]) -> mask8x32<S> {
    let (first, fourth) = (u8x32::from_slice(simd, &bytes[..32]), u8x32::from_slice(simd, &bytes[REACH..]));
    let is_plain = first.simd_eq(u8x32::splat(simd, b'"')) & fourth.simd_eq(u8x32::splat(simd, b'd'));
    is_plain | (first.simd_eq(u8x32::splat(simd, b'\\')) & fourth.simd_eq(u8x32::splat(simd, b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_mark_is_found_at_every_place(
            parts in prop::collection::vec(prop_oneof![
                Just("\"model\"".to_owned()), Just("\\u006d".to_owned()), Just("\"mod\"".to_owned()), Just("\\n\\0".to_owned()),
                "[a-z\"\\\\0]{0,150}",
            ], 0..8),
        ) {
            let body = parts.concat().into_bytes();
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
}
