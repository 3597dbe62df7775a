use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    Connection, Error, Pool,
    chunks::{Chunks, Piece},
    connection::take_front,
    cut_off,
};

/// Where a body ends.
#[derive(Debug)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    Chunked(Chunks),
    /// With the connection.
    ToClose,
}

/// The body of an answer. Dropped before its end, it closes the connection.
#[derive(Debug)]
pub(in crate::provider) struct Http1Body {
    /// Until the end of the body, or an error.
    connection: Option<Box<Connection>>,
    framing: Framing,
    /// Where the connection goes after the body, if it can be used again.
    pool: Option<Arc<Pool>>,
    /// Whether something was handed up, the head at first, since the reader last had to wait.
    is_fresh: bool,
    /// What broke the body, while the reader gets its time to pass on what came before.
    failure: Option<Error>,
}

impl Http1Body {
    pub(super) fn new(connection: Box<Connection>, framing: Framing, pool: Option<Arc<Pool>>) -> Self {
        let mut body = Self { connection: Some(connection), framing, pool, is_fresh: true, failure: None };
        body.release_at_end();
        body
    }

    /// Gives the connection back when all of the body was taken.
    fn release_at_end(&mut self) {
        let is_over = match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunks) => chunks.is_over(),
            Framing::ToClose => false,
        };
        if !is_over {
            return;
        }
        if let (Some(connection), Some(pool)) = (self.connection.take(), self.pool.take())
            && connection.is_idle()
        {
            pool.put(connection);
        }
    }

    /// Takes what was already read; `None` if more has to be.
    fn take(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let read = &mut connection.read;
        if read.is_empty() {
            return Ok(None);
        }
        let frame = match &mut self.framing {
            Framing::Length(left) => {
                let here = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                *left -= here as u64;
                Some(Frame::data(take_front(read, here)))
            }
            Framing::ToClose => Some(Frame::data(take_front(read, read.len()))),
            Framing::Chunked(chunks) => match chunks.take(read)? {
                Some(Piece::Data(data)) => Some(Frame::data(data)),
                Some(Piece::Trailers(trailers)) => Some(Frame::trailers(trailers)),
                None => None,
            },
        };
        self.release_at_end();
        Ok(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if let Some(frame) = self.take()? {
                return Poll::Ready(Some(Ok(frame)));
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            // What is left of the request; if that fails, reading will say what matters.
            let _ = connection.poll_send(cx);
            if ready!(connection.poll_read(cx)).map_err(Error::Broken)? == 0 {
                return Poll::Ready(match self.framing {
                    Framing::ToClose => {
                        self.connection = None;
                        None
                    }
                    _ => Some(Err(cut_off("end of file before message length reached"))),
                });
            }
        }
    }
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let polled = self.poll_next(cx);
        match polled {
            Poll::Ready(Some(Err(failure))) => {
                self.connection = None;
                if !std::mem::take(&mut self.is_fresh) {
                    return Poll::Ready(Some(Err(failure)));
                }
                // A server that gets an error drops what it has not written yet, and it writes when it has to wait.
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => {
                self.is_fresh = polled.is_ready();
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() && self.failure.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.framing {
            Framing::Length(left) => SizeHint::with_exact(*left),
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Framing::Chunked(_) | Framing::ToClose => SizeHint::new(),
        }
    }
}
