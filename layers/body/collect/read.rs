use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use crate::body::ReplayBody;
#[cfg(feature = "route")]
use crate::route::scan::MarkSearch;

/// A frame of so many bytes is a segment as it is. It may be a part of a larger buffer and keeps all of that, so this is
/// half of what the gateway's server reads at a time.
const LARGE: usize = 128 * 1024;

/// What has been read of a body. A single frame is kept as it is.
#[derive(Default)]
pub(super) enum Read {
    #[default]
    Nothing,
    One(Bytes),
    /// Boxed, as it is large and most bodies come in one frame.
    Several(Box<Several>),
}

/// Large frames are segments of the body; small ones are copied together, as a client that sends many of them could make
/// us hold many buffers with little in them.
#[derive(Default)]
pub(super) struct Several {
    body: ReplayBody,
    /// The small frames behind the last segment.
    small: BytesMut,
    length: usize,
    /// Looks for the `model` in each segment as long as the caches have it.
    #[cfg(feature = "route")]
    search: MarkSearch,
}

impl Read {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Several(several) => several.length,
        }
    }

    /// Adds a frame; `expected` is how much more is announced after it.
    pub(super) fn push(&mut self, mut frame: impl Buf, expected: usize) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(frame.copy_to_bytes(frame.remaining())),
            Self::One(first) => {
                let mut several = Box::<Several>::default();
                several.push(first, expected.saturating_add(frame.remaining()));
                several.push(frame, expected);
                Self::Several(several)
            }
            Self::Several(mut several) => {
                several.push(frame, expected);
                Self::Several(several)
            }
        };
    }

    pub(super) fn finish(self) -> ReplayBody {
        match self {
            Self::Nothing => ReplayBody::default(),
            Self::One(bytes) => bytes.into(),
            Self::Several(mut several) => {
                several.end_segment();
                several.body
            }
        }
    }
}

impl Several {
    fn push(&mut self, mut frame: impl Buf, expected: usize) {
        let length = frame.remaining();
        if length >= LARGE {
            self.end_segment();
            self.push_segment(frame.copy_to_bytes(length));
        } else {
            if self.small.len() >= LARGE && self.small.capacity() - self.small.len() < length {
                self.end_segment();
            }
            if self.small.is_empty() {
                // Room for what is announced, but for not much more than has come.
                self.small = BytesMut::with_capacity(length + expected.min(self.length.max(LARGE)));
            }
            self.small.put(frame);
        }
        self.length += length;
    }

    /// Makes a segment of the small frames.
    fn end_segment(&mut self) {
        let small = std::mem::take(&mut self.small);
        if !small.is_empty() {
            let is_roomy = small.len() < small.capacity() / 2;
            self.push_segment(if is_roomy { Bytes::copy_from_slice(&small) } else { small.freeze() });
        }
    }

    fn push_segment(&mut self, segment: Bytes) {
        // A body of one is searched when it is there, and only if it has to be.
        #[cfg(feature = "route")]
        if let Some(first) = self.body.segments().first() {
            if self.body.segments().len() == 1 {
                self.search.read(first);
            }
            self.search.read(&segment);
            self.body.set_marks(self.search.marks());
        }
        self.body.push(segment);
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

    #[cfg(feature = "route")]
    #[test]
    fn what_is_found_on_arrival_is_what_is_in_the_segments() {
        let found_in = |body: &ReplayBody| {
            let mut search = MarkSearch::default();
            body.segments().iter().for_each(|segment| search.read(segment));
            search.marks()
        };
        for place in [0, 100, LARGE - 3, LARGE + 5, 2 * LARGE - 7, 2 * LARGE, 3 * LARGE] {
            let mut all = vec![b'a'; 3 * LARGE + 9];
            all[place..place + 7].copy_from_slice(b"\"model\"");
            let mut read = Read::default();
            for frame in all.chunks(LARGE) {
                read.push(Bytes::copy_from_slice(frame), 0);
            }
            let body = read.finish();
            assert_eq!(body.marks(), Some(found_in(&body)), "{place}");
            assert_eq!(body.splice(0..1, "b".into()).marks(), None);
        }
        assert_eq!(read(&[100; 20], true).1.marks(), None);
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
