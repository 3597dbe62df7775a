//! Neither model has all the time in the world.

use super::*;
use crate::config::OnReasoningFailure;

#[tokio::test(start_paused = true)]
async fn a_first_model_that_says_nothing_is_given_up_after_60_s() {
    let silent: [fn() -> Option<Said>; 3] = [
        || None,
        || Some(stream([Step::Hang])),
        || Some(stream([chunk("first", json!({ "role": "assistant" }), None), Step::Hang])),
    ];
    for silent in silent {
        for on_failure in [OnReasoningFailure::Continue, OnReasoningFailure::Fail] {
            let lab = Lab::new(move |name| if name == "a" { silent() } else { Some(completes("4")) })
                .with(|settings| settings.hybrid_on_reasoning_failure = on_failure);
            let started = Instant::now();
            let read = lab.read(json!({})).await;
            assert_eq!(started.elapsed().as_secs(), 60);
            assert_eq!(read.outcome(), "reasoning-failed");
            match on_failure {
                OnReasoningFailure::Continue => assert_eq!(read.status, 200),
                OnReasoningFailure::Fail => {
                    assert_eq!((read.status, &read.json()["error"]["code"]), (504, &json!("upstream_timeout")));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_model_that_never_ends_is_cut_after_60_s() {
    for streams in [false, true] {
        let running = Arc::new(());
        let inside = Arc::clone(&running);
        let lab = Lab::new(move |name| {
            let tick = [thinks("tick "), Step::Wait(Duration::from_secs(7))];
            Some(match (name, streams) {
                ("a", _) => stream_of(std::iter::repeat_n(tick, 100).flatten().collect(), Arc::clone(&inside)),
                (_, true) => answers("4"),
                (_, false) => completes("4"),
            })
        });
        let started = Instant::now();
        let read = lab.read(json!({ "stream": streams })).await;
        assert_eq!(started.elapsed().as_secs(), 60);
        assert_eq!(Arc::strong_count(&running), 2);
        // It said that at 0, 7, ... 56 s; what it has said counts.
        let told = told(&lab.asked()[1]).matches("tick").count();
        assert_eq!((read.status, read.outcome(), told), (200, "reasoned", 9));
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_model_that_never_pauses_is_cut_too() {
    /// Always has another event, none of which says anything.
    fn endless() -> Said {
        let body = DrivenBody::new(|frames| async move {
            for _ in 0..100_000 {
                tokio::time::advance(Duration::from_millis(1)).await;
                frames.data(": ping\n\ndata: {}\n\n".into()).await;
            }
        });
        Response::builder().header(header::CONTENT_TYPE, "text/event-stream").body(body).expect("a response")
    }
    let lab = Lab::new(|name| Some(if name == "a" { endless() } else { completes("4") }));
    let started = Instant::now();
    assert_eq!(lab.read(json!({})).await.outcome(), "reasoning-failed");
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_first_model_that_thinks_long_is_cut_where_it_is_enough() {
    let lab = Lab::new(|name| {
        let page = "é".repeat(1000);
        Some(if name == "a" {
            stream(std::iter::repeat_n(thinks(&page), 20).chain([Step::Hang]))
        } else {
            answers("4")
        })
    });
    let started = Instant::now();
    let read = lab.read(json!({ "stream": true })).await;
    assert_eq!(read.said("reasoning_content").chars().count(), 16_384);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_finished_is_not_waited_for_long() {
    let lab = Lab::new(|name| {
        let finish = chunk("first", json!({}), Some("stop"));
        Some(if name == "a" { stream([thinks("Hm."), finish, Step::Hang]) } else { completes("4") })
    });
    let started = Instant::now();
    assert_eq!(lab.read(json!({})).await.outcome(), "reasoned");
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_second_model_has_120_s_to_begin() {
    for streams in [false, true] {
        let lab =
            Lab::new(|name| (name == "a").then(|| stream([chunk("first", json!({ "content": "" }), Some("stop"))])));
        let started = Instant::now();
        let read = lab.read(json!({ "stream": streams })).await;
        assert_eq!((read.status, &read.json()["error"]["code"]), (504, &json!("upstream_timeout")));
        assert_eq!(started.elapsed().as_secs(), 120);
    }
    // Once it has begun, it may take its time.
    let lab = Lab::new(|name| {
        let hour = Step::Wait(Duration::from_secs(3600));
        Some(stream([
            if name == "a" { thinks("Hm.") } else { says("4") },
            if name == "a" { done() } else { hour },
            done(),
        ]))
    });
    assert!(lab.read(json!({ "stream": true })).await.is_done());
}

#[tokio::test(start_paused = true)]
async fn both_times_can_be_set() {
    let lab = Lab::new(|_| None).with(|settings| {
        settings.hybrid_reasoning_model_timeout = Duration::from_secs(3);
        settings.hybrid_execution_model_timeout = Duration::from_secs(5);
    });
    let started = Instant::now();
    assert_eq!(lab.read(json!({})).await.status, 504);
    let at: Vec<_> = lab.asked().iter().map(|asked| (asked.at - started).as_secs()).collect();
    assert_eq!((at, started.elapsed().as_secs()), (vec![0, 3], 8));
    // The longest that can be said is no fault.
    let lab = Lab::new(|name| Some(if name == "a" { stream([thinks("Hm.")]) } else { completes("4") }));
    let lab = lab.with(|settings| {
        settings.hybrid_reasoning_model_timeout = Duration::MAX;
        settings.hybrid_execution_model_timeout = Duration::MAX;
    });
    assert_eq!(lab.read(json!({})).await.outcome(), "reasoned");
}
