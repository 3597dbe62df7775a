//! The cache, on a paused clock and with scripted sources.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, task};

use super::*;

mod properties;

const SECOND: Duration = Duration::from_secs(1);
/// Tasks that are woken at one instant run in any order; this is after all of them.
const AND_A_BIT: Duration = Duration::from_millis(1);

/// Answers with the number of the fetch, after a while.
struct Counting {
    fetches: Arc<AtomicUsize>,
    takes: Duration,
}

impl QuotaSource for Counting {
    fn fetch(&self) -> QuotaFetch {
        let (number, takes) = (self.fetches.fetch_add(1, Ordering::SeqCst) + 1, self.takes);
        Box::pin(async move {
            sleep(takes).await;
            Ok(json!(number))
        })
    }
}

/// A handle whose source counts its fetches, and the count.
fn counting(takes: Duration, options: QuotaOptions) -> (QuotaHandle, Arc<AtomicUsize>) {
    let fetches = Arc::new(AtomicUsize::new(0));
    let source = Counting { fetches: Arc::clone(&fetches), takes };
    (QuotaCache::new(options).insert("a", source), fetches)
}

/// A handle whose source gives these results, then hangs.
fn scripted(results: Vec<Result<i32, QuotaError>>, options: QuotaOptions) -> QuotaHandle {
    let next = AtomicUsize::new(0);
    QuotaCache::new(options).insert("a", move || {
        let result = results.get(next.fetch_add(1, Ordering::SeqCst)).cloned();
        async move {
            match result {
                Some(result) => result.map(|value| json!(value)),
                None => pending().await,
            }
        }
    })
}

fn value(reading: &QuotaReading) -> Option<i64> {
    reading.value().and_then(|value| value.as_i64())
}

