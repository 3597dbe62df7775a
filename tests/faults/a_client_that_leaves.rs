//! The end of interest is no fault.

use serde_json::json;

use crate::{
    Pair,
    support::{Client, Reply},
};

async fn ask(pair: &Pair) -> Client {
    let mut client = pair.gateway.client().await;
    client.post("/v1/chat/completions", &json!({ "model": "m", "stream": true }), &[]).await;
    pair.a.wait_for(1).await;
    client
}

#[tokio::test]
async fn is_no_error_of_the_provider() {
    for (what, reply) in [
        ("before the head", Reply::nothing().stall()),
        ("before the first event", Reply::sse().stall()),
        ("in the middle", Reply::sse().event("1").stall()),
    ] {
        for reset in [false, true] {
            let pair = Pair::new(reply.clone(), "", "");
            let mut client = ask(&pair).await;
            if what == "in the middle" {
                client.head().await;
                client.until("data: 1\n\n").await;
            }
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            pair.a.closed(0).await;
            assert_eq!(pair.errors(), (0, 0), "{what}");
            assert!(pair.b.requests().is_empty(), "{what}: `b` was asked");
        }
    }
}
