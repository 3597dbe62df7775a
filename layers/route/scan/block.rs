use fearless_simd::{Level, dispatch, prelude::*, u8x64};

const SIZE: usize = 64;

/// A part of a body, and where the bytes are in it that mean something inside a string: quotes, backslashes, control
/// characters. One bit each, so that text is passed over without a look at every byte of it.
pub(super) struct Block {
    number: usize,
    special: u64,
}

impl Block {
    pub(super) fn first(body: &[u8]) -> Self {
        Self::of(body, 0)
    }

    fn of(body: &[u8], number: usize) -> Self {
        let rest = body.get(number * SIZE..).unwrap_or_default();
        let special = match rest.first_chunk() {
            Some(whole) => special(whole),
            None => {
                // What is added at the end counts as special, and is no part of the body.
                let mut padded = [0; SIZE];
                padded[..rest.len()].copy_from_slice(rest);
                special(&padded)
            }
        };
        Self { number, special }
    }

    /// The next special byte at `from` or behind it. It lies past the end of the body if there is none.
    pub(super) fn next_special(&mut self, body: &[u8], from: usize) -> usize {
        if from / SIZE != self.number {
            *self = Self::of(body, from / SIZE);
        }
        let mut left = self.special & (!0 << (from % SIZE));
        while left == 0 {
            *self = Self::of(body, self.number + 1);
            left = self.special;
        }
        self.number * SIZE + left.trailing_zeros() as usize
    }
}

/// One bit for each byte, the first of the block the lowest.
fn special(block: &[u8; SIZE]) -> u64 {
    dispatch!(Level::new(), simd => special_by(simd, block))
}

#[inline(always)]
fn special_by<S: Simd>(simd: S, block: &[u8; SIZE]) -> u64 {
    let bytes = u8x64::from_slice(simd, block);
    let is_sign = bytes.simd_eq(u8x64::splat(simd, b'"')) | bytes.simd_eq(u8x64::splat(simd, b'\\'));
    (is_sign | bytes.simd_lt(u8x64::splat(simd, 0x20))).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_is_found_at_every_place() {
        for byte in 0..=u8::MAX {
            let is_special = matches!(byte, b'"' | b'\\' | 0..0x20);
            for place in 0..SIZE {
                let mut block = [b'a'; SIZE];
                block[place] = byte;
                assert_eq!(special(&block), u64::from(is_special) << place, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn the_next_one_may_be_blocks_away() {
        let mut body = vec![b'a'; 200];
        body[3] = b'"';
        body[190] = b'\\';
        let mut block = Block::first(&body);
        let places = [0, 3, 4, 190, 191].map(|from| block.next_special(&body, from));
        assert_eq!(places, [3, 3, 190, 190, 200]);
    }
}
