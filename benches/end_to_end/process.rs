use std::{ffi::OsStr, fs, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::Failure;

/// The clock ticks of `/proc` in a second, the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// How long a server may take to start; one under valgrind takes a while.
const START: Duration = Duration::from_secs(60);

/// Which of the two cores a process runs on: the one that is measured has one to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Core {
    Measured,
    Others,
}

/// A command on one core, with nothing of this one's environment but `PATH`.
pub(crate) fn on_core(core: Core, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    let core = match core {
        Core::Measured => "0",
        Core::Others => "1",
    };
    command
        .args(["-c", core])
        .arg(program)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// This program on one core, in another of its parts.
pub(crate) fn myself(core: Core) -> Result<Command, Failure> {
    Ok(on_core(core, std::env::current_exe()?))
}

/// A server that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts a server that says `listening on http://ADDRESS` on its output or in its log.
    pub(crate) async fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = stdout.zip(stderr).ok_or("the output is not piped")?;
        let address = timeout(START, async {
            tokio::select! {
                Some(address) = address_in(stdout) => Ok(address),
                Some(address) = address_in(stderr) => Ok(address),
                else => Err(format!("{command:?} ended before it listened")),
            }
        });
        Ok(Self { address: address.await??, child })
    }

    /// One that listens at an address that is known, as soon as it takes a connection.
    pub(crate) async fn start_at(mut command: Command, address: String) -> Result<Self, Failure> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        timeout(START, async {
            while tokio::net::TcpStream::connect(&address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await?;
        Ok(Self { child, address })
    }

    fn proc(&self, file: &str) -> Result<String, Failure> {
        let id = self.child.id().ok_or("the server has ended")?;
        Ok(fs::read_to_string(format!("/proc/{id}/{file}"))?)
    }

    /// The processor time that it took so far, user and system, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = self.proc("stat")?;
        // Behind the name, which may hold anything, the 12th and 13th field.
        let fields = stat.rsplit_once(") ").ok_or("no name in /proc/PID/stat")?.1;
        let mut times = fields.split(' ').skip(11).map(str::parse::<f64>);
        let (user, system) = times.next().zip(times.next()).ok_or("no times in /proc/PID/stat")?;
        Ok((user? + system?) / TICKS)
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmHWM`, the most memory that it had so far.
    pub(crate) fn memory(&self, name: &str) -> Result<f64, Failure> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number =
            line.and_then(|line| line.split_whitespace().next()).ok_or("no such figure in /proc/PID/status")?;
        Ok(number.parse()?)
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let id = self.child.id().ok_or("the server has ended")?.to_string();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        timeout(START, self.child.wait()).await??;
        Ok(())
    }
}

/// The address in the first line that has one. The rest is read and dropped, or the server would block on it.
async fn address_in(output: impl AsyncRead + Unpin + Send + 'static) -> Option<String> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.ok()? {
        if let Some((_, address)) = line.split_once("listening on http://") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(address.trim().to_owned());
        }
    }
    None
}

/// Runs a client to its end and returns what it says.
pub(crate) async fn said(arguments: &[&str]) -> Result<String, Failure> {
    let output = myself(Core::Others)?.args(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        return Err(format!("the client {arguments:?} failed").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
