use std::{
    io::{IsTerminal as _, Write as _},
    pin::pin,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use pointsman::login::Login;
use pointsman_layers::oauth::{CredentialStatus, DeviceLoginError, PendingLogin, Tokens};
use qrcode::{QrCode, render::unicode::Dense1x2};
use tokio::time::MissedTickBehavior;

use super::{ConfigArg, Outcome, load_with_backend, log, runtime, words};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the backend.
    backend: String,
    #[command(flatten)]
    config: ConfigArg,
}

/// Logs in, and writes the tokens to the backend's credential file.
pub(super) fn run(args: &Args) -> Outcome {
    log::init("warn");
    let config = load_with_backend(&args.config, &args.backend)?;
    runtime()?.block_on(async {
        let login = Login::find(&config, &args.backend).map_err(|error| format!("error: {error}"))?;
        let pending = login.start().await.map_err(|error| format!("error: {error}"))?;
        let terminal = std::io::stdout().is_terminal();
        invite(login.backend(), &pending, terminal);
        let tokens = wait(pending, terminal).await.map_err(|error| {
            format!("error: {error}\n  = help: begin again with `pointsman login {}`", login.backend())
        })?;
        let path = login.file().path().display();
        let status = login
            .file()
            .store(&tokens)
            .await
            .map_err(|error| format!("error: the tokens could not be written to {path}, and are lost: {error}"))?;
        report(&login, &status);
        match status.problem {
            None => Ok(ExitCode::SUCCESS),
            Some(problem) => Err(format!("error: the login is no good: {problem}")),
        }
    })
}

/// Says where to approve the login.
fn invite(backend: &str, pending: &PendingLogin, terminal: bool) {
    let url = pending.verification_uri_complete().unwrap_or(pending.verification_uri());
    say!("To log in to `{backend}`, open this address in a browser, on any device:\n\n    {url}\n");
    let what = if pending.verification_uri_complete().is_some() { "Check that it shows" } else { "Enter" };
    say!("{what} the code: {}\n", pending.user_code());
    // An address that fits into no QR code has to do without.
    if terminal && let Ok(code) = QrCode::new(url) {
        say!("{}", draw(&code));
    }
    if !terminal {
        say!("waiting for approval; the code expires in {}", words::duration(pending.time_left()));
    }
}

/// The code in blocks, white on black in any colours of the terminal: cameras do not take it the other way round.
fn draw(code: &QrCode) -> String {
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    drawn.lines().map(|line| format!("    \x1b[97;40m{line}\x1b[0m\n")).collect()
}

/// Waits for the approval, with a line that shows how long it may still take.
async fn wait(pending: PendingLogin, terminal: bool) -> Result<Tokens, DeviceLoginError> {
    let expires = tokio::time::Instant::now() + pending.time_left();
    let mut finish = pin!(pending.finish());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            tokens = &mut finish => {
                progress(terminal, "");
                return tokens;
            }
            now = tick.tick() => {
                let left = expires.saturating_duration_since(now).as_secs();
                progress(terminal, &format!("waiting for approval, {}:{:02} left", left / 60, left % 60));
            }
        }
    }
}

/// Replaces the last line of a terminal. The cursor stays at its start, so that a warning covers it.
fn progress(terminal: bool, line: &str) {
    if terminal {
        let mut out = std::io::stdout();
        // A terminal that is gone has nobody to tell.
        let _ = write!(out, "\x1b[2K{line}\r").and_then(|()| out.flush());
    }
}

fn report(login: &Login<'_>, status: &CredentialStatus) {
    let path = login.file().path();
    let mode = words::permissions(path).map(|mode| format!(" (mode {mode:04o})")).unwrap_or_default();
    say!("logged in to `{}`", login.backend());
    say!("  written to {}{mode}", path.display());
    if let Some(fingerprint) = status.fingerprint {
        say!("  the token, with the fingerprint {fingerprint}, {}", words::expiry(status, SystemTime::now()));
    }
    if login.is_renewed_here() && status.refreshable {
        say!("  it is refreshed when it expires");
    }
}
