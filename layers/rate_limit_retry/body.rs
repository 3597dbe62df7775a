use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Sleep;

/// How much of an error's body is read to judge it.
const PEEK_LIMIT: usize = 64 * 1024;
/// How long that may take.
const PEEK_TIME: Duration = Duration::from_secs(2);

/// The response body of [`RateLimitRetry`](super::RateLimitRetry): the inner service's, frame by frame, with the frames
/// that were read to judge it in front.
#[pin_project]
pub struct PeekedBody<B: Body> {
    peeked: VecDeque<Result<Frame<B::Data>, B::Error>>,
    /// Whether the rest was seen to its end.
    ended: bool,
    #[pin]
    rest: B,
}

impl<B: Body<Data = Bytes>> PeekedBody<B> {
    pub(super) fn new(rest: B) -> Self {
        Self { peeked: VecDeque::new(), ended: false, rest }
    }

    fn data(&self) -> impl Iterator<Item = &Bytes> {
        self.peeked.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref())
    }

    /// The text that was read, in lower case.
    pub(super) fn lower_case_text(&self) -> String {
        let mut read = Vec::new();
        for data in self.data() {
            let room = PEEK_LIMIT - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
        }
        String::from_utf8_lossy(&read).to_ascii_lowercase()
    }
}

impl<B: Body<Data = Bytes> + Unpin> PeekedBody<B> {
    /// Reads until the end or the limit.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A frame counts for at least what it takes to keep it.
        let mut memory: usize = self.data().map(Bytes::len).sum();
        memory += self.peeked.len() * size_of::<Frame<Bytes>>();
        while memory < PEEK_LIMIT && !self.ended && !self.rest.is_end_stream() {
            match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                Some(frame) => {
                    self.ended = frame.is_err();
                    let data = frame.as_ref().ok().and_then(Frame::data_ref);
                    memory += data.map_or(0, Bytes::len) + size_of::<Frame<Bytes>>();
                    self.peeked.push_back(frame);
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(())
    }
}

impl<B: Body<Data = Bytes>> Body for PeekedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.peeked.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if *this.ended => Poll::Ready(None),
            None => this.rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.peeked.is_empty() && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let peeked = self.data().map(|data| data.len() as u64).sum::<u64>();
        let rest = if self.ended { SizeHint::with_exact(0) } else { self.rest.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(peeked));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(peeked)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for PeekedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekedBody").field("peeked_frames", &self.peeked.len()).finish_non_exhaustive()
    }
}

/// Reads as much of an answer's body as is needed to judge it, and as comes in time.
#[pin_project]
pub(super) struct Peek<B: Body> {
    /// Taken when it is read.
    response: Option<Response<PeekedBody<B>>>,
    #[pin]
    timer: Sleep,
}

impl<B: Body> Peek<B> {
    pub(super) fn new(response: Response<PeekedBody<B>>) -> Self {
        Self { response: Some(response), timer: tokio::time::sleep(PEEK_TIME) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Future for Peek<B> {
    type Output = Response<PeekedBody<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = this.response.as_mut().expect("a future is not polled after it is ready");
        if response.body_mut().poll_peek(cx).is_pending() {
            ready!(this.timer.poll(cx));
        }
        Poll::Ready(this.response.take().expect("it was there a moment ago"))
    }
}
