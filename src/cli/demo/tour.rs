//! `pointsman demo --tour`: requests that show what the gateway does, each checked before anything is said of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use pointsman::{
    Gateway,
    config::Config,
    provider::Client,
    server::{Limits, Server},
};

use super::{
    exchange::{Answer, chat, explain},
    page::{Page, Style},
    steps::{Ends, STEPS, Scene},
};
use crate::cli::Outcome;

/// Takes the tour: sends every request through a gateway on a port of its own, and prints what came of it.
pub(super) async fn take(config: Config) -> Outcome {
    let failed = |error| format!("error: cannot listen: {error}");
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), Limits::default()).await.map_err(failed)?;
    let gateway = server.local_addr().map_err(failed)?;
    tokio::spawn(server.serve(Gateway::from_config(config), std::future::pending()));

    let client = Client::new(Duration::from_secs(5));
    let mut page = Page::new();
    page.paragraph(
        Style::Plain,
        "",
        "",
        &format!(
            "Pointsman's tour: a gateway on {gateway} and six scripted providers, all on this machine. Each request \
             below was sent over TCP, and what is said of it was read from its answer."
        ),
    );
    for (step, number) in STEPS.iter().zip(1..) {
        page.line(Style::Bold, "\n", &format!("{number}. {}", step.title));
        // What is said of a scene may be seen in the next, so all of a step is checked before any of it is shown.
        let mut answers = Vec::new();
        for scene in step.scenes {
            let answer = play(&client, gateway, scene).await;
            answers.push(answer.map_err(|problem| format!("error: step {number} of the tour: {problem}"))?);
        }
        for (scene, answer) in step.scenes.iter().zip(&answers) {
            show(scene, answer, &mut page);
        }
        page.show()?;
    }
    page.paragraph(
        Style::Plain,
        "\n",
        "",
        "Each answer was checked to be what is said of it here. Now by hand: `pointsman demo`.",
    );
    page.show()?;
    Ok(ExitCode::SUCCESS)
}

/// Sends a scene's requests. The last answer, if all of them are what the scene shows.
async fn play(client: &Client, gateway: SocketAddr, scene: &Scene) -> Result<Answer, String> {
    if scene.twice {
        return play_twice(client, gateway, scene).await;
    }
    let mut answer = chat(client, gateway, scene.model, scene.stream).await?;
    check(scene, &answer)?;
    for _ in 1..scene.times {
        answer = chat(client, gateway, scene.model, scene.stream).await?;
        check(scene, &answer)?;
    }
    Ok(answer)
}

/// Sends a scene's request, and once more when the first is held. Which of them is answered last is chance.
async fn play_twice(client: &Client, gateway: SocketAddr, scene: &Scene) -> Result<Answer, String> {
    let second = async {
        backoff(client, gateway, scene.model).await?;
        chat(client, gateway, scene.model, scene.stream).await
    };
    let (first, second) = tokio::try_join!(chat(client, gateway, scene.model, scene.stream), second)?;
    let (last, other) = if first.content.text.contains(scene.says) { (first, second) } else { (second, first) };
    check(&Scene { says: "", ..*scene }, &other)?;
    check(scene, &last)?;
    Ok(last)
}

