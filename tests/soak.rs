//! Many requests at once, some of them with faults: each has one outcome, and nothing is left behind.
//!
//! The numbers are small enough for every run of the tests. `cargo test --release --test soak -- --ignored` takes the
//! large ones; it needs 25,000 open files (`ulimit -n`), as both ends of every connection are in this process.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use pointsman::server::Limits;
use serde_json::json;
use support::{Client, Ended, Gate, Reply, Site, Upstream, backend, backends, guard};
use tokio::{runtime::Handle, task::JoinSet};

const CHAT: &str = "/v1/chat/completions";

/// What a provider does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    Refuses,
    Resets,
    Babbles,
    Stalls,
    ErrorEvent,
    /// Breaks after the first event: nobody else may be asked any more.
    Breaks,
}

/// Of the first provider, one in twenty requests meets a fault; of the second, one in four hundred.
fn fate(provider: &str, id: usize) -> Fate {
    use Fate::{Babbles, Breaks, ErrorEvent, Refuses, Resets, Stalls, Works};

    let faults = [Refuses, Resets, Breaks, Babbles, ErrorEvent, Stalls];
    match provider {
        "a" if id % 20 == 7 => faults[id / 20 % faults.len()],
        "b" if id % 400 == 7 => Refuses,
        _ => Works,
    }
}

/// What the client has to get for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Whole,
    Broken,
    Refused,
}

fn expected(id: usize) -> Outcome {
    match (fate("a", id), fate("b", id)) {
        (Fate::Works, _) => Outcome::Whole,
        (Fate::Breaks, _) => Outcome::Broken,
        (_, Fate::Works) => Outcome::Whole,
        (..) => Outcome::Refused,
    }
}

/// How often each request was answered with success, or the start of one.
type Successes = Arc<Mutex<HashMap<usize, usize>>>;

fn provider(name: &'static str, successes: Successes) -> Upstream {
    Upstream::start(move |request| {
        let id: usize = request.header("x-soak").and_then(|id| id.parse().ok()).expect("an id");
        let fate = fate(name, id);
        if matches!(fate, Fate::Works | Fate::Breaks) {
            *successes.lock().expect("nothing panics under the lock").entry(id).or_default() += 1;
        }
        match fate {
            Fate::Works => Reply::chat_stream(["from ", name]),
            Fate::Refuses => Reply::error(503, "busy", "busy"),
            Fate::Resets => Reply::nothing().reset(),
            Fate::Babbles => Reply::garbage(),
            Fate::Stalls => Reply::nothing().stall(),
            Fate::ErrorEvent => Reply::sse().event("{\"error\":{\"message\":\"busy\"}}").done(),
            Fate::Breaks => Reply::sse().event("{\"n\":1}").close(),
        }
    })
}

async fn ask(client: &mut Option<Client>, site: std::net::SocketAddr, id: usize) -> Outcome {
    let connection = match client {
        Some(client) => client,
        None => client.insert(Client::connect(site).await),
    };
    let id = id.to_string();
    connection.post(CHAT, &json!({ "model": "m", "stream": true }), &[("x-soak", &id)]).await;
    let answer = connection.answer().await;
    assert_eq!(answer.end, Ended::Clean, "{id}: a stream ends with a word");
    let text = answer.text();
    match (answer.status, text.ends_with("data: [DONE]\n\n"), text.contains("\"error\"")) {
        (200, true, false) => Outcome::Whole,
        (200, false, true) => Outcome::Broken,
        (503, false, true) => Outcome::Refused,
        _ => panic!("{id}: {} {text}", answer.status),
    }
}

/// The memory of this process that is in use, in MiB.
fn memory() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4 / 1024
}

/// Waits until no more tasks are alive than there were.
async fn tasks_return_to(before: usize) {
    let back = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), back).await.is_err() {
        panic!("{} tasks, and there were {before}", Handle::current().metrics().num_alive_tasks());
    }
}

