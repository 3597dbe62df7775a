use std::{net::SocketAddr, path::PathBuf};

use crate::{
    comes,
    support::{Binary, Running, Signal},
};

/// The gateway as a process of its own: its memory and its files are not those of the clients and providers.
#[derive(Debug)]
pub(crate) struct Process {
    running: Running,
    pub(crate) addr: SocketAddr,
}

impl Process {
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::run(Binary::new(["--config", "gateway.yaml", "--port", "0"]), yaml).await
    }

    /// The same, with so many open files that it may have and that it may allow itself.
    pub(crate) async fn with_files(soft: u64, hard: u64, yaml: &str) -> Self {
        let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$0\" \"$@\"");
        let gateway = env!("CARGO_BIN_EXE_pointsman");
        Self::run(Binary::of("sh", ["-c", &script, gateway, "--config", "gateway.yaml", "--port", "0"]), yaml).await
    }

    async fn run(binary: Binary, yaml: &str) -> Self {
        let running = binary.file("gateway.yaml", yaml).start();
        let addr = running.listening().await;
        Self { running, addr }
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.running.id()))
    }

    /// The memory that it has from the system, in KiB: all but what is mapped from files.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5 says it");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// Waits until its memory is `most` KiB or less. What was freed goes back to the system some seconds later.
    pub(crate) async fn memory_returns_to(&self, most: usize) {
        let back = || self.memory() <= most;
        assert!(comes(back).await, "{} KiB of memory, and {most} were expected", self.memory());
    }

    /// How many files it has open.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("it runs").count()
    }

    /// Waits until it has no more files open than it had.
    pub(crate) async fn files_return_to(&self, before: usize) {
        let back = || self.files() <= before;
        assert!(comes(back).await, "{} open files, and there were {before}", self.files());
    }

    /// Stops it in good order.
    pub(crate) async fn stopped(self) {
        self.running.signal(Signal::Term).await;
        let finished = self.running.finished().await;
        assert!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    }
}
