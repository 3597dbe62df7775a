//! A client that keeps its connections busy with one kind of request.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{task::LocalSet, time::Instant};

use crate::{Failure, case::Case, client::Client};

/// However slow the server is, a round ends.
const LONGEST: Duration = Duration::from_secs(120);

/// What a client saw, as one line of text between processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    /// Microseconds from the first byte of a request to the last of its answer.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Seen {
    pub(crate) fn parse(line: &str) -> Result<Self, Failure> {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [requests, seconds, p50, p99] = numbers[..] else { return Err(format!("the client says {line:?}").into()) };
        Ok(Self { requests: requests as usize, seconds, p50, p99 })
    }
}

pub(crate) fn run(address: &str, case: &str) -> Result<(), Failure> {
    let case = Case::parse(case)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = LocalSet::new().block_on(&runtime, drive(address, &case))?;
    println!("{} {} {} {}", seen.requests, seen.seconds, seen.p50, seen.p99);
    Ok(())
}

async fn drive(address: &str, case: &Case) -> Result<Seen, Failure> {
    let request: Rc<[u8]> = case.request(address).into();
    let mut connections = Vec::new();
    for _ in 0..case.connections {
        connections.push(Client::connect(address).await?);
    }
    let left = Rc::new(Cell::new(case.requests));
    let start = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|client| {
            let (request, left, events) = (Rc::clone(&request), Rc::clone(&left), case.events);
            tokio::task::spawn_local(keep_busy(client, request, left, events))
        })
        .collect();
    let mut times = Vec::with_capacity(case.requests);
    for task in tasks {
        times.extend(tokio::time::timeout_at(start + LONGEST, task).await???);
    }
    let seconds = start.elapsed().as_secs_f64();
    let [p50, p99] = percentiles(times);
    Ok(Seen { requests: case.requests, seconds, p50, p99 })
}

async fn keep_busy(
    mut client: Client,
    request: Rc<[u8]>,
    left: Rc<Cell<usize>>,
    events: usize,
) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    while let Some(next) = left.get().checked_sub(1) {
        left.set(next);
        let start = Instant::now();
        let answer = client.exchange(&request).await?;
        let took = start.elapsed();
        // Every connection's first answer is looked at, so that a wrong one is not fast.
        if times.is_empty() && memchr::memmem::find_iter(answer, b"data: ").count() != events {
            return Err(format!("the answer is not one of {events} events").into());
        }
        times.push(took);
    }
    Ok(times)
}

/// The median and the 99th percentile, in microseconds.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [0.5, 0.99].map(|part| {
        let index = (times.len() as f64 * part) as usize;
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    })
}
