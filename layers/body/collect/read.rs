use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use crate::body::ReplayBody;

/// A frame of so many bytes is kept as it is. It may be a part of a larger buffer and keeps all of that, so this is not
/// far below what servers read at a time.
const LARGE: usize = 64 * 1024;

/// What has been read of a body. Large frames are its segments; small ones are copied together, as a client that sends
/// many of them could make us hold many buffers with little in them.
#[derive(Default)]
pub(super) struct Read {
    body: ReplayBody,
    small: Small,
    length: usize,
}

/// The small frames behind the last segment.
#[derive(Default)]
enum Small {
    #[default]
    Nothing,
    /// The only frame of a body is kept as it is too.
    One(Bytes),
    Many(BytesMut),
}

impl Read {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds a frame; `expected` is how much more is announced after it.
    pub(super) fn push(&mut self, mut frame: impl Buf, expected: usize) {
        let length = frame.remaining();
        if length >= LARGE {
            self.end_segment();
            self.body.push(frame.copy_to_bytes(length));
        } else {
            self.push_small(frame, expected);
        }
        self.length += length;
    }

    fn push_small(&mut self, mut frame: impl Buf, expected: usize) {
        let length = frame.remaining();
        if let Small::Many(all) = &self.small
            && all.len() >= LARGE
            && all.capacity() - all.len() < length
        {
            self.end_segment();
        }
        // A segment for what is announced, but not much larger than what has come.
        let room = expected.min(self.length.max(LARGE));
        self.small = match std::mem::take(&mut self.small) {
            Small::Nothing if self.length == 0 => Small::One(frame.copy_to_bytes(length)),
            Small::Nothing => {
                let mut all = BytesMut::with_capacity(length + room);
                all.put(frame);
                Small::Many(all)
            }
            Small::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + length + room);
                all.put(first);
                all.put(frame);
                Small::Many(all)
            }
            Small::Many(mut all) => {
                all.put(frame);
                Small::Many(all)
            }
        };
    }

    /// Makes a segment of the small frames.
    fn end_segment(&mut self) {
        self.body.push(match std::mem::take(&mut self.small) {
            Small::Nothing => Bytes::new(),
            Small::One(frame) => Bytes::copy_from_slice(&frame),
            Small::Many(all) if all.len() < all.capacity() / 2 => Bytes::copy_from_slice(&all),
            Small::Many(all) => all.freeze(),
        });
    }

    pub(super) fn finish(mut self) -> ReplayBody {
        if let Small::One(only) = self.small {
            return only.into();
        }
        self.end_segment();
        self.body
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(frames: &[usize], announced: bool) -> (Vec<u8>, ReplayBody) {
        let all: Vec<u8> = (0..frames.iter().sum()).map(|at: usize| at as u8).collect();
        let (mut read, mut rest) = (Read::default(), Bytes::from(all.clone()));
        for length in frames {
            let frame = rest.split_to(*length);
            read.push(frame, if announced { rest.len() } else { 0 });
        }
        assert_eq!(read.len(), all.len());
        (all, read.finish())
    }

    fn lengths(body: &ReplayBody) -> Vec<usize> {
        body.segments().iter().map(Bytes::len).collect()
    }

    proptest! {
        #[test]
        fn frames_of_any_size_are_one_body_of_few_segments(
            frames in prop::collection::vec(prop_oneof![4 => 1..2000usize, 4 => 1..LARGE, 1 => LARGE..3 * LARGE], 0..60),
            announced: bool,
        ) {
            let (all, body) = read(&frames, announced);
            prop_assert!(body.segments().len() <= 2 * (all.len() / LARGE) + 1, "{:?}", lengths(&body));
            prop_assert!(body.to_bytes() == all);
        }
    }

    #[test]
    fn large_frames_and_a_frame_alone_are_not_copied() {
        let frame = Bytes::from(vec![0; LARGE]);
        let alone = frame.slice(..9);
        let mut only = Read::default();
        only.push(alone.clone(), 0);
        assert_eq!(only.finish().segments()[0].as_ptr(), alone.as_ptr());

        let mut several = Read::default();
        for frame in [alone.clone(), frame.clone(), alone.clone(), alone.clone(), frame.clone()] {
            several.push(frame, 0);
        }
        let body = several.finish();
        assert_eq!(lengths(&body), [9, LARGE, 18, LARGE]);
        for (segment, is_copied) in body.segments().iter().zip([true, false, true, false]) {
            // What is small does not keep the buffer that it is a part of.
            assert_eq!(segment.as_ptr() != frame.as_ptr(), is_copied);
        }
    }

    #[test]
    fn small_frames_fill_ever_larger_segments() {
        for announced in [true, false] {
            let (_, body) = read(&[16 * 1024; 64], announced);
            let lengths = lengths(&body);
            assert!(lengths.len() <= if announced { 6 } else { 16 }, "{lengths:?}");
        }
        assert_eq!(lengths(&read(&[100; 20], true).1), [2000]);
    }
}
