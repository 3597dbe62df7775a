//! When the first model is asked, and what is no request for a hybrid.

use super::*;

fn lab() -> Lab {
    Lab::new(|name| Some(if name == "a" { stream([thinks("Hm."), done()]) } else { completes("4") }))
}

/// A conversation in which the assistant has spoken so often.
fn turns(number: usize) -> Value {
    let turn = [json!({ "role": "user", "content": "?" }), json!({ "role": "assistant", "content": "!" })];
    let mut messages: Vec<_> = std::iter::repeat_n(turn, number).flatten().collect();
    messages.push(json!({ "role": "user", "content": "?" }));
    json!({ "messages": messages })
}

#[tokio::test(start_paused = true)]
async fn it_reasons_about_every_turn_unless_told_otherwise() {
    for number in [0, 1, 20] {
        assert_eq!(lab().read(turns(number)).await.outcome(), "reasoned");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probability_of_0_is_never() {
    let lab = lab().with(|settings| {
        settings.reasoning_injection_probability = 0.0;
        settings.hybrid_reasoning_force_initial_turns = 9;
    });
    for number in 0..3 {
        let read = lab.read(turns(number)).await;
        assert_eq!(read.outcome(), "reasoning-skipped");
        assert_eq!(read.body, collected(completes("4").into_body().boxed_unsync()).await);
    }
    assert_eq!(lab.providers(), ["b", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_turns_always_reason_and_the_others_by_chance() {
    let lab = lab().with(|settings| {
        settings.reasoning_injection_probability = 0.25;
        settings.hybrid_reasoning_force_initial_turns = 2;
    });
    let mut reasoned = [0; 4];
    for _ in 0..400 {
        for (number, count) in reasoned.iter_mut().enumerate() {
            *count += usize::from(lab.read(turns(number)).await.outcome() == "reasoned");
        }
    }
    assert_eq!(reasoned[..2], [400, 400]);
    // The same seed gives the same draws each time.
    assert!(reasoned[2..].iter().all(|count| (60..140).contains(count)), "{reasoned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_with_a_tool_result_is_not_reasoned_about() {
    let messages = json!([
        { "role": "user", "content": "?" },
        { "role": "assistant", "content": null, "tool_calls": [{ "id": "1" }] },
        { "role": "tool", "tool_call_id": "1", "content": "4" },
    ]);
    let request = json!({ "messages": messages });
    let always = lab().with(|settings| settings.hybrid_reasoning_force_initial_turns = 9);
    assert_eq!(always.read(request.clone()).await.outcome(), "reasoning-skipped");
    let about_tools = lab().with(|settings| settings.hybrid_reason_on_tool_turns = true);
    assert_eq!(about_tools.read(request).await.outcome(), "reasoned");
}

#[tokio::test(start_paused = true)]
async fn the_second_model_is_told_in_the_way_it_takes() {
    let mut lab = lab();
    lab.sides.execution_takes_system_messages = false;
    lab.read(json!({})).await;
    let messages = &lab.asked()[1].body["messages"];
    assert_eq!((messages.as_array().map(Vec::len), &messages[0]["role"]), (Some(1), &json!("user")));
    assert!(told(&lab.asked()[1]).contains("Hm.") && told(&lab.asked()[1]).ends_with("\n\nHi"));

    let lab = self::lab().with(|settings| settings.hybrid_backend_repeat_messages = true);
    lab.read(json!({})).await;
    let messages = &lab.asked()[1].body["messages"];
    assert_eq!(messages[2], json!({ "role": "assistant", "content": "<think>\nHm.\n</think>\n" }));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_for_a_hybrid_is_refused() {
    let disabled = lab().with(|settings| settings.disable_hybrid_backend = true);
    let read = disabled.read(json!({})).await;
    assert_eq!((read.status, &read.json()["error"]["code"]), (400, &json!("hybrid_disabled")));

    let body = json!({ "model": "hybrid:[a,b]", "messages": [], "input": "x" });
    for path in ["/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/completions"] {
        let response = lab().post(path, &body).await;
        assert_eq!(response.status(), 400, "{path}");
        let error: Value = serde_json::from_str(&collected(response.into_body()).await).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["param"]),
            (&json!("hybrid_unsupported"), &json!("model"))
        );
    }
    let lab = lab();
    assert_eq!(lab.read(json!({ "messages": "none" })).await.status, 400);
    assert!(lab.asked().is_empty());
}