fn background() -> QuotaOptions {
    QuotaOptions { refresh: Refresh::Background, ..QuotaOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn headers_are_watched_beside_a_source_or_without_one() {
    let quotas = QuotaCache::default();
    let left = || http::HeaderName::from_static("x-left");
    let said = |handle: &QuotaHandle| handle.headers().unwrap().value().cloned();
    let answer = http::HeaderMap::from_iter([(left(), http::HeaderValue::from_static("3"))]);

    let alone = quotas.watch("alone", [left()]);
    alone.observe(&answer, false);
    assert_eq!(said(&alone), Some(json!({"x-left": 3})));
    for reading in [alone.cached().unwrap(), alone.read().await, quotas.get("alone").await, alone.peek()] {
        assert_eq!((reading.value(), reading.reason()), (None, Some("no quota source")));
    }

    // Whichever comes first.
    quotas.insert("both", async || Ok::<_, QuotaError>(json!(1)));
    quotas.watch("both", [left()]);
    let both = quotas.insert("both", async || Ok::<_, QuotaError>(json!(2)));
    assert!(both.headers().is_some());
    both.observe(&answer, false);
    assert_eq!(value(&both.read().await), Some(2));
    assert_eq!(said(&both), Some(json!({"x-left": 3})));
    quotas.invalidate("both");
    assert!(said(&both).is_none() && both.cached().is_none());

    both.observe(&answer, false);
    quotas.clear();
    assert!(said(&both).is_none());
    assert!(quotas.insert("neither", async || Ok::<_, QuotaError>(json!(1))).headers().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_fresh_until_its_age_reaches_the_ttl() {
    let (handle, fetches) = counting(SECOND, QuotaOptions::default());
    assert!(handle.cached().is_none());
    assert_eq!((handle.peek().freshness(), handle.peek().reason()), (Freshness::Unknown, Some("not fetched yet")));
    assert_eq!(value(&handle.read().await), Some(1));

    advance(300 * SECOND - Duration::from_nanos(1)).await;
    let reading = handle.cached().unwrap();
    assert_eq!((value(&reading), reading.freshness(), reading.reason()), (Some(1), Freshness::Fresh, None));
    assert_eq!(reading.age(), Some(300 * SECOND - Duration::from_nanos(1)));

    advance(Duration::from_nanos(1)).await;
    assert!(handle.cached().is_none());
    let shown = handle.peek();
    assert_eq!((value(&shown), shown.freshness(), shown.reason()), (Some(1), Freshness::Stale, Some("expired")));
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert_eq!(value(&handle.read().await), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_readers_share_one_fetch_and_one_value() {
    let (handle, fetches) = counting(SECOND, QuotaOptions::default());
    let mut readers: Vec<_> = (0..100).map(|_| task::spawn(handle.read())).collect();
    for reader in &mut readers {
        assert_pending!(reader.poll());
    }
    sleep(SECOND + AND_A_BIT).await;
    let readings: Vec<_> = readers.iter_mut().map(|reader| assert_ready!(reader.poll())).collect();
    let first = readings[0].value().unwrap();
    assert!(readings.iter().all(|reading| std::ptr::eq(reading.value().unwrap(), first)));
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_before_the_future_is_polled() {
    let (handle, fetches) = counting(SECOND, QuotaOptions::default());
    drop(handle.read());
    sleep(SECOND).await;
    assert_eq!(fetches.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_outlives_its_readers() {
    let (handle, fetches) = counting(SECOND, QuotaOptions::default());
    let mut reader = task::spawn(handle.read());
    assert_pending!(reader.poll());
    drop(reader);
    sleep(2 * SECOND).await;
    assert_eq!(value(&handle.cached().unwrap()), Some(1));
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn waiters_get_the_answer_even_if_it_expires_at_once() {
    let (handle, _) = counting(SECOND, QuotaOptions { ttl: Duration::ZERO, ..QuotaOptions::default() });
    assert_eq!(value(&handle.read().await), Some(1));
    assert_eq!(value(&handle.read().await), Some(2));
}

#[tokio::test(start_paused = true)]
async fn an_outdated_answer_reaches_neither_earlier_nor_later_waiters() {
    let (handle, fetches) = counting(2 * SECOND, QuotaOptions::default());
    let mut earlier = task::spawn(handle.read());
    assert_pending!(earlier.poll());
    sleep(SECOND).await;
    handle.invalidate();
    let mut later = task::spawn(handle.read());
    assert_pending!(later.poll());

    sleep(2 * SECOND).await; // the first fetch is over by now
    assert_pending!(earlier.poll());
    assert_pending!(later.poll());
    assert!(handle.cached().is_none());

    sleep(SECOND + AND_A_BIT).await;
    assert_eq!(value(&assert_ready!(earlier.poll())), Some(2));
    assert_eq!(value(&assert_ready!(later.poll())), Some(2));
    assert_eq!(value(&handle.cached().unwrap()), Some(2));
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outdated_answer_that_nobody_waits_for_is_dropped_and_not_fetched_again() {
    let (handle, fetches) = counting(SECOND, QuotaOptions::default());
    let mut reader = task::spawn(handle.read());
    assert_pending!(reader.poll());
    drop(reader);
    sleep(SECOND / 2).await;
    handle.invalidate();
    sleep(10 * SECOND).await;
    assert!(handle.cached().is_none());
    assert_eq!(handle.peek().freshness(), Freshness::Unknown);
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert_eq!(value(&handle.read().await), Some(2));
}

#[tokio::test(start_paused = true)]
async fn no_reader_waits_longer_than_its_timeout_however_often_the_entry_is_emptied() {
    let (handle, _) = counting(2 * SECOND, QuotaOptions::default());
    let begun = Instant::now();
    let reader = tokio::spawn({
        let handle = handle.clone();
        async move { handle.read().await }
    });
    for _ in 0..10 {
        sleep(SECOND).await;
        handle.invalidate();
        if reader.is_finished() {
            break;
        }
    }
    assert_eq!(begun.elapsed(), 6 * SECOND, "noticed at the next turn after 5 s");
    let reading = reader.await.unwrap();
    assert_eq!((reading.freshness(), reading.reason()), (Freshness::Unknown, Some("no answer within 5s")));
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_value_is_shown_and_not_used() {
    let quotas = QuotaCache::default();
    let handle = quotas.insert("a", async || Ok::<_, QuotaError>(json!(7)));
    handle.read().await;
    quotas.invalidate("a");
    quotas.invalidate("nobody");
    assert!(handle.cached().is_none());
    let shown = handle.peek();
    assert_eq!((value(&shown), shown.freshness(), shown.reason()), (Some(7), Freshness::Stale, Some("invalidated")));

    quotas.clear();
    assert_eq!((value(&handle.peek()), handle.peek().freshness()), (None, Freshness::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_its_own_time() {
    let handle = scripted(vec![Ok(1), Err(QuotaError::new("refused")), Ok(2)], QuotaOptions::default());
    handle.read().await;
    handle.invalidate();
    let reading = handle.read().await;
    assert_eq!((value(&reading), reading.freshness(), reading.reason()), (None, Freshness::Unknown, Some("refused")));
    assert_eq!(reading.age(), None);

    advance(10 * SECOND - Duration::from_nanos(1)).await;
    assert_eq!(handle.cached().unwrap().reason(), Some("refused"));
    let shown = handle.peek();
    assert_eq!((value(&shown), shown.freshness(), shown.reason()), (Some(1), Freshness::Stale, Some("refused")));
    assert_eq!(shown.age(), Some(10 * SECOND - Duration::from_nanos(1)));

    advance(Duration::from_nanos(1)).await;
    assert!(handle.cached().is_none());
    assert_eq!(value(&handle.read().await), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_asks_for_a_pause_gets_it_up_to_the_ttl() {
    for (asked, kept) in [(1, 10), (60, 60), (1_000_000, 300)] {
        let error = QuotaError::new("slow down").with_retry_after(asked * SECOND);
        let handle = scripted(vec![Err(error), Ok(1)], QuotaOptions::default());
        handle.read().await;
        advance(kept * SECOND - Duration::from_nanos(1)).await;
        assert!(handle.cached().is_some(), "{asked}");
        advance(Duration::from_nanos(1)).await;
        assert!(handle.cached().is_none(), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_a_failure_at_its_deadline() {
    let handle = scripted(vec![], QuotaOptions::default());
    let begun = Instant::now();
    assert_eq!(handle.read().await.reason(), Some("no answer within 5s"));
    assert_eq!(begun.elapsed(), 5 * SECOND);
    tokio::task::yield_now().await;
    assert_eq!(handle.cached().unwrap().reason(), Some("no answer within 5s"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_has_failed() {
    let handle = QuotaCache::default().insert("a", || async { panic!("a bug in a source") });
    assert_eq!(handle.read().await.reason(), Some("the fetch was cut off"));
    assert_eq!(handle.cached().unwrap().reason(), Some("the fetch was cut off"));

    // Its answer would have been outdated: the waiters learn at once that there is none.
    let handle = QuotaCache::default().insert("a", || async {
        sleep(SECOND).await;
        panic!("a bug in a source")
    });
    let mut reader = task::spawn(handle.read());
    assert_pending!(reader.poll());
    sleep(SECOND / 2).await;
    handle.invalidate();
    let begun = Instant::now();
    assert_eq!(reader.await.reason(), Some("the fetch was cut off"));
    assert_eq!(begun.elapsed(), SECOND / 2);
    assert!(handle.cached().is_none());
}

#[tokio::test(start_paused = true)]
async fn in_the_background_an_expired_answer_is_used_while_one_fetch_runs() {
    let (handle, fetches) = counting(SECOND, background());
    assert_eq!(value(&handle.read().await), Some(1));
    advance(300 * SECOND).await;

    let begun = Instant::now();
    for _ in 0..100 {
        let reading = handle.read().await;
        assert_eq!((value(&reading), reading.freshness()), (Some(1), Freshness::Stale));
        assert_eq!(value(&handle.cached().unwrap()), Some(1));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);

    sleep(SECOND + AND_A_BIT).await;
    assert_eq!((value(&handle.cached().unwrap()), fetches.load(Ordering::SeqCst)), (Some(2), 2));
    assert_eq!(handle.peek().freshness(), Freshness::Fresh);
}

#[tokio::test(start_paused = true)]
async fn in_the_background_an_invalidated_answer_is_awaited_all_the_same() {
    let (handle, _) = counting(SECOND, background());
    handle.read().await;
    advance(300 * SECOND).await;
    assert!(handle.cached().is_some()); // starts a fetch
    handle.invalidate();
    assert!(handle.cached().is_none());
    assert_eq!(value(&handle.read().await), Some(3));
}

#[tokio::test(start_paused = true)]
async fn to_show_a_quota_fetches_nothing() {
    let (handle, fetches) = counting(SECOND, background());
    handle.peek();
    handle.read().await;
    advance(300 * SECOND).await;
    handle.peek();
    sleep(2 * SECOND).await;
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_cache_knows_its_backends() {
    let quotas = QuotaCache::new(QuotaOptions { ttl: 60 * SECOND, ..QuotaOptions::default() });
    assert_eq!((quotas.ttl(), QuotaCache::default().ttl()), (60 * SECOND, 300 * SECOND));
    assert_eq!(quotas.get("a").await.reason(), Some("no quota source"));
    assert!(quotas.handle("a").is_none());

    quotas.insert("a", async || Ok::<_, QuotaError>(json!(1)));
    assert_eq!(value(&quotas.clone().get("a").await), Some(1));
    quotas.insert_with("a", async || Ok::<_, QuotaError>(json!(2)), QuotaOptions::default());
    assert_eq!(value(&quotas.get("a").await), Some(2));
    advance(60 * SECOND).await;
    assert!(quotas.handle("a").unwrap().cached().is_some(), "options of its own");
    quotas.remove("a");
    assert!(quotas.handle("a").is_none());
}
