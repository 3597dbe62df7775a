use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

use criterion::Criterion;
use pointsman_layers::error_count::ErrorWindow;

use crate::harness::bench;

pub(crate) fn benches(criterion: &mut Criterion) {
    let window = ErrorWindow::default();
    bench(criterion, "error window/record", || (), |()| window.record());
    bench(criterion, "error window/count", || (), |()| window.count());
    for threads in [2, 4] {
        let name = format!("error window/count and record, {threads} threads");
        criterion.bench_function(&name, |bencher| bencher.iter_custom(|rounds| contended(&window, threads, rounds)));
    }
}

/// The time for `rounds` of one record and seven counts on each of several threads at once.
fn contended(window: &ErrorWindow, threads: usize, rounds: u64) -> Duration {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let work = || {
            start.wait();
            let began = now();
            for _ in 0..rounds {
                window.record();
                for _ in 0..7 {
                    std::hint::black_box(window.count());
                }
            }
            began.elapsed()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    })
}

#[expect(clippy::disallowed_methods, reason = "it is real time that is measured")]
fn now() -> Instant {
    Instant::now()
}
