//! A response body that is written down frame by frame.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Broken {
    Reset,
    Stalled,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Break(Broken),
}

pub(super) fn data(bytes: impl Into<Bytes>) -> Step {
    Step::Data(bytes.into())
}

pub(super) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("7"))])
}

/// A body of these frames. `alive` is gone once the body is.
#[derive(Debug)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    pub(super) alive: Arc<()>,
}

impl<const N: usize> From<[Step; N]> for Script {
    fn from(steps: [Step; N]) -> Self {
        Self::from_iter(steps)
    }
}

impl FromIterator<Step> for Script {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self { steps: steps.into_iter().collect(), alive: Arc::default() }
    }
}

impl Script {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let data = |step: &Step| match step {
            Step::Data(bytes) => bytes.to_vec(),
            Step::Trailers(_) | Step::Break(_) => Vec::new(),
        };
        self.steps.iter().map(data).collect::<Vec<_>>().concat()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(self.steps.pop_front().map(|step| match step {
            Step::Data(bytes) => Ok(Frame::data(bytes)),
            Step::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Step::Break(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes().len() as u64)
    }
}
