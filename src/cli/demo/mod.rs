//! `pointsman demo`: the gateway in front of scripted providers, to be tried by hand or watched.

mod exchange;
mod page;
mod providers;
mod steps;
mod tour;

use std::{fmt::Write as _, io, net::Ipv4Addr, process::ExitCode};

use pointsman::{
    Gateway,
    config::Config,
    server::{Limits, Server},
};

use self::{page::Page, providers::Providers};
use super::{Outcome, log, runtime, signals};

const CONFIG: &str = include_str!("config.yaml");

const DEFAULT_PORT: u16 = 8000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send the requests too, show what becomes of each, and exit.
    #[arg(long, conflicts_with = "port")]
    tour: bool,
    /// The port to listen on, 0 for any that is free [default: 8000, or any if that is taken].
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// Runs the demo until a signal says to stop, or the tour to its end: exit status 1 if it did not see what it shows.
pub(super) fn run(args: &Args) -> Outcome {
    // On a tour the log would say everything twice.
    log::init(if args.tour { "off" } else { "info" });
    runtime()?.block_on(async {
        let providers = Providers::start().await.map_err(|error| format!("error: cannot listen: {error}"))?;
        let config = config(&providers)?;
        match args.tour {
            true => tour::take(config).await,
            false => serve(config, args.port).await,
        }
    })
}

fn config(providers: &Providers) -> Result<Config, String> {
    let loaded = Config::from_yaml_with(CONFIG, &|name: &str| providers.variable(name));
    loaded.map(|loaded| loaded.config).map_err(|diagnostics| diagnostics.render(false))
}

async fn serve(config: Config, port: Option<u16>) -> Outcome {
    let server = bind(port).await?;
    let address = server.local_addr().map_err(|error| format!("error: {error}"))?;
    let stop = signals::stop()?;
    let mut page = Page::new();
    page.text("", &greeting(&config));
    if port.is_none() && address.port() != DEFAULT_PORT {
        page.text("", &format!("\nPort {DEFAULT_PORT} is taken, so this is another one."));
    }
    page.text("", &format!("\nlistening on http://{address}\n\n{}", advice(&format!("http://{address}"))));
    page.show()?;
    server.serve(Gateway::from_config(config), stop).await;
    Ok(ExitCode::SUCCESS)
}

async fn bind(port: Option<u16>) -> Result<Server, String> {
    let listen = |port| Server::bind((Ipv4Addr::LOCALHOST, port).into(), Limits::default());
    let wanted = port.unwrap_or(DEFAULT_PORT);
    let bound = match listen(wanted).await {
        // Whoever asked for no port in particular gets one.
        Err(error) if port.is_none() && error.kind() == io::ErrorKind::AddrInUse => listen(0).await,
        bound => bound,
    };
    bound.map_err(|error| format!("error: cannot listen on 127.0.0.1:{wanted}: {error}"))
}

/// What runs: the routes as they are configured, and what the providers do.
fn greeting(config: &Config) -> String {
    let mut text = "Pointsman demo: a gateway, and six scripted providers on this machine.\n\nThe routes:\n".to_owned();
    for route in &config.routes {
        let mut name = route.name.as_str();
        for candidate in &route.candidates {
            let condition = candidate.condition.as_ref().map(|condition| format!(" if {condition}"));
            let (backend, condition) = (&candidate.backend, condition.unwrap_or_default());
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<14}  {backend}{condition}");
            name = "";
        }
    }
    text.push_str("\nThe providers:\n");
    for script in &providers::SCRIPTS {
        let _ = writeln!(text, "  {:<14}  {}", script.name, script.about);
    }
    text.truncate(text.trim_end().len());
    text
}

/// What to try.
fn advice(url: &str) -> String {
    let chat = |option, model, field| {
        format!(
            "  curl {option} {url}/v1/chat/completions -d '{{\"model\": \"{model}\",\n    \
             {field}\"messages\": [{{\"role\": \"user\", \"content\": \"Hi\"}}]}}'"
        )
    };
    format!(
        "Try in another terminal, each several times:\n\n{}\n{}\n{}\n{}\n{}\n  curl {url}/v1/models\n  curl {url}/readyz\n\n\
         What happened to a request stands in its answer's headers: x-pointsman-provider\n\
         says who answered, each server-timing who had a turn and what came of it. The\n\
         log below says it in short.\n\n\
         Ctrl-C stops the demo; the next one starts afresh. `pointsman demo --tour` goes\n\
         through all of this by itself.",
        chat("-i", "my-gpt4", ""),
        chat("-i", "llama-fast", ""),
        chat("-iN", "yupp-chat", "\"stream\": true, "),
        chat("-i", "all-gated", ""),
        chat("-i", "coder", ""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_leaves_nothing_to_warn_of() {
        let address = |_: &str| Some("http://127.0.0.1:1".to_owned());
        let loaded = Config::from_yaml_with(CONFIG, &address).unwrap();
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(loaded.config.backends.iter().all(|backend| backend.unavailable.is_none()));
    }

    #[tokio::test]
    async fn every_backend_is_one_of_the_scripted_providers() {
        let providers = Providers::start().await.unwrap();
        let config = config(&providers).unwrap();
        let names: Vec<_> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
        assert_eq!(names, providers::SCRIPTS.each_ref().map(|script| script.name));
    }

    #[test]
    fn what_is_printed_fits_a_terminal() {
        let address = |_: &str| Some("http://127.0.0.1:1".to_owned());
        let config = Config::from_yaml_with(CONFIG, &address).unwrap().config;
        let text = greeting(&config) + "\n" + &advice("http://127.0.0.1:65535");
        for line in text.lines() {
            assert!(line.chars().count() <= page::WIDTH, "{line}");
        }
    }
}
