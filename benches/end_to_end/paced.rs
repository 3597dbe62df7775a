//! A client that reads streams whose events come at a steady pace, and says how long each was on its way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;

use crate::{Failure, case, client::Client, load::percentiles};

const SENT: &[u8] = b"\"sent\":";

pub(crate) fn run(address: &str, streams: &str, events: &str) -> Result<(), Failure> {
    let (streams, events): (usize, usize) = (streams.parse()?, events.parse()?);
    let times = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let tasks: Vec<_> = (0..streams).map(|_| tokio::spawn(read(address.to_owned(), events))).collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await??);
        }
        Ok::<_, Failure>(times)
    })?;
    let [p50, p99] = percentiles(times);
    println!("{p50} {p99}");
    Ok(())
}

async fn read(address: String, events: usize) -> Result<Vec<Duration>, Failure> {
    let query = format!("?events={events}&gap=5");
    let request = case::request(&address, &query, &case::body("my-gpt4", 1024, true));
    let mut client = Client::connect(&address).await?;
    client.send(&request).await?;
    let mut times = Vec::with_capacity(events);
    // What is found is forgotten, for the next read to be looked through alone; a time stamp is never cut in two, as
    // every event is written by itself.
    let mut read = Vec::new();
    while times.len() < events {
        std::mem::swap(client.read_more().await?, &mut read);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        for at in memmem::find_iter(&read, SENT) {
            let digits = read[at + SENT.len()..].split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
            let sent = Duration::from_nanos(std::str::from_utf8(digits)?.parse()?);
            times.push(now.saturating_sub(sent));
        }
        read.clear();
    }
    Ok(times)
}
