//! Keys that are tried out.

use std::time::Duration;

use pointsman::server::Limits;
use tokio::time::Instant;

use crate::{
    request, serve_with,
    support::{Client, Reply, Upstream},
};

async fn ask(client: &mut Client, key: &str) -> (u16, Duration) {
    let start = Instant::now();
    client.send(request(&format!("x-api-key: {key}\r\n"))).await;
    (client.answer().await.status, start.elapsed())
}

#[tokio::test]
async fn bad_ones_in_a_row_are_slowed_and_a_good_one_is_not() {
    let upstream = Upstream::always(Reply::chat("hello"));
    let site = serve_with(&upstream, "api_keys: [good]", Limits::default(), None).await;
    let mut client = site.client().await;
    for number in 0..20 {
        assert_eq!(ask(&mut client, &format!("bad-{number}")).await.0, 401);
    }
    let mut guessing = site.client().await;
    let guess = tokio::spawn(async move { ask(&mut guessing, "bad-20").await });
    // Meanwhile, from the same address:
    let (status, took) = ask(&mut client, "good").await;
    let (guessed, slowed) = guess.await.expect("no panic");
    assert_eq!((status, guessed), (200, 401));
    assert!(slowed >= Duration::from_millis(500) && took < slowed, "{slowed:?} {took:?}");
}
