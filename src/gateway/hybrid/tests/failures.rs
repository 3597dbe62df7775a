//! What becomes of a request when one of the models fails.

use super::*;
use crate::config::OnReasoningFailure;

fn limited() -> Said {
    let mut said = whole(429, &json!({ "error": { "message": "slow down", "code": "limited" } }));
    said.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("7"));
    said
}

fn fail(settings: &mut config::Hybrid) {
    settings.hybrid_on_reasoning_failure = OnReasoningFailure::Fail;
}

type Script = fn() -> Said;

/// What the first model may do instead of reasoning, and the status that stands for it.
fn failures() -> Vec<(&'static str, u16, Script)> {
    vec![
        ("429", 429, limited),
        ("broken", 502, || stream([chunk("first", json!({ "role": "assistant" }), None), Step::Break])),
        ("an error inside", 502, || {
            stream([chunk("first", json!({}), None), event(&json!({ "error": { "message": "overloaded" } }))])
        }),
        ("no completion", 502, || {
            let mut said = stream([Step::Data("<html>".into())]);
            said.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"));
            said
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn without_the_first_model_the_second_answers_and_says_so() {
    for (what, _, said) in failures() {
        for streams in [false, true] {
            let lab = Lab::new(move |name| {
                Some(match (name, streams) {
                    ("a", _) => said(),
                    (_, true) => answers("4"),
                    (_, false) => completes("4"),
                })
            });
            let read = lab.read(json!({ "stream": streams })).await;
            assert_eq!((read.status, read.outcome()), (200, "reasoning-failed"), "{what}");
            let untouched = if streams { answers("4") } else { completes("4") };
            assert_eq!(read.body, collected(untouched.into_body().boxed_unsync()).await, "{what}");
            // Its request is the client's own.
            assert_eq!(lab.asked()[1].body["messages"], json!([{ "role": "user", "content": "Hi" }]), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_failure_is_the_answer_if_it_is_to_be() {
    for (what, status, said) in failures() {
        for streams in [false, true] {
            let lab = Lab::new(move |_| Some(said())).with(fail);
            let read = lab.read(json!({ "stream": streams })).await;
            assert_eq!((read.status, read.outcome()), (status, "reasoning-failed"), "{what}");
            assert_eq!(read.retry_after.as_deref(), (status == 429).then_some("7"), "{what}");
            assert!(read.json()["error"]["message"].is_string(), "{what}: {}", read.body);
            assert_eq!(lab.providers(), ["a"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reasoning_that_broke_off_counts_as_far_as_it_went() {
    for fails in [false, true] {
        let lab =
            Lab::new(|name| Some(if name == "a" { stream([thinks("So far"), Step::Break]) } else { completes("4") }));
        let lab = if fails { lab.with(fail) } else { lab };
        let read = lab.read(json!({})).await;
        assert_eq!((read.status, read.outcome()), (200, "reasoned"));
        assert_eq!(read.json()["choices"][0]["message"]["reasoning_content"], "So far");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_model_that_refuses_refuses_with_its_status() {
    let lab = Lab::new(|name| Some(if name == "a" { stream([thinks("Hm."), done()]) } else { limited() }));
    let read = lab.read(json!({})).await;
    assert_eq!((read.status, read.retry_after.as_deref()), (429, Some("7")));
    assert_eq!(read.json()["error"]["code"], "limited");
    // A client that has seen nothing yet gets a status, whether it streams or not.
    let lab = Lab::new(|name| Some(if name == "a" { stream([done()]) } else { limited() }));
    let read = lab.read(json!({ "stream": true })).await;
    assert_eq!((read.status, read.outcome()), (429, "no-reasoning"));
}

#[tokio::test(start_paused = true)]
async fn after_the_reasoning_was_shown_a_failure_is_an_event_and_the_end() {
    type Second = fn() -> Option<Said>;
    let seconds: [(Second, &str); 5] = [
        (|| Some(limited()), "limited"),
        (|| Some(whole(500, &json!("no words"))), "upstream_error"),
        (|| Some(stream([says("4"), Step::Break])), "upstream_stream_broken"),
        (|| Some(whole(200, &json!({ "choices": "none" }))), "upstream_invalid_answer"),
        (|| None, "upstream_timeout"),
    ];
    for (second, code) in seconds {
        let lab = Lab::new(move |name| if name == "a" { Some(stream([thinks("Hm."), done()])) } else { second() });
        let read = lab.read(json!({ "stream": true })).await;
        assert_eq!((read.status, read.outcome()), (200, "reasoned"));
        assert_eq!(read.said("reasoning_content"), "Hm.");
        assert_eq!(read.error()["code"], code, "{}", read.body);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_none() {
    let lab = Lab::new(|name| {
        let mut said =
            stream([if name == "a" { thinks("Hm.") } else { Step::Data("{\"choices\":".into()) }, Step::Break]);
        if name == "b" {
            said.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        }
        Some(said)
    });
    let read = lab.read(json!({})).await;
    assert_eq!((read.status, &read.json()["error"]["code"]), (502, &json!("upstream_stream_broken")));
}

#[tokio::test(start_paused = true)]
async fn each_side_falls_back_by_itself() {
    let side = |names: [&str; 2]| {
        let candidates = names.map(|name| Target::new(name, format!("model-{name}")));
        Arc::new(candidates.into_iter().fold(Route::new("side"), Route::candidate))
    };
    let mut lab = Lab::new(|name| {
        Some(match name {
            "a1" | "b1" => limited(),
            "a2" => stream([thinks("Hm."), done()]),
            _ => completes("4"),
        })
    });
    lab.sides.reasoning = side(["a1", "a2"]);
    lab.sides.execution = side(["b1", "b2"]);
    let response = lab.chat(json!({})).await;
    assert_eq!(lab.providers(), ["a1", "a2", "b1", "b2"]);
    // All of them are on the trail, and the one that answered is the second side's.
    let trail = response.extensions().get::<pointsman_layers::ext::Trail>().expect("a trail");
    let tried: Vec<_> = trail.attempts().iter().map(|attempt| &*attempt.provider).collect();
    assert_eq!(tried, ["a1", "a2", "b1", "b2"]);
    assert_eq!(&*trail.answered().expect("an answer").provider, "b2");
}
