//! Requests, of which one in twenty meets a fault of the first provider.

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use pointsman::server::Limits;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    ALONE, CHAT, files,
    process::Process,
    support::{Client, Ended, Reply, Site, Upstream, backend, backends},
    tasks, tasks_return_to,
};

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

async fn ask(client: &mut Option<Client>, site: SocketAddr, id: usize) -> Outcome {
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

/// Two providers, and what they answered.
struct Load {
    providers: [Upstream; 2],
    successes: Successes,
}

impl Load {
    fn start() -> Self {
        let successes = Successes::default();
        Self { providers: ["a", "b"].map(|name| provider(name, successes.clone())), successes }
    }

    /// The first provider is given up after a time that no working one needs, however busy the machine is.
    fn yaml(&self) -> String {
        let [a, b] = &self.providers;
        format!(
            "models: [{{ name: m, providers: [{{ provider: a }}, {{ provider: b }}] }}]\n{}",
            backends([
                backend("a", &a.url(""), "timeouts: { headers: 6s }"),
                backend("b", &b.url(""), "timeouts: { headers: 60s }"),
            ])
        )
    }

    /// Asks the gateway for all of these, so many at a time, and checks each outcome.
    async fn run(&self, gateway: SocketAddr, ids: Range<usize>, concurrency: usize) {
        let next = Arc::new(AtomicUsize::new(ids.start));
        let mut clients = JoinSet::new();
        for _ in 0..concurrency {
            let (next, end) = (next.clone(), ids.end);
            clients.spawn(async move {
                let mut outcomes = Vec::new();
                let mut client = None;
                loop {
                    let id = next.fetch_add(1, SeqCst);
                    if id >= end {
                        return outcomes;
                    }
                    outcomes.push((id, ask(&mut client, gateway, id).await));
                }
            });
        }
        let mut outcomes = HashMap::new();
        while let Some(done) = clients.join_next().await {
            for (id, outcome) in done.expect("no client saw anything odd") {
                assert!(outcomes.insert(id, outcome).is_none(), "{id} has two outcomes");
            }
        }
        assert_eq!(outcomes.len(), ids.len());
        let mut counts = HashMap::<Outcome, usize>::new();
        let successes = self.successes.lock().expect("nothing panics under the lock");
        for (id, outcome) in outcomes {
            assert_eq!(outcome, expected(id), "{id}: {:?}", fate("a", id));
            let answered = successes.get(&id).copied().unwrap_or_default();
            assert_eq!(answered, usize::from(outcome != Outcome::Refused), "{id}: {outcome:?}");
            *counts.entry(outcome).or_default() += 1;
        }
        assert!(counts.contains_key(&Outcome::Broken) && counts.contains_key(&Outcome::Refused));
        println!("{} requests, {concurrency} at a time: {counts:?}", ids.len());
    }
}

/// In this process, where the runtime counts the tasks of all ends of it.
async fn leave_no_task(requests: usize, concurrency: usize) {
    let _alone = ALONE.lock().await;
    // Four ends of a request, and as many of connections that are being closed.
    files::allow(8 * concurrency as u64 + 200);
    let load = Load::start();
    let before = tasks();
    let site = Site::serve(&load.yaml(), Limits::default(), None).await;
    load.run(site.addr, 0..requests, concurrency).await;
    assert_eq!(site.stopped().await, 0);
    // Both ends of what the gateway kept open are gone with it.
    tasks_return_to(before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_2_000_has_one_outcome_and_leaves_no_task() {
    leave_no_task(2_000, 128).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_50_000_has_one_outcome_and_leaves_no_task() {
    leave_no_task(50_000, 512).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_50_000_leaves_no_memory() {
    let _alone = ALONE.lock().await;
    files::allow(8 * 512 + 200);
    let load = Load::start();
    let gateway = Process::start(&load.yaml()).await;
    // What a gateway at work keeps, such as connections to its providers, is there after a first load.
    load.run(gateway.addr, 0..5_000, 512).await;
    let before = gateway.memory();
    load.run(gateway.addr, 5_000..55_000, 512).await;
    let after = gateway.memory();
    // About 40 bytes for each would be too many.
    gateway.memory_returns_to(before + 2 * 1024).await;
    println!("{before} KiB after 5,000 requests, {after} KiB after 50,000 more, then {} KiB", gateway.memory());
    gateway.stopped().await;
}
