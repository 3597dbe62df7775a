use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::Instant,
};

use crate::{
    Failure,
    case::{COUNTED, Case, LOADED},
    instructions,
    load::Seen,
    options::Options,
    process::{Core, myself, said},
    report::{Report, Row, median},
    servers::{self, Kind, Running, Setting},
};

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let kinds = Kind::all();
        let mut report = Report::default();
        for case in &LOADED {
            if options.wants(case.name) {
                under_load(case, &options, &kinds, &mut report).await?;
            }
        }
        if options.wants("paced") {
            paced(options.rounds, &kinds, &mut report).await?;
        }
        if options.wants("idle") {
            idle(&kinds, &mut report).await?;
        }
        if options.wants("growth") {
            growth(&kinds, &mut report).await?;
        }
        if has_valgrind().await {
            if options.wants("instructions") {
                instructions::measure(&options, &mut report, &kinds).await?;
            }
            if options.wants("routes") {
                routes(&mut report).await?;
            }
        } else {
            println!(
                "valgrind is not installed, so no instructions are counted; `apt-get install valgrind` brings it."
            );
        }
        report.write(&options.json)
    })
}

async fn has_valgrind() -> bool {
    let found = tokio::process::Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().await;
    found.is_ok_and(|status| status.success())
}

/// What a server spent and gave in one round.
struct Round {
    /// Microseconds of processor time for each request.
    cpu: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
}

async fn round(running: &Running, case: &Case, requests: usize) -> Result<Round, Failure> {
    let before = running.server.cpu()?;
    let spec = Case::spec("loaded", case.name, requests);
    let seen = Seen::parse(&said(&["load", &running.server.address, &spec]).await?)?;
    let cpu = (running.server.cpu()? - before) / seen.requests as f64 * 1e6;
    Ok(Round { cpu, per_second: seen.requests as f64 / seen.seconds, p50: seen.p50, p99: seen.p99 })
}

/// Several rounds in which every server has its turn, so that what else the machine does hits all of them.
async fn under_load(case: &Case, options: &Options, kinds: &[Kind], report: &mut Report) -> Result<(), Failure> {
    let provider = servers::provider().await?;
    let mut servers = Vec::new();
    for kind in kinds {
        let running = servers::start(*kind, &provider.address, Setting::default()).await?;
        round(&running, case, case.requests / 10).await?;
        servers.push((*kind, running, Vec::new()));
    }
    for _ in 0..options.rounds {
        for (_, running, rounds) in &mut servers {
            rounds.push(round(running, case, case.requests).await?);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (kind, running, rounds) in servers {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let peak = running.server.memory("VmHWM")? / 1024.0;
        rows.push((
            kind.name(),
            vec![
                of(|round| round.cpu),
                of(|round| round.per_second),
                of(|round| round.p50),
                of(|round| round.p99),
                peak,
            ],
        ));
    }
    let columns = ["CPU us/request", "requests/s", "p50 us", "p99 us", "peak MiB"];
    report.table(case.name, case.what, &columns, &rows);
    Ok(())
}

/// How long an event is on its way, from the provider through the server to the client.
async fn paced(rounds: usize, kinds: &[Kind], report: &mut Report) -> Result<(), Failure> {
    let provider = servers::provider().await?;
    let mut servers = Vec::new();
    for kind in kinds {
        servers.push((*kind, servers::start(*kind, &provider.address, Setting::default()).await?, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, running, rounds) in &mut servers {
            let times = said(&["paced", &running.server.address, "8", "400"]).await?;
            let times: Vec<f64> = times.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            rounds.push(times);
        }
    }
    let rows: Vec<Row> = servers
        .iter()
        .map(|(kind, _, rounds)| {
            let of = |index: usize| median(rounds.iter().map(|times| times[index]).collect());
            (kind.name(), vec![of(0), of(1)])
        })
        .collect();
    report.table("paced", "8 streams, an event each 5 ms: its way to the client", &["p50 us", "p99 us"], &rows);
    Ok(())
}

/// What streams cost that are open and silent.
async fn idle(kinds: &[Kind], report: &mut Report) -> Result<(), Failure> {
    const STREAMS: usize = 5000;
    let provider = servers::provider().await?;
    let mut rows: Vec<Row> = Vec::new();
    for kind in kinds {
        let running = servers::start(*kind, &provider.address, Setting::default()).await?;
        let before = running.server.memory("VmRSS")?;
        let mut client = myself(Core::Others)?
            .args(["idle", &running.server.address, &STREAMS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = client.stdout.take().ok_or("the output is not piped")?;
        if BufReader::new(output).lines().next_line().await?.as_deref() != Some("open") {
            return Err("the streams could not be opened".into());
        }
        let memory = running.server.memory("VmRSS")?;
        drop(client.stdin.take());
        client.wait().await?;
        rows.push((kind.name(), vec![(memory - before) / STREAMS as f64, memory / 1024.0]));
    }
    report.table("idle", "5,000 open streams without events", &["KiB each", "in all, MiB"], &rows);
    Ok(())
}

/// Whether requests leave anything behind.
async fn growth(kinds: &[Kind], report: &mut Report) -> Result<(), Failure> {
    let provider = servers::provider().await?;
    let case = &LOADED[0];
    let mut rows: Vec<Row> = Vec::new();
    for kind in kinds {
        let running = servers::start(*kind, &provider.address, Setting::default()).await?;
        round(&running, case, 10_000).await?;
        let warm = running.server.memory("VmRSS")?;
        round(&running, case, 10_000).await?;
        let later = running.server.memory("VmRSS")?;
        rows.push((kind.name(), vec![warm, later, later - warm]));
    }
    report.table(
        "growth",
        "memory after 10,000 requests and 10,000 more",
        &["warm KiB", "later KiB", "KiB more"],
        &rows,
    );
    Ok(())
}

/// A gateway with a large configuration beside one with a small one.
async fn routes(report: &mut Report) -> Result<(), Failure> {
    let provider = servers::provider().await?;
    let directory = tempfile::tempdir()?;
    let mut rows: Vec<Row> = Vec::new();
    for (name, more_routes) in [("10 routes", 7), ("10,000 routes", 9997)] {
        let setting = Setting { more_routes, ..Setting::default() };
        let mut starts = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            let running = servers::start(Kind::Gateway, &provider.address, setting).await?;
            starts.push(start.elapsed().as_secs_f64() * 1e3);
            running.server.stop().await?;
        }
        let file = directory.path().join("routes.callgrind");
        let each = instructions::slope(Kind::Gateway, &COUNTED[0], &provider.address, setting, &file).await?;
        rows.push((name, vec![each, median(starts)]));
    }
    report.table("routes", "the gateway's configuration, small and large", &["instructions", "start ms"], &rows);
    Ok(())
}
