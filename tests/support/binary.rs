use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

use super::guard;

/// A run of the compiled binary, to be prepared.
///
/// It sees nothing of the machine it runs on: its environment holds only `PATH`, and its working directory and home are
/// a fresh directory that lives as long as the run.
#[derive(Debug)]
pub struct Binary {
    command: Command,
    home: TempDir,
}

impl Binary {
    /// The gateway's binary with these arguments.
    pub fn new<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::of(env!("CARGO_BIN_EXE_pointsman"), args)
    }

    /// Another program, treated the same.
    pub fn of<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self { command, home }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its working directory, which is its home too.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into its working directory.
    #[must_use]
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        write(&self.home.path().join(name), text.as_ref());
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the program starts");
        let (log, output) = watch::channel(Output::default());
        let log = Arc::new(log);
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        tokio::spawn(collect(stdout, log.clone(), |output| &mut output.stdout));
        tokio::spawn(collect(stderr, log, |output| &mut output.stderr));
        Running { child, output, home: self.home }
    }

    /// Runs it to its end.
    pub async fn run(self) -> Finished {
        self.start().finished().await
    }
}

/// The binary at work. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: watch::Receiver<Output>,
    home: TempDir,
}

/// The lines that came so far.
#[derive(Debug, Default)]
struct Output {
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// A signal that asks a program to stop.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGTERM, as a supervisor sends it.
    Term,
    /// SIGINT, as Ctrl-C sends it.
    Int,
    /// SIGHUP.
    Hup,
}

impl Running {
    /// Waits for a line, on either stream, that contains `text`.
    pub async fn line(&self, text: &str) -> String {
        let mut output = self.output.clone();
        let found =
            guard(&format!("a line with {text:?}"), output.wait_for(|output| output.find(text).is_some())).await;
        match found {
            Ok(output) => output.find(text).cloned().unwrap_or_default(),
            // Both streams have ended.
            Err(_) => panic!("no line with {text:?}\n{}\n{}", self.stdout(), self.stderr()),
        }
    }

    /// Waits until it says where it listens: `listening on http://<address>`.
    pub async fn listening(&self) -> SocketAddr {
        const SAYS: &str = "listening on http://";
        let line = self.line(SAYS).await;
        let (_, after) = line.split_once(SAYS).expect("the line was found by this");
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        after[..end].parse().unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// What it wrote to its standard output so far.
    pub fn stdout(&self) -> String {
        self.output.borrow().stdout.join("\n")
    }

    /// What it wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        self.output.borrow().stderr.join("\n")
    }

    /// Its working directory, which is its home too.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Writes a file into its working directory, as someone who edits the configuration does.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        write(&self.home.path().join(name), text.as_ref());
    }

    /// Its process's number.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Sends it a signal.
    pub async fn signal(&self, signal: Signal) {
        let pid = self.id();
        let name = match signal {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Hup => "HUP",
        };
        // The shell's own `kill` is there wherever there is a shell, and asks for no unsafe code.
        let kill = format!("kill -{name} {pid}");
        let status = Command::new("sh").args(["-c", &kill]).status().await.expect("a shell starts");
        assert!(status.success(), "{kill}: {status}");
    }

    /// Waits for its end.
    pub async fn finished(mut self) -> Finished {
        let status = guard("the end of the program", self.child.wait()).await.expect("a child can be waited for");
        let mut output = self.output.clone();
        // Never true; the error says that both streams have ended.
        let _ = guard("the end of its output", output.wait_for(|_| false)).await;
        Finished { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Output {
    fn find(&self, text: &str) -> Option<&String> {
        self.stdout.iter().chain(&self.stderr).find(|line| line.contains(text))
    }
}

async fn collect(
    from: impl AsyncRead + Unpin,
    log: Arc<watch::Sender<Output>>,
    into: fn(&mut Output) -> &mut Vec<String>,
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        log.send_modify(|output| into(output).push(text));
        line.clear();
    }
}

fn write(path: &Path, text: &[u8]) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a folder in the temporary directory");
    }
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
