use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use pin_project::pin_project;
use pointsman_layers::body::ErrorAnswer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{heads::Heads, linger::Linger, state::State};

/// What a client hears whose head took too long.
fn late() -> Vec<u8> {
    let message = "the head of the request did not come in time";
    raw_answer(&ErrorAnswer::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message))
}

/// An answer outside of hyper, after which the connection is closed.
pub(super) fn raw_answer(answer: &ErrorAnswer) -> Vec<u8> {
    let (status, json) = (answer.status(), answer.to_json());
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        json.len()
    )
    .into_bytes();
    for (name, value) in answer.headers() {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&json);
    bytes
}

/// A connection's stream, whose reader looks out for what hyper does not tell, and which answers a late head.
#[pin_project]
#[derive(Debug)]
pub(super) struct Watched<I> {
    #[pin]
    io: I,
    heads: Heads,
    state: Arc<State>,
    /// Whether the last write went through; else a part of an answer may be on its way.
    may_write: bool,
    has_timed_out: bool,
    /// After the last word.
    linger: Option<Linger>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, state: Arc<State>) -> Self {
        Self { io, heads: Heads::new(), state, may_write: true, has_timed_out: false, linger: None }
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if this.state.is_expired() {
            if this.heads.is_inside_head() && *this.may_write && !std::mem::replace(this.has_timed_out, true) {
                // As far as it goes: nobody waits for a client that is late already.
                let _ = this.io.as_mut().poll_write(cx, &late());
                let _ = this.io.poll_flush(cx);
            }
            // Nothing read is the end of the stream.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.io.poll_read(cx, buffer))?;
        let (was_inside, begun) = (this.heads.is_inside_head(), this.heads.begun());
        this.heads.read(&buffer.filled()[before..]);
        let is_inside = this.heads.is_inside_head();
        if (was_inside, begun) != (is_inside, this.heads.begun()) {
            this.state.set_inside_head(is_inside);
        }
        if let Some((request, fault)) = this.heads.fault() {
            this.state.set_fault(request, fault);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.io.poll_write(cx, bytes);
        if written.is_ready() {
            this.state.has_sent();
        }
        *this.may_write = matches!(written, Poll::Ready(Ok(length)) if length == bytes.len());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.io.poll_write_vectored(cx, slices);
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        if written.is_ready() {
            this.state.has_sent();
        }
        *this.may_write = matches!(written, Poll::Ready(Ok(length)) if length == whole);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        let linger = match this.linger {
            Some(linger) => linger,
            None => {
                ready!(this.io.as_mut().poll_shutdown(cx))?;
                this.linger.insert(Linger::new(this.heads.is_followed_by_more()))
            }
        };
        linger.poll(this.io, cx).map(Ok)
    }
}
