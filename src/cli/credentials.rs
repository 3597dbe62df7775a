use std::{fmt::Write as _, process::ExitCode, time::SystemTime};

use pointsman::login::Login;
use pointsman_layers::oauth::{CredentialStatus, Mode};
use serde_json::{Value, json};

use super::{ConfigArg, Outcome, load, log, runtime, words};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of a backend; without it, all that have a login.
    backend: Option<String>,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Prints how the logins stand.
pub(super) fn run(args: &Args) -> Outcome {
    // What the log would warn of is printed as a problem.
    log::init("error");
    let config = load(&args.config.find()?)?.config;
    let logins = match &args.backend {
        Some(name) => Login::find(&config, name).map(|login| vec![login]),
        None => Login::all(&config),
    };
    let logins = logins.map_err(|error| format!("error: {error}"))?;
    let reports = runtime()?.block_on(async {
        let mut reports = Vec::new();
        for login in logins {
            let status = login.file().check().await;
            reports.push(Report { login, status, now: SystemTime::now() });
        }
        reports
    });
    if args.json {
        say!("{:#}", reports.iter().map(Report::json).collect::<Value>());
    } else if reports.is_empty() {
        say!("no backend of the configuration has a login");
    } else {
        say!("{}", reports.iter().map(Report::text).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(ExitCode::SUCCESS)
}

struct Report<'c> {
    login: Login<'c>,
    status: CredentialStatus,
    now: SystemTime,
}

impl Report<'_> {
    fn text(&self) -> String {
        let mode = self.permissions().map(|mode| format!(" (mode {mode})")).unwrap_or_default();
        let token = match self.status.fingerprint {
            Some(fingerprint) => format!("fingerprint {fingerprint}, {}", words::expiry(&self.status, self.now)),
            None => "none".into(),
        };
        let mut lines = vec![
            self.login.backend().to_owned(),
            format!("  file:     {}{mode}", self.login.file().path().display()),
            format!("  token:    {token}"),
            format!("  refresh:  {}", self.refresh()),
        ];
        if let Some(exchange) = &self.login.config().exchange {
            let host = exchange.url.host().unwrap_or_default();
            lines.push(format!("  exchange: at {host}, for the short-lived token that requests take"));
        }
        lines.extend(self.problems().iter().map(|problem| format!("  problem:  {problem}")));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let status = &self.status;
        json!({
            "backend": self.login.backend(),
            "path": self.login.file().path().to_string_lossy(),
            "permissions": self.permissions(),
            "fingerprint": status.fingerprint.map(|fingerprint| fingerprint.to_string()),
            "expires_at": status.expires_at.and_then(rfc3339),
            "expired": status.expires_at.map(|time| time <= self.now),
            "mode": match self.login.config().mode {
                Mode::ReadOnly => "read_only",
                Mode::OnDemand => "on_demand",
                Mode::Proactive => "proactive",
            },
            "refreshable": self.is_refreshable(),
            "exchange": self.login.config().exchange.as_ref().map(|exchange| exchange.url.to_string()),
            "problems": self.problems(),
        })
    }

    fn permissions(&self) -> Option<String> {
        words::permissions(self.login.file().path()).map(|mode| format!("{mode:04o}"))
    }

    fn is_refreshable(&self) -> bool {
        self.login.is_renewed_here() && self.status.refreshable
    }

    fn refresh(&self) -> &'static str {
        let config = self.login.config();
        match config.mode {
            Mode::ReadOnly => "read_only: left to the vendor's own program",
            _ if config.grant.is_none() => "not possible: the configuration does not say how",
            _ if !self.status.refreshable => "not possible: there is no refresh token",
            Mode::OnDemand => "on_demand: when the token has expired or is refused",
            Mode::Proactive => "proactive: before the token expires",
        }
    }

    /// What is wrong, each with what can be done about it.
    fn problems(&self) -> Vec<String> {
        let path = self.login.file().path();
        let mut problems = Vec::from_iter(self.status.problem.clone());
        if self.status.expires_at.is_some_and(|time| time <= self.now) && !self.is_refreshable() {
            let remedy = &self.login.config().remedy;
            problems.push(format!("the token has expired and is not refreshed here; {remedy}"));
        }
        if words::permissions(path).is_some_and(|mode| mode & 0o077 != 0) {
            problems.push(format!("others than its owner may open the file; run `chmod 600 {}`", path.display()));
        }
        problems
    }
}

/// `None` for a time that the format cannot hold, past the year 9999.
fn rfc3339(time: SystemTime) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_seconds(time)).ok().map(|()| text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_that_has_no_text_is_left_out() {
        let after = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(after(1_700_000_000).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(after(1_000_000_000_000), None);
    }
}