async fn soak(requests: usize, concurrency: usize) {
    let successes = Successes::default();
    let (a, b) = (provider("a", successes.clone()), provider("b", successes.clone()));
    let before = Handle::current().metrics().num_alive_tasks();
    let yaml = format!(
        "models: [{{ name: m, providers: [{{ provider: a }}, {{ provider: b }}] }}]\n{}",
        backends([
            backend("a", &a.url(""), "timeouts: { headers: 2s }"),
            backend("b", &b.url(""), "timeouts: { headers: 20s }"),
        ])
    );
    let site = Site::serve(&yaml, Limits::default(), None).await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        let (next, addr) = (next.clone(), site.addr);
        clients.spawn(async move {
            let mut outcomes = Vec::new();
            let mut client = None;
            loop {
                let id = next.fetch_add(1, SeqCst);
                if id >= requests {
                    return outcomes;
                }
                outcomes.push((id, ask(&mut client, addr, id).await));
            }
        });
    }
    let mut outcomes = HashMap::new();
    while let Some(done) = guard("a client", clients.join_next()).await {
        for (id, outcome) in done.expect("no client saw anything odd") {
            assert!(outcomes.insert(id, outcome).is_none(), "{id} has two outcomes");
        }
    }
    assert_eq!(outcomes.len(), requests);
    let successes = successes.lock().expect("nothing panics under the lock").clone();
    for (id, outcome) in &outcomes {
        assert_eq!(*outcome, expected(*id), "{id}: {:?}", fate("a", *id));
        let answered = successes.get(id).copied().unwrap_or_default();
        assert_eq!(answered, usize::from(*outcome != Outcome::Refused), "{id}: {outcome:?}");
    }
    assert!(outcomes.values().any(|outcome| *outcome == Outcome::Broken));
    assert_eq!(site.stopped().await, 0);
    // Both ends of what the gateway kept open are gone with it.
    tasks_return_to(before).await;
    println!("{requests} requests at {concurrency}: {:?}", {
        let mut counts = HashMap::<Outcome, usize>::new();
        outcomes.values().for_each(|outcome| *counts.entry(*outcome).or_default() += 1);
        counts
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_one_outcome_and_leaves_no_task() {
    soak(2_000, 128).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn each_of_50_000_requests_has_one_outcome() {
    soak(50_000, 512).await;
}

/// The same load again and again takes no more memory than before. What the providers here remember is gone with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures the memory of the whole process, so it has to be alone: `--ignored memory`"]
async fn memory_returns() {
    let mut after = Vec::new();
    for _ in 0..12 {
        soak(2_000, 128).await;
        after.push(memory());
    }
    println!("MiB after each round: {after:?}");
    // It takes a few rounds until the allocator has what it needs.
    let (first, last) = (after[5], after[11]);
    assert!(last <= first + 4, "{after:?}");
}

async fn streams(number: usize) {
    let gate = Gate::new();
    let upstream = Upstream::always(Reply::sse().event("1").gate(&gate).event("2").done());
    let before = Handle::current().metrics().num_alive_tasks();
    let yaml = format!(
        "models: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
        backends([backend("a", &upstream.url(""), "")])
    );
    let site = Site::serve(&yaml, Limits::default(), None).await;
    let empty = memory();
    let mut open = Vec::new();
    for _ in 0..number {
        let mut client = site.client().await;
        client.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
        open.push(client);
    }
    for client in &mut open {
        assert_eq!(client.head().await.status(), 200);
        client.until("data: 1\n\n").await;
    }
    let full = memory();
    // One in ten leaves, the others get all.
    let kept = open.split_off(number / 10);
    drop(open);
    gate.open();
    for mut client in kept {
        let (rest, end) = client.rest().await;
        assert_eq!((&rest[..], end), (&b"data: 2\n\ndata: [DONE]\n\n"[..], Ended::Clean));
    }
    assert_eq!(site.gateway.error_counts().count("a"), 0);
    assert_eq!(site.stopped().await, 0);
    tasks_return_to(before).await;
    println!("{number} streams: {} KiB for each, all four ends", full.saturating_sub(empty) * 1024 / number);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_at_once_are_all_served() {
    streams(500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs 25,000 open files"]
async fn streams_at_once_are_all_served_5_000() {
    streams(5_000).await;
}
