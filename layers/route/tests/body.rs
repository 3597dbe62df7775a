//! The body of an answer that went up, to its end.

use http_body_util::BodyExt as _;
use tower::service_fn;

use super::*;

const SSE: &[(&str, &str)] = &[("content-type", "text/event-stream; charset=utf-8")];

/// The body that a client gets for a request to `path`, when the provider answers with this.
async fn answer(
    path: &str,
    headers: &'static [(&'static str, &'static str)],
    body: TestBody,
) -> RouteBody<AnswerBody<TestBody>> {
    let body = Arc::new(Mutex::new(Some(body)));
    let provider = service_fn(move |_: Request<ReplayBody>| {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(body.lock().unwrap().take().unwrap()).unwrap();
        async { Ok::<_, Failed>(response) }
    });
    let request = Request::post(path).body(r#"{"model": "fast"}"#.into()).unwrap();
    let Ok(response) = layered(route(1), provider).oneshot(request).await;
    response.into_body()
}

fn broken() -> TestBody {
    TestBody::new([Step::Data("data: {}\n\n"), Step::Data("data: [DO"), Step::Break, Step::Data("NE]\n\n")])
}

/// The data of all frames, and whether it ended with an error.
async fn read(mut body: RouteBody<AnswerBody<TestBody>>) -> (String, bool) {
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap()),
            Err(_) => {
                assert!(body.frame().await.is_none(), "an error is the end");
                return (text, true);
            }
        }
    }
    assert!(body.is_end_stream());
    (text, false)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_ends_with_one_error_event_in_the_dialect_of_the_path() {
    let message = "the stream from 0 broke before its end; the answer is incomplete";
    let chat = format!(
        r#"data: {{"error":{{"message":"{message}","type":"api_error","param":null,"code":"upstream_stream_broken"}}}}"#
    );
    for (path, kind, event) in [
        ("/v1/chat/completions", "", chat.clone()),
        ("/v1/completions", "", chat),
        (
            "/v1/responses?x=/messages",
            "event: error\n",
            format!(
                r#"data: {{"code":"upstream_stream_broken","message":"{message}","param":null,"sequence_number":0,"type":"error"}}"#
            ),
        ),
        (
            "/anthropic/v1/messages",
            "event: error\n",
            format!(r#"data: {{"error":{{"message":"{message}","type":"api_error"}},"type":"error"}}"#),
        ),
    ] {
        let (text, failed) = read(answer(path, SSE, broken()).await).await;
        // The half-sent event is ended by a blank line, so that the error event is one of its own.
        assert_eq!(text, format!("data: {{}}\n\ndata: [DO\n\n{kind}{event}\n\n"), "{path}");
        assert!(!failed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_type_of_a_stream_may_be_written_in_any_case() {
    for headers in [
        &[("content-type", "text/event-stream")][..],
        &[("content-type", "Text/Event-Stream;charset=utf-8")],
        &[("content-type", "text/event-stream ; charset=utf-8")],
    ] {
        let (text, failed) = read(answer("/v1/chat/completions", headers, broken()).await).await;
        assert!(text.contains("upstream_stream_broken") && !failed, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_event_can_be_added_the_error_goes_up() {
    for headers in [
        &[("content-type", "application/json")][..],
        &[],
        &[("content-type", "text/event-streams")],
        &[("content-type", "text/event-stream"), ("content-encoding", "gzip")],
        &[("content-type", "text/event-stream"), ("content-length", "99")],
    ] {
        let (text, failed) = read(answer("/v1/chat/completions", headers, broken()).await).await;
        assert_eq!((&*text, failed), ("data: {}\n\ndata: [DO", true), "{headers:?}");
    }
    // A server announces the length that a body says it has.
    let body = TestBody { hint: SizeHint::with_exact(99), ..broken() };
    let (text, failed) = read(answer("/v1/chat/completions", SSE, body).await).await;
    assert_eq!((&*text, failed), ("data: {}\n\ndata: [DO", true));
}

#[tokio::test(start_paused = true)]
async fn a_whole_body_passes_unchanged() {
    for headers in [SSE, &[("content-type", "application/json")]] {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "1".parse().unwrap());
        let steps = [Step::Data("data: {}\n\n"), Step::Data("data: [DONE]\n\n"), Step::Trailers(trailers.clone())];
        let mut body = answer("/v1/chat/completions", headers, TestBody::new(steps)).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: {}\n\n");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: [DONE]\n\n");
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_is_the_provider_s_until_the_stream_breaks() {
    let mut hint = SizeHint::new();
    hint.set_lower(3);
    hint.set_upper(7);
    let body = TestBody { hint, ..broken() };
    let body = answer("/v1/chat/completions", &[], body).await;
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (3, Some(7)));
    let exact = TestBody { hint: SizeHint::with_exact(9), ..TestBody::default() };
    let body = answer("/v1/chat/completions", SSE, exact).await;
    assert_eq!(body.size_hint().exact(), Some(9));
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_while_a_stream_is_silent() {
    let mut body = answer("/v1/chat/completions", SSE, TestBody::new([Step::Data(": hi\n\n"), Step::Hang])).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), ": hi\n\n");
    // The route's time ends at the commit point.
    let silent = tokio::time::timeout(Duration::from_secs(3600), body.frame()).await;
    assert!(silent.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_body_drops_the_provider_s() {
    let alive = Arc::new(());
    let body = TestBody { alive: Some(Arc::clone(&alive)), ..TestBody::new([Step::Data("a"), Step::Hang]) };
    let mut body = answer("/v1/chat/completions", SSE, body).await;
    body.frame().await.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(body);
    assert_eq!(Arc::strong_count(&alive), 1);
}
