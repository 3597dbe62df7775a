//! Which candidate is tried, and whose answer goes up.

use http::{HeaderValue, Method, StatusCode, Uri};
use tower::service_fn;

use super::*;
use crate::{
    body::ErrorAnswer,
    ext::{Commit, FailureKind, FailureStatuses},
};

const SECOND: Duration = Duration::from_secs(1);
const REFUSED: Failure = Failure { kind: FailureKind::Empty, ambiguous: false };

#[tokio::test(start_paused = true)]
async fn what_fails_leads_to_the_next_candidate() {
    let mut failures = vec![
        (Act::Fail(Failure::UNREACHABLE), r#"Failed(Failure { kind: Unreachable, ambiguous: false }, "it failed")"#),
        (Act::Fail(Failure::TIMEOUT), r#"Failed(Failure { kind: Timeout, ambiguous: true }, "it failed")"#),
        (Act::Fail(Failure::BROKEN), r#"Failed(Failure { kind: Broken, ambiguous: true }, "it failed")"#),
        // Early failures lead on whatever status was made of them.
        (Act::Early(502, Failure::BROKEN), "FailedEarly(502, Failure { kind: Broken, ambiguous: true })"),
        (Act::Early(400, REFUSED), "FailedEarly(400, Failure { kind: Empty, ambiguous: false })"),
        (Act::Skip(None), r#"Skipped("closed: balance > 0")"#),
    ];
    let refused: Vec<_> = [401, 402, 403, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504, 529, 599]
        .map(|code| (code, format!("Refused({code})")))
        .into();
    failures.extend(refused.iter().map(|(code, outcome)| (Act::Answer(*code), outcome.as_str())));
    for (act, outcome) in failures {
        let ran = run(route(2), [act, Act::Answer(200)]).await;
        assert_eq!(ran.response.status(), 200, "after {outcome}");
        assert_eq!(ran.answered(), Some("1"));
        assert_eq!(ran.outcomes()[0], outcome);
        assert_eq!(ran.outcomes()[1], "Answered(200)");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_or_a_fault_of_the_request_goes_up() {
    for code in [200, 201, 204, 302, 400, 405, 406, 410, 413, 415, 418, 422, 431, 451] {
        let ran = run(route(2), [Act::Answer(code), Act::Answer(200)]).await;
        assert_eq!(ran.response.status(), code);
        assert_eq!(ran.called(), ["0"]);
        assert_eq!(ran.answered(), Some("0"));
        assert_eq!(ran.outcomes(), [format!("Answered({code})")]);
        let body = ran.response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "from the provider");
    }
}

#[tokio::test(start_paused = true)]
async fn fallback_on_replaces_the_statuses() {
    let only_teapots = || route(2).fallback_on(FailureStatuses::from_iter([StatusCode::IM_A_TEAPOT]));
    let ran = run(only_teapots(), [Act::Answer(418), Act::Answer(200)]).await;
    assert_eq!(ran.answered(), Some("1"));
    for code in [429, 500, 503] {
        let ran = run(only_teapots(), [Act::Answer(code), Act::Answer(200)]).await;
        assert_eq!((ran.answered(), ran.response.status().as_u16()), (Some("0"), code));
    }
    // It is a list of statuses: what is no answer leads on all the same.
    let ran = run(only_teapots(), [Act::Fail(Failure::UNREACHABLE), Act::Answer(200)]).await;
    assert_eq!(ran.answered(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn candidates_come_in_order_and_are_told_whether_others_remain() {
    let acts = [Act::Answer(500), Act::Skip(None), Act::Fail(Failure::BROKEN), Act::Answer(200), Act::Answer(200)];
    let ran = run(route(5).commit(Commit::Headers).total_timeout(7 * SECOND), acts).await;
    assert_eq!(ran.called(), ["0", "1", "2", "3"]);
    assert!(ran.candidates().all(|candidate| candidate.others_remain));
    assert!(ran.candidates().all(|candidate| candidate.commit == Commit::Headers));
    let deadline = (tokio::time::Instant::now() + 7 * SECOND).into_std();
    assert!(ran.candidates().all(|candidate| candidate.deadline == Some(deadline)));
    assert_eq!(ran.candidates().map(|candidate| &*candidate.model).collect::<Vec<_>>(), ["m0", "m1", "m2", "m3"]);

    let ran = run(route(2), [Act::Answer(500), Act::Answer(500)]).await;
    assert_eq!(ran.candidates().map(|candidate| candidate.others_remain).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_trail_says_what_each_attempt_took() {
    let acts = vec![(SECOND, Act::Skip(None)), (2 * SECOND, Act::Answer(503)), (3 * SECOND, Act::Answer(200))];
    let ran = run_timed(route(3), acts).await;
    let took: Vec<_> = ran.trail().attempts().iter().map(|attempt| attempt.elapsed.as_secs()).collect();
    assert_eq!(took, [1, 2, 3]);
    let who: Vec<_> = ran.trail().attempts().iter().map(|attempt| (&*attempt.provider, &*attempt.model)).collect();
    assert_eq!(who, [("0", "m0"), ("1", "m1"), ("2", "m2")]);
    assert_eq!(ran.trail().sent(), 2);
}

#[tokio::test(start_paused = true)]
async fn max_attempts_counts_what_was_sent() {
    let acts = [Act::Skip(None), Act::Answer(500), Act::Skip(None), Act::Fail(Failure::BROKEN), Act::Answer(200)];
    let ran = run(route(5).max_attempts(2), acts).await;
    assert_eq!(ran.called(), ["0", "1", "2", "3"]);
    assert_eq!(ran.response.status(), 500);
    assert_eq!(ran.trail().sent(), 2);
    // For the last that may be sent, no other remains, although the list goes on if its gate is closed.
    let others: Vec<_> = ran.candidates().map(|candidate| candidate.others_remain).collect();
    assert_eq!(others, [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_goes_up_as_it_came() {
    let providers = service_fn(async |request: Request<ReplayBody>| {
        let last = match &*request.extensions().get::<Candidate>().unwrap().provider {
            "0" => Response::builder().status(500).body(TestBody::new([Step::Data("first")])),
            "1" => Response::builder()
                .status(429)
                .header("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")
                .header("x-request-id", "req_1")
                .extension(7_u32)
                .body(TestBody::new([Step::Data(r#"{"error""#), Step::Data(": 1}")])),
            _ => return Err(Failed(Failure::BROKEN)),
        };
        Ok(last.unwrap())
    });
    let Ok(response) = layered(route(3), providers).oneshot(request()).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "Wed, 21 Oct 2026 07:28:00 GMT");
    assert_eq!(response.headers().len(), 2);
    assert_eq!(response.extensions().get::<u32>(), Some(&7));
    let trail = response.extensions().get::<Trail>().unwrap();
    assert_eq!(&*trail.answered().unwrap().provider, "1");
    assert_eq!(trail.sent(), 3);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), r#"{"error": 1}"#);
}

#[tokio::test(start_paused = true)]
async fn without_any_answer_the_last_failure_decides() {
    let ran = run(route(3), [Act::Fail(Failure::TIMEOUT), Act::Fail(Failure::UNREACHABLE), Act::Skip(None)]).await;
    assert_eq!((ran.answered(), ran.trail().sent()), (None, 2));
    assert_eq!(ran.header("retry-after"), None);
    let (status, code, message) = ran.error().await;
    assert_eq!((status, &*code), (502, "upstream_unreachable"));
    assert_eq!(message, "no usable answer for `fast`: 0: it failed; 1: it failed; 2: closed: balance > 0");

    let ran = run(route(2), [Act::Fail(Failure::BROKEN), Act::Fail(Failure::TIMEOUT)]).await;
    let (status, code, _) = ran.error().await;
    assert_eq!((status, &*code), (504, "upstream_timeout"));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_skipped_the_answer_says_why_and_when_to_come_back() {
    let ran = run(route(4), [Act::Skip(Some(30)), Act::Skip(None), Act::Skip(Some(7)), Act::Skip(Some(600))]).await;
    assert_eq!(ran.called(), ["0", "1", "2", "3"]);
    assert_eq!((ran.answered(), ran.trail().sent()), (None, 0));
    assert_eq!(ran.header("retry-after"), Some("7"));
    assert_eq!(ran.header("x-should-retry"), None);
    assert_eq!(ran.header("content-type"), Some("application/json"));
    assert!(ran.response.extensions().get::<ErrorAnswer>().is_some());
    assert!(ran.response.extensions().get::<GateClosed>().is_none());
    let (status, code, message) = ran.error().await;
    assert_eq!((status, &*code), (503, "no_eligible_provider"));
    assert!(message.contains("`fast`"), "{message}");
    for provider in ["0", "1", "2", "3"] {
        assert!(message.contains(&format!("{provider}: closed: balance > 0")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_lasts_asks_clients_not_to_try_again() {
    for (retry_after, [wait, retry]) in [
        (Some(0), [Some("0"), None]),
        (Some(60), [Some("60"), None]),
        // Longer waits are ignored by several clients, which then come back at once.
        (Some(61), [Some("60"), Some("false")]),
        (Some(u64::MAX), [Some("60"), Some("false")]),
        (None, [Some("60"), Some("false")]),
    ] {
        let ran = run(route(1), [Act::Skip(retry_after)]).await;
        assert_eq!([ran.header("retry-after"), ran.header("x-should-retry")], [wait, retry], "{retry_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_without_candidates_has_an_answer_too() {
    for route in [route(0), route(2).max_attempts(0)] {
        let ran = run(route, [Act::Answer(200), Act::Answer(200)]).await;
        assert!(ran.called().is_empty());
        let (status, code, message) = ran.error().await;
        assert_eq!((status, &*code), (503, "no_eligible_provider"));
        assert_eq!(message, "no provider of `fast` is eligible now");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_failure_ends_it_where_the_route_says_so() {
    let careful = |n| route(n).fallback_on_ambiguous(false);
    for (failure, status, code) in
        [(Failure::BROKEN, 502, "upstream_unreachable"), (Failure::TIMEOUT, 504, "upstream_timeout")]
    {
        let ran = run(careful(2), [Act::Fail(failure), Act::Answer(200)]).await;
        assert_eq!(ran.called(), ["0"]);
        assert!(ran.trail().attempts()[0].outcome.is_ambiguous());
        assert_eq!(ran.answered(), None);
        let (got, got_code, _) = ran.error().await;
        assert_eq!((got, &*got_code), (status, code));

        // An earlier 429 would invite the client to send again what may have been carried out.
        let ran = run(careful(3), [Act::Answer(429), Act::Fail(failure), Act::Answer(200)]).await;
        assert_eq!(ran.called(), ["0", "1"]);
        assert_eq!(ran.answered(), None);
        let (got, got_code, message) = ran.error().await;
        assert_eq!((got, &*got_code), (status, code));
        assert!(message.contains("0: 429; 1: it failed"), "{message}");
    }
    let ran = run(careful(2), [Act::Early(502, Failure::BROKEN), Act::Answer(200)]).await;
    assert_eq!((ran.called(), ran.answered(), ran.response.status().as_u16()), (vec!["0"], Some("0"), 502));

    // What was certainly not carried out, or was refused, leads on.
    for act in [Act::Fail(Failure::UNREACHABLE), Act::Early(529, REFUSED), Act::Answer(500), Act::Skip(None)] {
        let ran = run(careful(2), [act, Act::Answer(200)]).await;
        assert_eq!(ran.answered(), Some("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_for_the_whole_request_covers_all_attempts() {
    // 90 s unless the route says otherwise.
    let ran = run(route(2), [Act::Hang, Act::Answer(200)]).await;
    assert_eq!((ran.took.as_secs(), ran.called()), (90, vec!["0"]));
    assert!(ran.trail().attempts()[0].outcome.is_ambiguous());
    let (status, code, _) = ran.error().await;
    assert_eq!((status, &*code), (504, "upstream_timeout"));

    // An answer that is there goes up instead.
    let acts = vec![(2 * SECOND, Act::Answer(429)), (SECOND, Act::Skip(None)), (Duration::ZERO, Act::Hang)];
    let ran = run_timed(route(3).total_timeout(5 * SECOND), acts).await;
    assert_eq!(ran.took.as_secs(), 5);
    assert_eq!((ran.answered(), ran.response.status().as_u16(), ran.trail().sent()), (Some("0"), 429, 2));
    assert_eq!(ran.trail().attempts()[2].elapsed.as_secs(), 2);

    // An attempt that fails as the time is over is not followed by another.
    let acts = vec![(5 * SECOND, Act::Answer(503)), (Duration::ZERO, Act::Answer(200))];
    let ran = run_timed(route(2).total_timeout(5 * SECOND), acts).await;
    assert_eq!((ran.called(), ran.response.status().as_u16()), (vec!["0"], 503));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_time_kept_from_its_turn_is_not_called_ineligible() {
    let acts = vec![(5 * SECOND, Act::Skip(Some(9))), (Duration::ZERO, Act::Answer(200))];
    let ran = run_timed(route(2).total_timeout(5 * SECOND), acts).await;
    assert_eq!(ran.called(), ["0"]);
    let (status, code, _) = ran.error().await;
    assert_eq!((status, &*code), (504, "upstream_timeout"));

    let ran = run(route(1).total_timeout(Duration::ZERO), [Act::Answer(200)]).await;
    assert!(ran.called().is_empty());
    assert_eq!(ran.error().await.0, 504);
}

#[tokio::test(start_paused = true)]
async fn any_timeout_can_be_added_up() {
    let ran = run(route(1).total_timeout(Duration::MAX), [Act::Answer(200)]).await;
    assert_eq!(ran.response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_gets_the_client_s_request_with_its_own_model() {
    let body = "{ \"seed\":1e400,\"model\" :\t\"fast\",\"x\":\"\\u00e9\", \"model_\": \"fast\" }\n";
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let providers = service_fn(move |request: Request<ReplayBody>| {
        log.lock().unwrap().push(request);
        Act::Answer(503).run()
    });
    let mut sent = Request::post("/v1/chat/completions?a=%20b").body(ReplayBody::from(body)).unwrap();
    sent.headers_mut().append("x-a", HeaderValue::from_static("1"));
    sent.headers_mut().append("x-a", HeaderValue::from_bytes(b"\xff").unwrap());
    sent.headers_mut().insert("content-length", body.len().into());
    sent.extensions_mut().insert("kept");
    let odd = Target::new("1", "a \"quoted\" model");
    let route = Route::new("fast").candidate(Target::new("0", "fast")).candidate(odd);
    let Ok(_) = layered(route, providers).oneshot(sent).await;

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.len(), 2);
    for (request, model) in seen.into_iter().zip([r#""fast""#, r#""a \"quoted\" model""#]) {
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), &Uri::from_static("/v1/chat/completions?a=%20b"));
        let values: Vec<_> = request.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff"]);
        assert_eq!(request.extensions().get::<&str>(), Some(&"kept"));
        let expected = body.replacen(r#""fast""#, model, 1);
        assert_eq!(request.body().to_bytes(), expected);
        // A length that is no longer right goes; the body tells its own.
        let length = request.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(length, (expected == body).then_some(&*body.len().to_string()));
        assert_eq!(request.headers().len(), 2 + usize::from(length.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_route_is_refused_unsent() {
    let providers =
        service_fn(async |_: Request<ReplayBody>| -> Result<Response<TestBody>, Failed> { panic!("nobody is asked") });
    let router = layered(route(1), providers);
    for (body, status, code) in [
        (r#"{"model": "fasd"}"#, 404, "model_not_found"),
        (r#"{"model": "m0"}"#, 404, "model_not_found"),
        ("{}", 400, "missing_model"),
        ("", 400, "invalid_json"),
    ] {
        let request = Request::post("/v1/chat/completions").body(body.into()).unwrap();
        let Ok(response) = router.clone().oneshot(request).await;
        assert!(response.extensions().get::<Trail>().is_none());
        let ran = Ran { response, requests: Vec::new(), took: Duration::ZERO };
        let (got, got_code, _) = ran.error().await;
        assert_eq!((got, &*got_code), (status, code));
    }
}
