use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client that speaks HTTP/2 without having been asked says first: RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection of which the first bytes have been read, to tell its version by them. They are read again with what
/// follows: for a second part of a head hyper would make its buffer twice as large, and keep it as long as the connection.
#[pin_project]
#[derive(Debug)]
pub(super) struct Begun<I> {
    #[pin]
    io: I,
    first: [u8; PREFACE.len()],
    length: usize,
    /// How many of the first bytes were read again.
    given: usize,
    /// What was met behind them.
    error: Option<io::Error>,
}

impl<I> Begun<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, first: [0; PREFACE.len()], length: 0, given: 0, error: None }
    }
}

impl<I: AsyncRead + Unpin> Begun<I> {
    /// Reads until the version is clear.
    pub(super) fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<Version> {
        while self.first[..self.length] == PREFACE[..self.length] {
            let mut rest = ReadBuf::new(&mut self.first[self.length..]);
            if rest.remaining() == 0 {
                return Poll::Ready(Version::Http2);
            }
            let result = ready!(Pin::new(&mut self.io).poll_read(cx, &mut rest));
            let read = rest.filled().len();
            self.error = result.err();
            if read == 0 {
                // Whoever reads on finds out why.
                break;
            }
            self.length += read;
        }
        Poll::Ready(Version::Http1)
    }
}

impl<I: AsyncRead> AsyncRead for Begun<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let first = &this.first[*this.given..*this.length];
        if first.is_empty() {
            return match this.error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => this.io.poll_read(cx, buffer),
            };
        }
        let now = &first[..first.len().min(buffer.remaining())];
        buffer.put_slice(now);
        *this.given += now.len();
        if buffer.remaining() > 0
            && this.error.is_none()
            && let Poll::Ready(Err(error)) = this.io.poll_read(cx, buffer)
        {
            *this.error = Some(error);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite> AsyncWrite for Begun<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;
    use tokio_test::io::Builder;

    use super::*;

    /// The version of what comes in these pieces, and what is read after that in pieces of this size.
    fn read(pieces: &[&[u8]], size: usize) -> (Version, Vec<u8>) {
        let mut builder = Builder::new();
        pieces.iter().filter(|piece| !piece.is_empty()).for_each(|piece| {
            builder.read(piece);
        });
        let mut begun = Begun::new(builder.build());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let version = poll_fn(|cx| begun.poll_version(cx)).await;
            let (mut all, mut piece) = (Vec::new(), vec![0; size]);
            loop {
                match begun.read(&mut piece).await.expect("no error") {
                    0 => return (version, all),
                    length => all.extend_from_slice(&piece[..length]),
                }
            }
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_comes(
            is_http2: bool,
            behind in prop::collection::vec(any::<u8>(), 0..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            size in 1usize..90,
        ) {
            let start: &[u8] = if is_http2 { PREFACE } else { b"PRI / HTTP/1.1\r\n\r\n" };
            let all = [start, &behind].concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(all.len() + 1)).chain([0, all.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &all[cut[0]..cut[1]]).collect();
            let version = if is_http2 { Version::Http2 } else { Version::Http1 };
            prop_assert_eq!(read(&pieces, size), (version, all.clone()));
        }
    }

    #[test]
    fn what_ends_early_is_http_1() {
        for text in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert_eq!(read(&[text.as_bytes()], 9), (Version::Http1, text.into()));
        }
    }

    #[tokio::test]
    async fn the_first_bytes_come_with_what_follows_them() {
        let mut begun = Begun::new(&b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\n"[..]);
        assert_eq!(poll_fn(|cx| begun.poll_version(cx)).await, Version::Http1);
        assert_eq!(begun.read(&mut [0; 100]).await.expect("no error"), 37);
    }

    #[tokio::test]
    async fn an_error_is_told_behind_what_came_before_it() {
        for first in ["", "GET", "GET / HTTP/1.1\r\nhost: example.com"] {
            let mut builder = Builder::new();
            if !first.is_empty() {
                builder.read(first.as_bytes());
            }
            let io = builder.read_error(io::ErrorKind::ConnectionReset.into()).build();
            // It shares the error with what it builds.
            drop(builder);
            let mut begun = Begun::new(io);
            assert_eq!(poll_fn(|cx| begun.poll_version(cx)).await, Version::Http1);
            let mut all = Vec::new();
            let error = begun.read_to_end(&mut all).await.expect_err("an error");
            assert_eq!((error.kind(), &all[..]), (io::ErrorKind::ConnectionReset, first.as_bytes()));
        }
    }
}
