use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// The response body of [`FirstEvent`](crate::first_event::FirstEvent): the frames that were held, then the rest, all
/// as they came.
#[pin_project]
pub struct FirstEventBody<B> {
    held: Held,
    #[pin]
    rest: B,
}

impl<B> FirstEventBody<B> {
    pub(super) fn new(rest: B) -> Self {
        Self { held: Held::default(), rest }
    }

    pub(super) fn hold(&mut self, frame: Bytes) {
        self.held.push(frame);
    }

    /// The memory that the held frames take.
    pub(super) fn held_memory(&self) -> usize {
        self.held.bytes + self.held.more.len() * size_of::<Bytes>()
    }
}

impl<B: Body<Data = Bytes> + Unpin> FirstEventBody<B> {
    /// The next frame of the body below, past those that are held.
    pub(super) fn poll_below(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.rest).poll_frame(cx)
    }
}

impl<B: Body<Data = Bytes>> Body for FirstEventBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.held.pop() {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            None => this.rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.bytes == 0 && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.bytes as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> fmt::Debug for FirstEventBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstEventBody").field("held", &self.held.bytes).finish_non_exhaustive()
    }
}

/// Frames in the order they came, none of them empty. A single one, the usual case, takes no allocation.
#[derive(Default)]
struct Held {
    first: Option<Bytes>,
    more: VecDeque<Bytes>,
    bytes: usize,
}

impl Held {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(frame);
        } else {
            self.more.push_back(frame);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.first.take().or_else(|| self.more.pop_front())?;
        self.bytes -= frame.len();
        Some(frame)
    }
}
