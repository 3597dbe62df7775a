use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    heads::Heads,
    linger::Linger,
    refuse::{instead_of, late, raw_answer, too_large},
    state::State,
};
use crate::gateway::request_id::Ids;

/// A connection's stream. Its reader looks out for what hyper does not tell, and answers a head that is late or too
/// large; its writer says in full what hyper refuses by itself.
#[pin_project]
#[derive(Debug)]
pub(super) struct Watched<I> {
    #[pin]
    io: I,
    heads: Heads,
    state: Arc<State>,
    ids: Ids,
    /// Whether the last write went through; else a part of an answer may be on its way.
    may_write: bool,
    is_refused: bool,
    /// So many requests of the service are answered, and hyper has sent all of that.
    answered: u64,
    /// What is left to be sent of a refusal.
    refusal: Option<Bytes>,
    /// After the last word.
    linger: Option<Linger>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, header_limit: usize, state: Arc<State>, ids: Ids) -> Self {
        Self {
            io,
            heads: Heads::new(header_limit),
            state,
            ids,
            may_write: true,
            is_refused: false,
            answered: 0,
            refusal: None,
            linger: None,
        }
    }
}

impl<I: AsyncWrite> Watched<I> {
    /// Whether hyper says this by itself, to a head of HTTP/1 that it cannot read. It says so once, in one piece, when
    /// all that came before is sent, and sends nothing behind it. Its own words are kept back, and better ones put in
    /// their place.
    fn replaces(self: Pin<&mut Self>, bytes: &[u8]) -> bool {
        let this = self.project();
        let is_hyper_s = this.state.answered() == Some(*this.answered) && bytes.starts_with(b"HTTP/1.");
        if is_hyper_s {
            *this.refusal = Some(raw_answer(instead_of(bytes, this.state.next_fault()), this.ids));
        }
        is_hyper_s
    }

    fn poll_refusal(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        while let Some(left) = this.refusal.as_mut().filter(|left| !left.is_empty()) {
            match ready!(this.io.as_mut().poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => left.advance(sent),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        // Behind a request that is under way it is not told before that one's answer.
        let is_too_large = this.heads.is_inside_too_large_a_head() && this.state.waits().is_some();
        if is_too_large || this.state.is_expired() {
            if this.heads.is_inside_head() && *this.may_write && !std::mem::replace(this.is_refused, true) {
                // As far as it goes: nobody waits for such a client.
                let answer = if is_too_large { too_large() } else { late() };
                let _ = this.io.as_mut().poll_write(cx, &raw_answer(answer, this.ids));
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
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.as_mut().replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let this = self.project();
        let written = this.io.poll_write(cx, bytes);
        if written.is_ready() {
            this.state.has_sent();
        }
        *this.may_write = matches!(written, Poll::Ready(Ok(length)) if length == bytes.len());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        if slices.first().is_some_and(|first| self.as_mut().replaces(first)) {
            return Poll::Ready(Ok(whole));
        }
        let this = self.project();
        let written = this.io.poll_write_vectored(cx, slices);
        if written.is_ready() {
            this.state.has_sent();
        }
        *this.may_write = matches!(written, Poll::Ready(Ok(length)) if length == whole);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_refusal(cx))?;
        let this = self.project();
        ready!(this.io.poll_flush(cx))?;
        // hyper flushes when it has written everything.
        if let Some(answered) = this.state.answered() {
            *this.answered = answered;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_refusal(cx))?;
        let mut this = self.project();
        let linger = match this.linger {
            Some(linger) => linger,
            None => {
                ready!(this.io.as_mut().poll_shutdown(cx))?;
                this.linger.insert(Linger::new(this.refusal.is_some() || this.heads.is_followed_by_more()))
            }
        };
        linger.poll(this.io, cx).map(Ok)
    }
}
