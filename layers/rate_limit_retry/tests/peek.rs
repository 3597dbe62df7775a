use http_body_util::BodyExt as _;

use super::*;

fn refused(steps: Vec<Step>) -> Response<Script> {
    let mut response = answer(403, &[], "");
    *response.body_mut() = steps.into();
    response
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_given_back_in_front_of_the_rest() {
    let trailers: http::HeaderMap = [("x-cost".parse().unwrap(), "3".parse().unwrap())].into_iter().collect();
    let large = "x".repeat(40_000);
    let steps = vec![data(&large), data(&large), data("the rest"), Step::Frame(Frame::trailers(trailers.clone()))];
    let response = send(&layer(), &Upstream::new([refused(steps)]), request()).await;
    assert_eq!(response.body().size_hint().exact(), Some(80_008));
    assert!(!response.body().is_end_stream());
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), format!("{large}{large}the rest"));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_than_is_looked_at() {
    let steps = || (0..100_000).map(|_| data("x")).chain([Step::Stall]).collect();
    let (start, upstream) = (Instant::now(), Upstream::new([refused(steps())]));
    let response = send(&layer(), &upstream, request()).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "the end was not waited for");
    let (_, body) = response.into_parts();
    let read = format!("{body:?}");
    assert!(read.contains("peeked_frames"), "{read}");
    let kept: usize = read.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert!(kept <= 64 * 1024 / size_of::<Frame<Bytes>>() + 1, "{kept} frames");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_is_waited_for_two_seconds() {
    let stalled = |status, text| {
        let mut response = refused(vec![data(text), Step::Stall]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    let (start, upstream) = (Instant::now(), Upstream::new([stalled(429, "retry after 5 seconds")]));
    assert_eq!(send(&layer(), &upstream, request()).await.status(), 200);
    assert_eq!(upstream.sent_at(start), [0, 7_000]);

    let (start, upstream) = (Instant::now(), Upstream::new([stalled(403, "go away")]));
    let mut body = send(&layer(), &upstream, request()).await.into_body();
    assert_eq!(start.elapsed(), seconds(2));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "go away");
    assert!(tokio::time::timeout(seconds(60), body.frame()).await.is_err(), "it is still stalled");
}

#[tokio::test(start_paused = true)]
async fn a_break_is_passed_on_in_its_place() {
    let response =
        send(&layer(), &Upstream::new([refused(vec![data("half"), Step::Break, Step::Stall])]), request()).await;
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), Broken);
    assert!(body.is_end_stream(), "what broke is not asked again");
    assert!(tokio::time::timeout(seconds(1), body.frame()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_ends_at_once() {
    let (start, upstream) = (Instant::now(), Upstream::new([refused(vec![])]));
    let response = send(&layer(), &upstream, request()).await;
    assert!(response.body().is_end_stream());
    assert_eq!((start.elapsed(), response.body().size_hint().exact()), (Duration::ZERO, Some(0)));
}
