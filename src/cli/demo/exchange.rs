//! One request to the gateway over TCP, and what came back.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header, response::Parts};
use http_body_util::BodyExt as _;
use pointsman::provider::Client;
use pointsman_layers::body::ReplayBody;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

/// Far more than any answer of the demo takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer, as a client sees it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Who answered; `None` if it was the gateway itself.
    pub(super) provider: Option<String>,
    /// Who had a turn, in order.
    pub(super) attempts: Vec<Attempt>,
    pub(super) retry_after: Option<String>,
    /// From the request to the end of the answer.
    pub(super) elapsed: Duration,
    pub(super) content: Content,
}

/// One candidate's turn, as a `server-timing` header tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The provider and the model.
    pub(super) who: String,
    pub(super) outcome: String,
}

/// What the body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) text: String,
    /// The code and the message of an error, alone or after the text.
    pub(super) error: Option<(String, String)>,
    /// Whether a stream came to its regular end.
    pub(super) done: bool,
}

/// Asks the gateway at an address for a chat completion.
pub(super) async fn chat(client: &Client, gateway: SocketAddr, model: &str, stream: bool) -> Result<Answer, String> {
    let mut json = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
    if stream {
        json["stream"] = true.into();
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{gateway}/v1/chat/completions"))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(ReplayBody::from(json.to_string()))
        .map_err(|error| format!("no such request: {error}"))?;
    let start = Instant::now();
    let (parts, body) = send(client, request).await?;
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Answer {
        status: parts.status,
        provider: text("x-pointsman-provider"),
        attempts: attempts(&parts.headers),
        retry_after: text("retry-after"),
        elapsed: start.elapsed(),
        content: if stream && parts.status.is_success() { Content::of_stream(&body) } else { Content::of(&body) },
    })
}

/// Asks the gateway what a model leads to.
pub(super) async fn explain(client: &Client, gateway: SocketAddr, model: &str) -> Result<Value, String> {
    let request = Request::get(format!("http://{gateway}/v1/pointsman/explain?model={model}"))
        .body(ReplayBody::default())
        .map_err(|error| format!("no such request: {error}"))?;
    let (_, body) = send(client, request).await?;
    serde_json::from_str(&body).map_err(|error| format!("the explanation cannot be read: {error}"))
}

async fn send(client: &Client, request: Request<ReplayBody>) -> Result<(Parts, String), String> {
    let exchange = async {
        let response = client.clone().oneshot(request).await.map_err(|error| format!("no answer: {error}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok((parts, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    let overdue = |_| format!("no answer within {PATIENCE:?}");
    tokio::time::timeout(PATIENCE, exchange).await.map_err(overdue)?
}

fn attempts(headers: &HeaderMap) -> Vec<Attempt> {
    let entries = headers.get_all("server-timing").into_iter().filter_map(|value| value.to_str().ok());
    entries.filter_map(description).filter_map(|text| Attempt::read(&text)).collect()
}

/// The quoted `desc` of an entry, without its escapes.
fn description(entry: &str) -> Option<String> {
    let mut quoted = entry.split_once("desc=\"")?.1.chars();
    let mut text = String::new();
    loop {
        match quoted.next()? {
            '"' => return Some(text),
            '\\' => text.push(quoted.next()?),
            other => text.push(other),
        }
    }
}

impl Attempt {
    fn read(text: &str) -> Option<Self> {
        let (who, outcome) = text.split_once(": ")?;
        Some(Self { who: who.to_owned(), outcome: outcome.to_owned() })
    }

    /// Why it was not asked, if it was not.
    pub(super) fn skipped(&self) -> Option<&str> {
        self.outcome.strip_prefix("skipped (")?.strip_suffix(')')
    }
}

impl Content {
    fn of(body: &str) -> Self {
        let mut content = Self::default();
        content.add(body);
        content
    }

    fn of_stream(body: &str) -> Self {
        let mut content = Self::default();
        for data in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
            match data {
                "[DONE]" => content.done = true,
                json => content.add(json),
            }
        }
        content
    }

    fn add(&mut self, json: &str) {
        let json: Value = serde_json::from_str(json).unwrap_or_default();
        let choice = &json["choices"][0];
        let said = choice["message"]["content"].as_str().or(choice["delta"]["content"].as_str());
        self.text.push_str(said.unwrap_or_default());
        if let Some(error) = json["error"].as_object() {
            let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            self.error = Some((text("code"), text("message")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_from_the_headers() {
        let mut headers = HeaderMap::new();
        for entry in [
            r#"attempt1;dur=0.1;desc="a/b: skipped (closed: quota[\"x\"] > 0 (quota[\"x\"] = 0))""#,
            r#"attempt2;dur=12.0;desc="c/d/e: 200""#,
            "cache",
        ] {
            headers.append("server-timing", HeaderValue::from_static(entry));
        }
        let attempts = attempts(&headers);
        assert_eq!(attempts.len(), 2);
        assert_eq!(attempts[0].who, "a/b");
        assert_eq!(attempts[0].skipped(), Some(r#"closed: quota["x"] > 0 (quota["x"] = 0)"#));
        assert_eq!(attempts[1], Attempt { who: "c/d/e".into(), outcome: "200".into() });
        assert_eq!(attempts[1].skipped(), None);
    }

    #[test]
    fn content_is_what_was_said() {
        let text = |text: &str| json!({"choices": [{"delta": {"content": text}}]});
        let stream = format!("data: {}\n\ndata: {}\n\n", text("Hello, "), text("world"));
        let whole = Content { text: "Hello, world".into(), error: None, done: true };
        assert_eq!(Content::of_stream(&(stream.clone() + "data: [DONE]\n\n")), whole);

        let error = r#"{"error": {"message": "it broke", "code": "broken"}}"#;
        let broken = Content { error: Some(("broken".into(), "it broke".into())), done: false, ..whole };
        assert_eq!(Content::of_stream(&format!("{stream}\n\ndata: {error}\n\n")), broken);
        assert_eq!(Content::of(error), Content { text: String::new(), ..broken });
    }
}
