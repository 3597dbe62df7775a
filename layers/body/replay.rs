use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

#[cfg(feature = "route")]
use crate::route::scan::Marks;

/// A request body held in memory that can be sent any number of times.
///
/// It is a list of [`Bytes`] segments: cloning it copies pointers, and [`splice`](Self::splice) replaces a part of it
/// without touching the rest. As a [`Body`] it yields one frame per segment and never fails. A large body has segments
/// from the start, as it came in.
///
/// ```
/// use pointsman_layers::body::ReplayBody;
///
/// let body = ReplayBody::from(r#"{"model":"fast","stream":true}"#);
/// let spliced = body.splice(9..15, "\"llama-3.3-70b\"".into());
/// assert_eq!(spliced.to_bytes(), r#"{"model":"llama-3.3-70b","stream":true}"#);
/// assert_eq!(body.to_bytes(), r#"{"model":"fast","stream":true}"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReplayBody {
    /// No segment is empty, but for those that were taken. Three hold a body with one value replaced, without an
    /// allocation.
    segments: SmallVec<[Bytes; 3]>,
    /// How many segments were taken as frames.
    taken: usize,
    /// What a search of these segments has found.
    #[cfg(feature = "route")]
    marks: Option<Marks>,
}

impl ReplayBody {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.segments().iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.segments().is_empty()
    }

    /// The pieces that it is made of, in order, none of them empty.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments[self.taken..]
    }

    /// The whole body in one piece. Free for a body of one segment; copies otherwise.
    pub fn to_bytes(&self) -> Bytes {
        match self.segments() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut whole = BytesMut::with_capacity(self.len());
                for segment in many {
                    whole.extend_from_slice(segment);
                }
                whole.freeze()
            }
        }
    }

    /// The pieces that it is made of, in order, none of them empty.
    pub fn into_segments(self) -> impl Iterator<Item = Bytes> {
        self.segments.into_iter().skip(self.taken)
    }

    /// A body in which `range` is replaced by `replacement`; an empty range inserts. Nothing is copied.
    ///
    /// # Panics
    ///
    /// If the range is decreasing or ends past the body.
    #[must_use = "the body itself stays as it was"]
    pub fn splice(&self, range: Range<usize>, replacement: Bytes) -> Self {
        self.splice_all([(range, replacement)])
    }

    /// A body in which each range is replaced by what stands beside it. Nothing is copied, unless the body falls into
    /// more additional pieces than a client's request has any reason for; then it is put together.
    ///
    /// # Panics
    ///
    /// If a range is decreasing, starts before the end of the one before it, or ends past the body.
    #[must_use = "the body itself stays as it was"]
    pub fn splice_all(&self, edits: impl IntoIterator<Item = (Range<usize>, Bytes)>) -> Self {
        /// So many more pieces are sent one by one; a body of more would be slow to take apart.
        const MOST: usize = 64;
        let mut spliced = Self::default();
        let mut at = 0;
        for (range, replacement) in edits {
            assert!(
                at <= range.start && range.start <= range.end && range.end <= self.len(),
                "splice {range:?} out of a body of {} bytes, behind byte {at}",
                self.len()
            );
            self.copy_range(at..range.start, &mut spliced);
            spliced.push(replacement);
            at = range.end;
        }
        self.copy_range(at..self.len(), &mut spliced);
        if spliced.segments.len() > self.segments.len() + MOST { spliced.to_bytes().into() } else { spliced }
    }

    fn copy_range(&self, range: Range<usize>, into: &mut Self) {
        let mut at = 0;
        for segment in self.segments() {
            let start = range.start.clamp(at, at + segment.len());
            let end = range.end.clamp(at, at + segment.len());
            into.push(segment.slice(start - at..end - at));
            at += segment.len();
        }
    }

    /// What a search of the [`segments`](Self::segments) has found, if there was one when they came in.
    #[cfg(feature = "route")]
    pub(crate) fn marks(&self) -> Option<Marks> {
        self.marks.filter(|_| self.taken == 0)
    }

    #[cfg(feature = "route")]
    pub(super) fn set_marks(&mut self, marks: Marks) {
        self.marks = Some(marks);
    }

    pub(super) fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.segments.push(segment);
        }
    }
}

