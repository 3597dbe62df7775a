//! Many more requests than the gateway takes at a time.

use pointsman::server::Limits;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    ALONE, CHAT, files,
    support::{Answer, Client, Ended, Gate, Reply, Site, Upstream, backend, backends},
    tasks, tasks_return_to,
};

const PLACES: usize = 100;
const CLIENTS: usize = 512;
const EACH: usize = 20;

async fn serve(provider: &Upstream) -> Site {
    let yaml = format!(
        "server: {{ max_in_flight: {PLACES} }}\nmodels: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &provider.url(""), "")])
    );
    Site::serve(&yaml, Limits::default(), None).await
}

async fn ask(client: &mut Client) {
    client.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
}

/// What all clients are told, each asking again as soon as it has its answer, on one connection.
async fn crowd(site: &Site) -> Vec<Answer> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = site.client().await;
        clients.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..EACH {
                ask(&mut client).await;
                answers.push(client.answer().await);
            }
            answers
        });
    }
    let answers: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers.len(), CLIENTS * EACH);
    assert!(answers.iter().all(|answer| answer.end == Ended::Clean));
    answers
}

fn assert_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "too_many_requests_in_flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_every_place_is_taken_all_are_refused_and_none_waits() {
    let _alone = ALONE.lock().await;
    files::allow(4 * (CLIENTS + PLACES) as u64 + 200);
    let gate = Gate::new();
    let provider = Upstream::always(Reply::sse().event("1").gate(&gate).event("2").done());
    let before = tasks();
    let site = serve(&provider).await;
    let mut held = Vec::new();
    for _ in 0..PLACES {
        let mut client = site.client().await;
        ask(&mut client).await;
        assert_eq!(client.head().await.status(), 200);
        held.push(client);
    }
    let busy = tasks();
    crowd(&site).await.iter().for_each(assert_refused);
    // The clients have left; whatever waited on their behalf would be seen here, or by the provider.
    tasks_return_to(busy).await;
    gate.open();
    for mut client in held {
        let (rest, end) = client.rest().await;
        assert_eq!((&rest[..], end), (&b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"[..], Ended::Clean));
    }
    assert_eq!(provider.requests().len(), PLACES);
    assert_eq!(site.stopped().await, 0);
    tasks_return_to(before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_places_come_and_go_each_is_served_or_refused() {
    let _alone = ALONE.lock().await;
    files::allow(4 * CLIENTS as u64 + 200);
    let provider = Upstream::always(Reply::chat_stream(["hello"]));
    let before = tasks();
    let site = serve(&provider).await;
    let (served, refused): (Vec<_>, Vec<_>) = crowd(&site).await.into_iter().partition(|answer| answer.status == 200);
    assert!(served.iter().all(|answer| answer.text().ends_with("data: [DONE]\n\n")));
    refused.iter().for_each(assert_refused);
    println!("{CLIENTS} clients for {PLACES} places: {} served, {} refused", served.len(), refused.len());
    assert_eq!(provider.requests().len(), served.len());
    // Nobody is refused before so many are served.
    assert!(served.len() >= PLACES);
    // Every place is free again.
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        let mut client = site.client().await;
        ask(&mut client).await;
        clients.push(client);
    }
    for mut client in clients {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(site.stopped().await, 0);
    tasks_return_to(before).await;
}
