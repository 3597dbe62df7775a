//! A client that asked for a stream.

use super::*;

fn streaming() -> Value {
    json!({ "stream": true })
}

#[tokio::test(start_paused = true)]
async fn shows_the_reasoning_and_then_the_answer_under_one_id() {
    let lab = Lab::new(|name| {
        Some(match name {
            "a" => stream([thinks("Let me "), thinks("think."), says("never shown"), Step::Hang]),
            _ => stream([says("It is"), says(" 4."), chunk("second", json!({}), Some("stop")), usage(2), done()]),
        })
    });
    let read = lab.read(streaming()).await;
    assert_eq!((read.status, read.outcome()), (200, "reasoned"));
    assert_eq!((read.said("reasoning_content"), read.said("content")), ("Let me think.".into(), "It is 4.".into()));
    assert!(read.is_done());
    let chunks = read.chunks();
    assert_eq!(chunks[0]["object"], "chat.completion.chunk");
    assert_eq!(chunks[0]["model"], "model-b");
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]), "{}", read.body);

    let [first, second] = &lab.asked()[..] else { panic!("two requests") };
    assert_eq!((&first.provider[..], &first.body["model"]), ("a", &json!("model-a")));
    assert_eq!(first.body["stream_options"], json!({ "include_usage": true }));
    assert_eq!((&second.provider[..], &second.body["model"]), ("b", &json!("model-b")));
    assert_eq!(second.body["stream"], true);
    assert!(told(second).contains("<reasoning>\nLet me think.\n</reasoning>"));
    assert_eq!(second.body["messages"][1], json!({ "role": "user", "content": "Hi" }));
}

