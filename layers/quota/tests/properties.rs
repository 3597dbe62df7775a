//! What holds of the cache in whatever order things happen.

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Read,
    Invalidate,
    Wait(u64),
}

proptest! {
    /// Reads, invalidations and time in any order: there is one fetch at a time, no reader gets an answer that was
    /// asked for before the last invalidation, and none waits longer than its timeout. The fetches' odd milliseconds
    /// keep them from ending at the instant of a step, when an answer may be on its way to its reader.
    #[test]
    fn no_reading_is_older_than_the_last_invalidation(
        takes in prop::collection::vec((0u64..70).prop_map(|tenths| tenths * 100 + 1), 1..5),
        in_background: bool,
        steps in prop::collection::vec(
            prop_oneof![3 => Just(Step::Read), 1 => Just(Step::Invalidate), 3 => (1u64..40).prop_map(|tenths| Step::Wait(tenths * 100))],
            0..60,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            // The order of things: fetches and invalidations take numbers.
            let (order, invalidated) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
            let source = {
                let (order, next) = (Arc::clone(&order), AtomicUsize::new(0));
                let running = Arc::new(AtomicUsize::new(0));
                move || {
                    struct Running(Arc<AtomicUsize>);
                    impl Drop for Running {
                        fn drop(&mut self) {
                            self.0.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    let others = running.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(others, 0, "one fetch at a time");
                    let guard = Running(Arc::clone(&running));
                    let begun = order.fetch_add(1, Ordering::SeqCst);
                    let takes = takes[next.fetch_add(1, Ordering::SeqCst) % takes.len()];
                    async move {
                        let _guard = guard;
                        sleep(Duration::from_millis(takes)).await;
                        Ok::<_, QuotaError>(json!(begun))
                    }
                }
            };
            let options = if in_background { background() } else { QuotaOptions::default() };
            let options = QuotaOptions { ttl: 3 * SECOND, negative_ttl: SECOND, ..options };
            let handle = QuotaCache::new(options).insert("a", source);
            let mut readers = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
                    Step::Invalidate => {
                        invalidated.store(order.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        handle.invalidate();
                    }
                    Step::Read => {
                        let (handle, invalidated) = (handle.clone(), Arc::clone(&invalidated));
                        readers.push(tokio::spawn(async move {
                            let asked = Instant::now();
                            let reading = handle.read().await;
                            (reading, asked.elapsed(), invalidated.load(Ordering::SeqCst))
                        }));
                    }
                }
            }
            for reader in readers {
                let (reading, waited, invalidated) = reader.await.expect("no reader panics");
                prop_assert!(waited <= 5 * SECOND, "{waited:?}");
                match reading.value() {
                    Some(begun) => prop_assert!(begun.as_u64() > Some(invalidated), "{begun} after {invalidated}"),
                    None => prop_assert!(reading.reason() == Some("no answer within 5s"), "{reading:?}"),
                }
            }
            Ok(())
        })?;
    }
}
