//! User instructions for each request, which are the same however busy the machine is.

use std::{fs, path::Path};

use crate::{
    Failure,
    case::{COUNTED, Case},
    options::Options,
    process::said,
    report::{Report, Row},
    servers::{self, Kind, Setting},
};

/// Requests that are sent before those that count, so that connections and caches are there.
const WARM_UP: usize = 10;

pub(crate) async fn measure(options: &Options, report: &mut Report, kinds: &[Kind]) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let keep = options.profiles.as_deref().unwrap_or(directory.path());
    fs::create_dir_all(keep)?;
    let provider = servers::provider().await?;
    let mut rows: Vec<Row> = kinds.iter().map(|kind| (kind.name(), Vec::new())).collect();
    for case in &COUNTED {
        for (kind, (_, figures)) in kinds.iter().zip(&mut rows) {
            let file = keep.join(format!("{kind:?}-{}.callgrind", case.name));
            figures.push(slope(*kind, case, &provider.address, Setting::default(), &file).await?);
        }
    }
    let columns = COUNTED.map(|case| case.what);
    report.table("instructions", "user instructions per request, one at a time", &columns, &rows);
    Ok(())
}

/// What one request more costs, so that starting and stopping do not count.
pub(crate) async fn slope(
    kind: Kind,
    case: &Case,
    provider: &str,
    setting: Setting<'_>,
    file: &Path,
) -> Result<f64, Failure> {
    let mut totals = Vec::new();
    for requests in [WARM_UP, WARM_UP + case.requests] {
        let setting = Setting { counted: Some(file), ..setting };
        let running = servers::start(kind, provider, setting).await?;
        said(&["load", &running.server.address, &Case::spec("counted", case.name, requests)]).await?;
        running.server.stop().await?;
        totals.push(total(&fs::read_to_string(file)?)?);
    }
    Ok((totals[1] - totals[0]) / case.requests as f64)
}

fn total(profile: &str) -> Result<f64, Failure> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    Ok(line.and_then(|line| line.split_whitespace().next()).ok_or("callgrind wrote no total")?.parse()?)
}