impl From<Bytes> for ReplayBody {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

impl From<&'static str> for ReplayBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for ReplayBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for ReplayBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// The segments in order, empty ones left out.
impl FromIterator<Bytes> for ReplayBody {
    fn from_iter<I: IntoIterator<Item = Bytes>>(segments: I) -> Self {
        let mut body = Self::default();
        for segment in segments {
            body.push(segment);
        }
        body
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let Some(segment) = this.segments.get_mut(this.taken) else { return Poll::Ready(None) };
        this.taken += 1;
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(segment)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_splice_is_what_it_is_on_a_vector(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[a-z]{0,9}"), 0..4),
        ) {
            let mut body: ReplayBody = pieces.iter().cloned().map(Bytes::from).collect();
            let mut model = pieces.concat();
            for (a, b, replacement) in cuts {
                let (a, b) = (a.index(model.len() + 1), b.index(model.len() + 1));
                let range = a.min(b)..a.max(b);
                let spliced = body.splice(range.clone(), Bytes::from(replacement.clone()));
                prop_assert_eq!(body.to_bytes(), model.clone());
                model.splice(range, replacement.into_bytes());
                body = spliced;
            }
            prop_assert_eq!(body.len(), model.len());
            prop_assert_eq!(body.size_hint().exact(), Some(model.len() as u64));
            prop_assert_eq!(body.to_bytes(), model);
        }
    }

    #[tokio::test]
    async fn every_clone_yields_the_whole_body() {
        let body = ReplayBody::from("one two three").splice(4..7, "2".into());
        for _ in 0..3 {
            let sent = body.clone().collect().await.expect("infallible").to_bytes();
            assert_eq!(sent, "one 2 three");
        }
        assert!(ReplayBody::default().is_end_stream());
    }

    #[tokio::test]
    async fn what_is_left_of_a_body_is_a_body() {
        let mut body = ReplayBody::from("one two three").splice(4..7, "2".into());
        let first = body.frame().await.expect("a frame").expect("infallible");
        assert_eq!(first.into_data().expect("data"), "one ");
        assert_eq!((body.len(), body.to_bytes()), (7, "2 three".into()));
        assert_eq!(body.splice(1..2, "+".into()).to_bytes(), "2+three");
        assert_eq!(body.clone().into_segments().collect::<Vec<_>>(), ["2", " three"]);
        assert_eq!(body.clone().collect().await.expect("infallible").to_bytes(), "2 three");
        while body.frame().await.is_some() {}
        assert!(body.is_empty() && body.is_end_stream());
    }

    #[tokio::test]
    async fn many_splices_at_once_keep_what_is_between_them() {
        let body = ReplayBody::from("one two three").splice_all([(0..3, "1".into()), (4..7, "2".into())]);
        assert_eq!(body.to_bytes(), "1 2 three");
        let many = ReplayBody::from("x".repeat(1000));
        let every_second = (0..500).map(|n| (2 * n..2 * n + 1, Bytes::from_static(b"yy")));
        let spliced = many.splice_all(every_second);
        assert_eq!(spliced.collect().await.expect("infallible").to_bytes(), "yyx".repeat(500));
    }

    #[test]
    #[should_panic(expected = "splice 1..2 out of a body of 4 bytes, behind byte 3")]
    fn splices_out_of_order_are_refused() {
        let _ = ReplayBody::from("four").splice_all([(2..3, Bytes::new()), (1..2, Bytes::new())]);
    }

    #[test]
    #[should_panic(expected = "splice 3..9 out of a body of 4 bytes, behind byte 0")]
    fn a_splice_past_the_end_is_refused() {
        let _ = ReplayBody::from("four").splice(3..9, Bytes::new());
    }
}
