//! Streams that are open at the same time.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use pointsman::server::Limits;
use serde_json::json;

use crate::{
    ALONE, CHAT, files,
    process::Process,
    support::{Client, Ended, Gate, Reply, Site, Upstream, backend, backends},
    tasks, tasks_return_to,
};

/// A provider whose streams wait after their first event, for the gate that was there when they began. It closes its
/// connections, so that nothing is left open for the next request.
struct Provider {
    upstream: Upstream,
    gate: Arc<Mutex<Gate>>,
}

impl Provider {
    fn start() -> Self {
        let gate = Arc::new(Mutex::new(Gate::new()));
        let now = gate.clone();
        let upstream = Upstream::start(move |_| {
            let gate = now.lock().expect("nothing panics under the lock").clone();
            Reply::sse().header("connection", "close").event("1").gate(&gate).event("2").done().close()
        });
        Self { upstream, gate }
    }

    fn yaml(&self) -> String {
        format!(
            "models: [{{ name: m, providers: [{{ provider: a }}] }}]\n{}",
            backends([backend("a", &self.upstream.url(""), "")])
        )
    }

    /// Lets all streams end, and later ones wait again.
    fn open_gate(&self) {
        std::mem::replace(&mut *self.gate.lock().expect("nothing panics under the lock"), Gate::new()).open();
    }
}

/// Opens so many streams and waits for the first event of each.
async fn open(gateway: SocketAddr, number: usize) -> Vec<Client> {
    let mut open = Vec::new();
    for _ in 0..number {
        let mut client = Client::connect(gateway).await;
        client.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
        open.push(client);
    }
    for client in &mut open {
        assert_eq!(client.head().await.status(), 200);
        client.until("data: 1\n\n").await;
    }
    open
}

/// One in ten leaves, the others get all.
async fn end(mut open: Vec<Client>, provider: &Provider) {
    let kept = open.split_off(open.len() / 10);
    drop(open);
    provider.open_gate();
    for mut client in kept {
        let (rest, end) = client.rest().await;
        assert_eq!((&rest[..], end), (&b"data: 2\n\ndata: [DONE]\n\n"[..], Ended::Clean));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_all_are_served_and_leave_no_task() {
    let _alone = ALONE.lock().await;
    files::allow(4 * 500 + 200);
    let provider = Provider::start();
    let before = tasks();
    let site = Site::serve(&provider.yaml(), Limits::default(), None).await;
    end(open(site.addr, 500).await, &provider).await;
    assert_eq!(site.gateway.error_counts().count("a"), 0);
    assert_eq!(site.stopped().await, 0);
    tasks_return_to(before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_5_000_all_are_served_and_leave_no_memory() {
    const STREAMS: usize = 5_000;

    let _alone = ALONE.lock().await;
    files::allow(2 * STREAMS as u64 + 200);
    let provider = Provider::start();
    let gateway = Process::start(&provider.yaml()).await;
    let (fresh, files) = (gateway.memory(), gateway.files());
    let mut tops = Vec::new();
    for _ in 0..2 {
        let streams = open(gateway.addr, STREAMS).await;
        assert!(gateway.files() >= files + 2 * STREAMS, "each has its own two connections");
        let top = gateway.memory();
        end(streams, &provider).await;
        gateway.files_return_to(files).await;
        let ended = gateway.memory();
        // A quarter is room for what an allocator cannot give back.
        gateway.memory_returns_to(fresh + (top - fresh) / 4).await;
        let each = (top - fresh) / STREAMS;
        println!("{fresh} KiB, {STREAMS} streams with {each} KiB each, {ended} KiB, then {} KiB", gateway.memory());
        tops.push(top);
    }
    let [first, second] = tops[..] else { panic!("two rounds") };
    assert!(second <= first + first / 4, "{first} KiB, then {second}");
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_open_files_is_raised_for_them() {
    let _alone = ALONE.lock().await;
    files::allow(1_000);
    let provider = Provider::start();
    let gateway = Process::with_files(100, 1_000, &provider.yaml()).await;
    end(open(gateway.addr, 300).await, &provider).await;
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_which_there_are_no_files_are_refused_in_good_order() {
    const FILES: u64 = 300;

    let _alone = ALONE.lock().await;
    files::allow(2_000);
    let provider = Provider::start();
    let gateway = Process::with_files(100, FILES, &provider.yaml()).await;
    let before = gateway.files();
    let (mut served, mut refused) = (Vec::new(), 0);
    while refused < 500 {
        let mut client = Client::connect(gateway.addr).await;
        client.post(CHAT, &json!({ "model": "m", "stream": true }), &[]).await;
        let head = client.head().await;
        if head.status() == 200 {
            assert_eq!(refused, 0, "no place was given back");
            client.until("data: 1\n\n").await;
            served.push(client);
        } else {
            assert_eq!((head.status(), head.headers.get("retry-after")), (503, Some("1")));
            refused += 1;
        }
    }
    assert!((20..FILES as usize / 2).contains(&served.len()), "{}", served.len());
    end(served, &provider).await;
    gateway.files_return_to(before).await;
    end(open(gateway.addr, 20).await, &provider).await;
    gateway.stopped().await;
}
