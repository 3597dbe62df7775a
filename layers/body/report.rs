use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// Everything in it was read.
    Complete,
    /// It broke: a frame was an error.
    Error,
    /// It was dropped before its end; whoever read it lost interest.
    Dropped,
}

/// Takes the report of a [`ReportBody`].
///
/// Implemented for closures `FnOnce(BodyEnd)`; a type of its own can be named in a signature.
pub trait Report {
    /// The body ended like this. Called once; it may run inside a `drop`, so it must not panic.
    fn report(self, end: BodyEnd);
}

impl<F: FnOnce(BodyEnd)> Report for F {
    fn report(self, end: BodyEnd) {
        self(end);
    }
}

/// A body that reports its end, exactly once.
///
/// A reader may stop polling as soon as `is_end_stream` turns true, so that counts as the end, from the first moment
/// on. Frames, trailers, `size_hint` and `is_end_stream` are the inner body's.
///
/// ```
/// use std::cell::Cell;
///
/// use http_body_util::BodyExt as _;
/// use pointsman_layers::body::{BodyEnd, ReplayBody, ReportBody};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let end = Cell::new(None);
/// let body = ReportBody::new(ReplayBody::from("hello"), |how| end.set(Some(how)));
/// assert_eq!(end.get(), None);
///
/// body.collect().await.unwrap();
/// assert_eq!(end.get(), Some(BodyEnd::Complete));
/// # }
/// ```
#[pin_project]
pub struct ReportBody<B, R: Report> {
    #[pin]
    body: B,
    pending: Pending<R>,
}

/// The report while it is still to be made. `Drop` cannot be implemented for a part of a type's instances, so the
/// bound is on the structs.
struct Pending<R: Report>(Option<R>);

impl<R: Report> Pending<R> {
    fn report(&mut self, end: BodyEnd) {
        if let Some(report) = self.0.take() {
            report.report(end);
        }
    }
}

impl<R: Report> Drop for Pending<R> {
    fn drop(&mut self) {
        self.report(BodyEnd::Dropped);
    }
}

impl<B: Body, R: Report> ReportBody<B, R> {
    /// Watches `body`; one that is already at its end is reported before this returns.
    pub fn new(body: B, report: R) -> Self {
        let mut pending = Pending(Some(report));
        if body.is_end_stream() {
            pending.report(BodyEnd::Complete);
        }
        Self { body, pending }
    }
}

impl<B: Body, R: Report> Body for ReportBody<B, R> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match &frame {
            None => this.pending.report(BodyEnd::Complete),
            Some(Err(_)) => this.pending.report(BodyEnd::Error),
            Some(Ok(_)) if this.body.is_end_stream() => this.pending.report(BodyEnd::Complete),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug, R: Report> fmt::Debug for ReportBody<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportBody").field("body", &self.body).field("reported", &self.pending.0.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Step {
        Data,
        Trailers,
        Pending,
        Break,
    }

    /// Plays steps, then ends. An honest script says so through `is_end_stream`; the other never does.
    struct Script {
        steps: VecDeque<Step>,
        tells_its_end: bool,
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(match self.steps.pop_front() {
                None => None,
                Some(Step::Pending) => return Poll::Pending,
                Some(Step::Data) => Some(Ok(Frame::data(Bytes::from_static(b"x")))),
                Some(Step::Trailers) => {
                    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("t"))]);
                    Some(Ok(Frame::trailers(trailers)))
                }
                Some(Step::Break) => Some(Err("broken")),
            })
        }

        fn is_end_stream(&self) -> bool {
            self.tells_its_end && self.steps.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.steps.iter().filter(|step| **step == Step::Data).count() as u64)
        }
    }

    /// What the reader of `steps` who polls `polls` times and then leaves has seen.
    fn expected_end(steps: &[Step], tells_its_end: bool, polls: usize) -> BodyEnd {
        let seen = &steps[..polls.min(steps.len())];
        if tells_its_end && steps.is_empty() {
            return BodyEnd::Complete;
        }
        if seen.contains(&Step::Break) {
            return BodyEnd::Error;
        }
        // A pending poll is not followed by a look at `is_end_stream`.
        let told = tells_its_end && seen.len() == steps.len() && seen.last() != Some(&Step::Pending);
        if told || polls > steps.len() { BodyEnd::Complete } else { BodyEnd::Dropped }
    }

    proptest! {
        #[test]
        fn every_body_is_reported_once_and_its_frames_pass_unchanged(
            steps in prop::collection::vec(
                prop_oneof![Just(Step::Data), Just(Step::Trailers), Just(Step::Pending), Just(Step::Break)], 0..8),
            tells_its_end: bool,
            polls in 0usize..12,
        ) {
            let ends = RefCell::new(Vec::new());
            let script = || Script { steps: steps.clone().into(), tells_its_end };
            let mut bare = script();
            let mut body = ReportBody::new(script(), |end| ends.borrow_mut().push(end));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for _ in 0..polls {
                prop_assert_eq!(body.is_end_stream(), bare.is_end_stream());
                prop_assert_eq!(body.size_hint().exact(), bare.size_hint().exact());
                let got = Pin::new(&mut body).poll_frame(&mut cx);
                let want = Pin::new(&mut bare).poll_frame(&mut cx);
                prop_assert_eq!(format!("{got:?}"), format!("{want:?}"));
            }
            drop(body);
            prop_assert_eq!(ends.into_inner(), vec![expected_end(&steps, tells_its_end, polls)]);
        }
    }

    #[test]
    fn an_empty_body_is_complete_before_anyone_polls_it() {
        let end = RefCell::new(None);
        let body = ReportBody::new(crate::body::ReplayBody::default(), |how| *end.borrow_mut() = Some(how));
        assert_eq!(*end.borrow(), Some(BodyEnd::Complete));
        drop(body);
        assert_eq!(*end.borrow(), Some(BodyEnd::Complete));
    }
}
