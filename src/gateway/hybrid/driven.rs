use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

/// A body whose frames come from a future that runs while the body is read, and only then.
///
/// One frame at a time is between the two, so a reader that pauses pauses the future; one that leaves drops it.
pub(super) struct DrivenBody<E> {
    frames: mpsc::Receiver<Result<Frame<Bytes>, E>>,
    /// Has the only sender; none once it is done.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Where the future of a [`DrivenBody`] puts its frames.
pub(super) struct Frames<E>(mpsc::Sender<Result<Frame<Bytes>, E>>);

impl<E> Frames<E> {
    /// Hands on a frame. Done when there is room for it.
    pub(super) async fn send(&self, frame: Result<Frame<Bytes>, E>) {
        // The receiver is dropped together with this future.
        let _ = self.0.send(frame).await;
    }

    /// Hands on data, if there is any.
    pub(super) async fn data(&self, data: Bytes) {
        if !data.is_empty() {
            self.send(Ok(Frame::data(data))).await;
        }
    }
}

impl<E> DrivenBody<E> {
    pub(super) fn new<F>(work: impl FnOnce(Frames<E>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, frames) = mpsc::channel(1);
        Self { frames, work: Some(Box::pin(work(Frames(sender)))) }
    }
}

impl<E> Body for DrivenBody<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        if let Poll::Ready(Some(frame)) = self.frames.poll_recv(cx) {
            return Poll::Ready(Some(frame));
        }
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        // What it has sent just now, or the end.
        self.frames.poll_recv(cx)
    }
}

impl<E> fmt::Debug for DrivenBody<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrivenBody").field("is_done", &self.work.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn frames_come_as_they_are_asked_for() {
        let state = Arc::new(std::sync::Mutex::new(0));
        let counted = Arc::clone(&state);
        let mut body = DrivenBody::<Infallible>::new(|frames| async move {
            for n in 1..=5 {
                *counted.lock().unwrap() = n;
                frames.data(vec![n].into()).await;
            }
        });
        assert_eq!(*state.lock().unwrap(), 0);
        for n in 1..=5 {
            let frame = body.frame().await.expect("a frame").expect("infallible");
            assert_eq!(frame.into_data().expect("data"), vec![n]);
            // One in the reader's hands, one in between, one on its way.
            assert!(*state.lock().unwrap() <= n + 2);
        }
        assert!(body.frame().await.is_none() && body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_leaves_drops_the_work() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let mut body = DrivenBody::<Infallible>::new(|frames| async move {
            let _inside = inside;
            frames.data("x".into()).await;
            std::future::pending().await
        });
        body.frame().await.expect("a frame").expect("infallible");
        assert_eq!(Arc::strong_count(&held), 2);
        drop(body);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
