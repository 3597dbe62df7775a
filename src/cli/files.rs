//! The limit of open files, of which many systems give a process no more than 1,024 unless it asks.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are none of these: of clients that are told that there is no place for them, and what the runtime needs.
const OTHERS: u64 = 128 + 64;

/// Raises the limit to what so many connections need, each with another one to a provider. Where the system does not
/// allow that, returns for how many there is room: more are refused in good order, or those that were taken would find
/// no file for their provider.
pub(super) fn allow(connections: usize) -> usize {
    let needed = (connections as u64).saturating_mul(2).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    // No number is no limit.
    let Some(current) = limit.current.filter(|current| *current < needed) else { return connections };
    let raised = limit.maximum.map_or(needed, |most| most.min(needed));
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_ok();
    let allowed = if is_raised { raised } else { current };
    let room = usize::try_from(allowed.saturating_sub(OTHERS) / 2).unwrap_or(connections).max(1);
    if room < connections {
        let message = "the limit of open files leaves room for fewer connections than `server.max_connections`";
        tracing::info!(open_files = allowed, connections = room, "{message}");
    }
    room
}
