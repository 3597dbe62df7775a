use std::{
    future::Future,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

use super::connection::FAREWELL;

/// The most that is read and dropped of what a client sends on after its answer: four times the usual limit of a body.
const MOST_DROPPED: usize = 128 << 20;

/// The end of a connection whose client may still be sending.
///
/// Closed with something unread, a connection is reset, and a client that sends everything before it reads would find
/// that and no answer (RFC 9112, section 9.6). So what still comes is dropped, up to a time and an amount.
#[derive(Debug)]
pub(super) struct Linger {
    /// Whether there is something to wait for: a client that owes nothing may well have nothing to say.
    more_may_come: bool,
    left: usize,
    /// Made when it is first waited for.
    over: Option<Pin<Box<Sleep>>>,
}

impl Linger {
    pub(super) fn new(more_may_come: bool) -> Self {
        Self { more_may_come, left: MOST_DROPPED, over: None }
    }

    /// Ready when the connection can be closed.
    pub(super) fn poll(&mut self, mut io: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<()> {
        if self.over.as_mut().is_some_and(|over| over.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(());
        }
        let mut unread = [MaybeUninit::uninit(); 16 * 1024];
        while self.left > 0 {
            let mut unread = ReadBuf::uninit(&mut unread);
            match io.as_mut().poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {
                    self.left = self.left.saturating_sub(unread.filled().len());
                    self.more_may_come = true;
                }
                Poll::Pending if self.more_may_come => {
                    return self.over.get_or_insert_with(|| Box::pin(sleep(FAREWELL))).as_mut().poll(cx);
                }
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{
        io::{AsyncWriteExt as _, duplex},
        time::Instant,
    };

    use super::*;

    async fn lingered(linger: &mut Linger, io: &mut (impl AsyncRead + Unpin)) -> Duration {
        let start = Instant::now();
        poll_fn(|cx| linger.poll(Pin::new(io), cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_where_nothing_is_owed() {
        let (mut ours, _theirs) = duplex(1024);
        assert_eq!(lingered(&mut Linger::new(false), &mut ours).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_client_s_end() {
        for more_may_come in [true, false] {
            let (mut ours, mut theirs) = duplex(1024);
            // Something that is there shows that more may come.
            theirs.write_all(b"abc").await.unwrap();
            let client = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                theirs.write_all(&[0; 5000]).await.unwrap();
            });
            let took = lingered(&mut Linger::new(more_may_come), &mut ours).await;
            assert_eq!(took, Duration::from_secs(1));
            client.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_time_whether_the_client_is_silent_or_slow() {
        for pause in [1, 3600] {
            let (mut ours, mut theirs) = duplex(1024);
            let client = tokio::spawn(async move {
                while theirs.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                }
            });
            let took = lingered(&mut Linger::new(true), &mut ours).await;
            assert!(took >= FAREWELL && took < FAREWELL + Duration::from_millis(10), "{took:?}");
            client.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_after_an_amount() {
        let mut linger = Linger { left: 100_000, ..Linger::new(true) };
        assert_eq!(lingered(&mut linger, &mut tokio::io::repeat(b'x')).await, Duration::ZERO);
    }
}