#[tokio::test(start_paused = true)]
async fn each_piece_is_there_as_soon_as_it_is_said() {
    let second = Duration::from_secs(1);
    let lab = Lab::new(move |name| {
        let slow = |one, two| stream([one, Step::Wait(second), two, Step::Wait(second)]);
        Some(if name == "a" { slow(thinks("one"), thinks("two")) } else { slow(says("three"), says("four")) })
    });
    let started = Instant::now();
    let mut body = lab.chat(streaming()).await.into_body();
    for (text, seconds) in [("one", 0), ("two", 1), ("three", 2), ("four", 3)] {
        let data = body.frame().await.expect("a frame").expect("no break").into_data().expect("data");
        assert!(String::from_utf8_lossy(&data).contains(text), "{data:?}");
        assert_eq!(started.elapsed().as_secs(), seconds, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_model_is_stopped_before_the_second_is_asked() {
    for last in [says("Answer"), chunk("a", json!({ "tool_calls": [{ "index": 0 }] }), None)] {
        let running = Arc::new(());
        let inside = Arc::clone(&running);
        let lab = Lab::new(move |name| {
            Some(if name == "a" {
                stream_of(vec![thinks("Hm."), last.clone(), Step::Hang], Arc::clone(&inside))
            } else {
                // The test, and the script.
                assert_eq!(Arc::strong_count(&inside), 2, "it still runs");
                answers("4")
            })
        });
        assert_eq!(lab.read(streaming()).await.said("content"), "4");
    }
}

#[tokio::test(start_paused = true)]
async fn tags_are_taken_out_wherever_the_stream_is_cut() {
    let text = [
        chunk("first", json!({ "content": "<thin" }), None),
        chunk("first", json!({ "content": "king>If é < b, then</th" }), None),
        chunk("first", json!({ "content": "inking>Never shown" }), None),
    ];
    let text = text.map(|step| if let Step::Data(data) = step { data } else { String::new() }).concat();
    for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
        let (one, two) = text.split_at(cut);
        let pieces = vec![Step::Data(one.to_owned()), Step::Data(two.to_owned()), Step::Hang];
        let lab = Lab::new(move |name| Some(if name == "a" { stream(pieces.clone()) } else { answers("4") }));
        let read = lab.read(streaming()).await;
        assert_eq!(read.said("reasoning_content"), "If é < b, then", "{cut}");
        assert_eq!(read.said("content"), "4");
    }
}

#[tokio::test(start_paused = true)]
async fn usage_is_the_sum_and_comes_if_the_second_sends_it() {
    for finish in [vec![chunk("first", json!({}), Some("stop")), usage(40), done()], vec![usage(40), done()]] {
        let lab = Lab::new(move |name| {
            let mut steps = vec![thinks("Hm.")];
            steps.extend(finish.clone());
            Some(if name == "a" { stream(steps) } else { answers("4") })
        });
        let sums: Vec<_> = lab.read(streaming()).await.chunks();
        let sums: Vec<_> = sums.iter().filter_map(|chunk| chunk["usage"]["total_tokens"].as_u64()).collect();
        assert_eq!(sums, [42]);
    }
    let lab = Lab::new(|name| {
        Some(if name == "a" { stream([thinks("Hm."), usage(40), done()]) } else { stream([says("4"), done()]) })
    });
    assert!(!lab.read(streaming()).await.body.contains("usage"));
}

#[tokio::test(start_paused = true)]
async fn without_reasoning_the_second_s_stream_is_as_it_came_but_for_the_usage() {
    let lab = Lab::new(|name| {
        Some(if name == "a" {
            stream([chunk("first", json!({ "tool_calls": [{ "index": 0 }] }), None), Step::Hang])
        } else {
            answers("4")
        })
    });
    let read = lab.read(streaming()).await;
    assert_eq!(read.outcome(), "no-reasoning");
    assert_eq!(read.body, collected(answers("4").into_body().boxed_unsync()).await);
    // Nothing was put in either.
    assert_eq!(lab.asked()[1].body["messages"], json!([{ "role": "user", "content": "Hi" }]));

    let lab = Lab::new(|name| {
        Some(if name == "a" {
            stream([chunk("first", json!({ "tool_calls": [{}] }), Some("tool_calls")), usage(40), done()])
        } else {
            answers("4")
        })
    });
    let read = lab.read(streaming()).await;
    let chunks = read.chunks();
    assert_eq!((&chunks[0]["id"], &chunks[2]["usage"]["total_tokens"]), (&json!("second"), &json!(42)));
}

#[tokio::test(start_paused = true)]
async fn models_that_do_not_stream_work_all_the_same() {
    let lab = Lab::new(|name| {
        let message = json!({ "reasoning_content": "Hm.", "content": "never shown" });
        let thinking = json!({ "choices": [{ "message": message }], "usage": { "total_tokens": 40 } });
        Some(if name == "a" { whole(200, &thinking) } else { completes("4") })
    });
    let read = lab.read(json!({ "stream": true, "stream_options": { "include_usage": true } })).await;
    assert_eq!((read.said("reasoning_content"), read.said("content")), ("Hm.".into(), "4".into()));
    let chunks = read.chunks();
    assert_eq!(chunks.last().expect("a chunk")["usage"]["total_tokens"], 42);
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]) && read.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pauses_pauses_the_first_model() {
    let lab = Lab::new(|name| {
        let pieces = (0..1000).map(|n| thinks(&format!("{n} ")));
        Some(if name == "a" { stream(pieces) } else { answers("4") })
    });
    let mut body = lab.chat(streaming()).await.into_body();
    for _ in 0..3 {
        body.frame().await.expect("a frame").expect("no break");
    }
    // However long it takes, nothing is read ahead: the second model has not been asked.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(lab.providers(), ["a"]);
    let rest = collected(body).await;
    assert!(rest.contains("\"content\":\"4\"") && rest.contains("\"reasoning_content\":\"999 \""));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_what_is_under_way() {
    for steps in [vec![thinks("Hm."), Step::Hang], vec![thinks("Hm.")]] {
        let running = Arc::new(());
        let inside = Arc::clone(&running);
        let lab = Lab::new(move |name| {
            let steps = if name == "a" { steps.clone() } else { vec![says("4"), Step::Hang] };
            Some(stream_of(steps, Arc::clone(&inside)))
        });
        let mut body = lab.chat(streaming()).await.into_body();
        let second = Duration::from_secs(1);
        while tokio::time::timeout(second, body.frame()).await.is_ok() {}
        assert_eq!(Arc::strong_count(&running), 3);
        drop(body);
        assert_eq!(Arc::strong_count(&running), 2);
    }
}
