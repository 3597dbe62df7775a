//! The limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process, and those that it starts, have so many files open. A machine that forbids it fails the test:
/// fewer would not show what is promised.
pub(crate) fn allow(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        assert!(most >= needed, "this test needs {needed} open files, and the hard limit is {most} (`ulimit -Hn`)");
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).expect("it is below the hard limit");
    }
}