/// Waits until the gateway holds requests to this model.
async fn backoff(client: &Client, gateway: SocketAddr, model: &str) -> Result<(), String> {
    for _ in 0..500 {
        if explain(client, gateway, model).await?["candidates"][0]["backoff_seconds"].is_number() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("no request was held".to_owned())
}

/// Whether the answer is what the scene shows.
fn check(scene: &Scene, answer: &Answer) -> Result<(), String> {
    let content = &answer.content;
    let turns = || answer.attempts.iter().zip(scene.attempts);
    let ends_as_shown = match &scene.ends {
        Ends::Whole => content.error.is_none() && !content.text.is_empty() && content.done == scene.stream,
        Ends::InError { code, after_text } => {
            content.error.as_ref().is_some_and(|(found, _)| found == code)
                && content.text.is_empty() != *after_text
                && !content.done
        }
    };
    let is_as_shown = answer.status == scene.status
        && answer.provider.as_deref() == scene.provider
        && answer.attempts.len() == scene.attempts.len()
        && turns().all(|(attempt, (provider, outcome))| {
            attempt.who.split('/').next() == Some(provider) && attempt.skipped().unwrap_or(&attempt.outcome) == *outcome
        })
        && answer.elapsed.as_secs_f64() >= scene.takes
        && content.text.contains(scene.says)
        && ends_as_shown;
    match is_as_shown {
        true => Ok(()),
        false => Err(format!("`{}` was answered otherwise than it should be: {answer:?}", scene.model)),
    }
}

fn show(scene: &Scene, answer: &Answer, page: &mut Page) {
    if !scene.shows.is_empty() {
        page.paragraph(Style::Plain, "\n   ", "   ", scene.shows);
    }
    let field = if scene.stream { r#", "stream": true"# } else { "" };
    let times = match scene.times {
        _ if scene.twice => "  (2 at once)".to_owned(),
        1 => String::new(),
        times => format!("  ({times} times)"),
    };
    let request = format!("POST /v1/chat/completions {{\"model\": \"{}\"{field}, ...}}{times}", scene.model);
    page.line(Style::Plain, "\n   > ", &request);

    let status = answer.status.as_u16();
    let line = match &answer.provider {
        Some(provider) if scene.takes > 0.0 => {
            format!("{status} from {provider}, after {:.1} s", answer.elapsed.as_secs_f64())
        }
        Some(provider) => format!("{status} from {provider}"),
        None => format!("{status} from the gateway"),
    };
    let style = if answer.status.is_success() { Style::Green } else { Style::Yellow };
    let line = page.styled(style, &line);
    page.line(Style::Plain, "   < ", &line);
    let width = answer.attempts.iter().map(|attempt| attempt.who.len()).max().unwrap_or_default();
    for (index, attempt) in answer.attempts.iter().enumerate() {
        let turn = |outcome: &str| format!("{}. {:width$}  {outcome}", index + 1, attempt.who);
        match attempt.skipped() {
            Some(reason) => {
                page.line(Style::Plain, "     ", &turn("not asked"));
                page.paragraph(Style::Yellow, "        ", "        ", reason);
            }
            None => page.line(Style::Plain, "     ", &turn(&attempt.outcome)),
        }
    }
    if !answer.content.text.is_empty() {
        page.paragraph(Style::Faint, "     ", "      ", &format!("\"{}\"", answer.content.text.trim_end()));
    }
    if let Some((code, message)) = &answer.content.error {
        page.paragraph(Style::Yellow, "     ", "     ", &format!("error {code}: {message}"));
    }
    if let Some(seconds) = &answer.retry_after {
        page.line(Style::Plain, "     ", &format!("Retry-After: {seconds}"));
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{
        super::{
            exchange::{Attempt, Content},
            steps::ONCE,
        },
        *,
    };

    /// What a scene about a provider that fails and a stream that another one breaks would see.
    fn answer() -> Answer {
        let attempt = |who: &str, outcome: &str| Attempt { who: who.into(), outcome: outcome.into() };
        Answer {
            status: StatusCode::OK,
            provider: Some("b".into()),
            attempts: vec![attempt("a/x", "skipped (closed: balance > 0 (balance = 0))"), attempt("b/y", "200")],
            retry_after: None,
            elapsed: Duration::from_secs(1),
            content: Content { text: "Hello".into(), error: Some(("broken".into(), "it broke".into())), done: false },
        }
    }

    #[test]
    fn nothing_is_shown_that_was_not_seen() {
        let scene = Scene {
            stream: true,
            provider: Some("b"),
            attempts: &[("a", "closed: balance > 0 (balance = 0)"), ("b", "200")],
            ends: Ends::InError { code: "broken", after_text: true },
            takes: 1.0,
            says: "Hell",
            ..ONCE
        };
        assert_eq!(check(&scene, &answer()), Ok(()));

        let others: [fn(&mut Answer); 11] = [
            |answer| answer.elapsed = Duration::from_millis(999),
            |answer| answer.content.text = "Good day".into(),
            |answer| answer.status = StatusCode::ACCEPTED,
            |answer| answer.provider = Some("a".into()),
            |answer| answer.provider = None,
            |answer| answer.attempts[0].outcome = "429".into(),
            |answer| answer.attempts[1].who = "c/y".into(),
            |answer| answer.attempts.truncate(1),
            |answer| answer.content.error = None,
            |answer| answer.content.text.clear(),
            |answer| answer.content.done = true,
        ];
        for change in others {
            let mut answer = answer();
            change(&mut answer);
            assert!(check(&scene, &answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_whole_answer_has_text_and_no_error() {
        let scene = Scene {
            provider: Some("b"),
            attempts: &[("a", "closed: balance > 0 (balance = 0)"), ("b", "200")],
            ..ONCE
        };
        let content = |text: &str, done| Content { text: text.into(), error: None, done };
        assert!(check(&scene, &answer()).is_err());
        assert_eq!(check(&scene, &Answer { content: content("Hello", false), ..answer() }), Ok(()));
        assert!(check(&scene, &Answer { content: content("", false), ..answer() }).is_err());
        let stream = Scene { stream: true, ..scene };
        assert!(check(&stream, &Answer { content: content("Hello", false), ..answer() }).is_err());
        assert_eq!(check(&stream, &Answer { content: content("Hello", true), ..answer() }), Ok(()));
    }
}
