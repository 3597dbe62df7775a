use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use criterion::{BatchSize, Criterion};
use http::{Request, Response};
use http_body::Body;
use pointsman_layers::body::ReplayBody;
use tower_service::Service;

/// What a future that never waits comes to.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("something waits that should not"),
    }
}

/// Reads a body that never waits to its end.
pub(crate) fn read<B: Body>(body: B)
where
    B::Error: Debug,
{
    let mut body = pin!(body);
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
        black_box(frame.expect("a body that does not break").into_data().ok());
    }
}

/// Times `work` on what `prepare` makes, and says what it allocates.
pub(crate) fn bench<I, O>(
    criterion: &mut Criterion,
    name: &str,
    mut prepare: impl FnMut() -> I,
    mut work: impl FnMut(I) -> O,
) {
    // The first run may fill caches.
    black_box(work(prepare()));
    let input = prepare();
    let allocated = allocation_counter::measure(|| {
        black_box(work(input));
    });
    println!("{name:<44} allocations: {:>4}, bytes: {:>8}", allocated.count_total, allocated.bytes_total);
    criterion.bench_function(name, |bencher| bencher.iter_batched(&mut prepare, &mut work, BatchSize::SmallInput));
}

/// Times a service on a request, to the end of the body of its answer.
pub(crate) fn bench_service<S, B>(
    criterion: &mut Criterion,
    name: &str,
    mut service: S,
    prepare: impl FnMut() -> Request<ReplayBody>,
) where
    S: Service<Request<ReplayBody>, Response = Response<B>>,
    S::Error: Debug,
    B: Body,
    B::Error: Debug,
{
    bench(criterion, name, prepare, |request| {
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(()))), "the service is not ready");
        let response = at_once(service.call(request)).expect("an answer");
        assert_eq!(response.status(), 200);
        read(response.into_body());
    });
}

/// A body that is a list of frames in memory. Unlike a [`ReplayBody`], it does not say how long it is.
#[derive(Clone, Debug)]
pub(crate) struct Frames(pub(crate) std::vec::IntoIter<bytes::Bytes>);

impl Body for Frames {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|data| Ok(http_body::Frame::data(data))))
    }
}
