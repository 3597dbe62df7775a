//! A client that wants its answer in one piece.

use super::*;

#[tokio::test(start_paused = true)]
async fn finds_the_reasoning_beside_the_answer() {
    let lab = Lab::new(|name| {
        Some(if name == "a" {
            stream([thinks("Let me "), thinks("think."), chunk("first", json!({}), Some("stop")), usage(40), done()])
        } else {
            completes("4")
        })
    });
    let response = lab.chat(json!({})).await;
    assert_eq!(response.headers()["x-pointsman-hybrid"], "reasoned");
    let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let body = collected(response.into_body()).await;
    assert_eq!(body.len(), length);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let message = json!({ "role": "assistant", "content": "4", "reasoning_content": "Let me think." });
    assert_eq!(answer["choices"][0]["message"], message);
    assert_eq!((&answer["id"], &answer["usage"]["total_tokens"]), (&json!("second"), &json!(42)));
    // The first is asked for a stream, so that it can be stopped; the second as the client asked.
    assert_eq!(lab.asked()[0].body["stream"], true);
    assert_eq!(lab.asked()[1].body.get("stream"), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_tool_calls_is_an_answer() {
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "call-1" }] });
    let answer = json!({ "choices": [{ "message": call, "finish_reason": "tool_calls" }] });
    let lab = Lab::new(move |name| Some(if name == "a" { stream([thinks("Hm.")]) } else { whole(200, &answer) }));
    let read = lab.read(json!({ "tools": [{ "type": "function" }], "tool_choice": "auto" })).await;
    assert_eq!(read.json()["choices"][0]["message"]["tool_calls"], json!([{ "id": "call-1" }]));
    assert_eq!(read.json()["choices"][0]["message"]["reasoning_content"], "Hm.");
    let [first, second] = &lab.asked()[..] else { panic!("two requests") };
    assert!(first.body.get("tools").is_none() && first.body.get("tool_choice").is_none());
    assert_eq!((&second.body["tools"][0]["type"], &second.body["tool_choice"]), (&json!("function"), &json!("auto")));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_shows_no_reasoning_gives_its_answer_for_one() {
    let lab = Lab::new(|name| {
        Some(if name == "a" { stream([says("I would "), says("add."), done()]) } else { completes("4") })
    });
    let read = lab.read(json!({})).await;
    assert_eq!(read.json()["choices"][0]["message"]["reasoning_content"], "I would add.");
    assert_eq!(read.json()["choices"][0]["message"]["content"], "4");
    assert!(told(&lab.asked()[1]).contains("I would add."));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_completion_passes_as_it_is() {
    let lab = Lab::new(|name| {
        Some(if name == "a" {
            stream([thinks("Hm."), done()])
        } else {
            let mut said = completes("4");
            said.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("br"));
            said
        })
    });
    assert_eq!(lab.read(json!({})).await.body, collected(completes("4").into_body().boxed_unsync()).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_what_is_under_way() {
    for steps in [vec![thinks("Hm."), Step::Hang], vec![thinks("Hm.")]] {
        let running = Arc::new(());
        let inside = Arc::clone(&running);
        let lab = Lab::new(move |name| {
            let steps = if name == "a" { steps.clone() } else { vec![Step::Data("{".into()), Step::Hang] };
            let mut said = stream_of(steps, Arc::clone(&inside));
            if name == "b" {
                said.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            }
            Some(said)
        });
        let second = Duration::from_secs(1);
        assert!(tokio::time::timeout(second, lab.chat(json!({}))).await.is_err(), "it hangs");
        assert_eq!(Arc::strong_count(&running), 2);
    }
}
