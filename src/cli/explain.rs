use std::{process::ExitCode, time::Duration};

use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use pointsman::{Gateway, provider::Client};
use pointsman_layers::body::ReplayBody;
use serde_json::Value;
use tower::ServiceExt as _;

use super::{ConfigArg, Outcome, load, runtime};

/// The longest answer that is read.
const LONGEST: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What a client would say in the `model` field.
    #[arg(value_name = "MODEL")]
    model: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Ask the gateway that runs here, such as http://127.0.0.1:8000, which knows quotas and errors.
    #[arg(long, conflicts_with = "config")]
    url: Option<Uri>,
    /// A client key of that gateway.
    #[arg(long, env = "POINTSMAN_API_KEY", hide_env_values = true, requires = "url")]
    key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what a model string leads to: the candidates, what they would be sent, and what their gates say.
pub(super) fn run(args: &Args) -> Outcome {
    let runtime = runtime()?;
    let text = match &args.url {
        Some(url) => runtime.block_on(ask(url, args))?,
        None => runtime.block_on(evaluate(args))?,
    };
    say!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Evaluates the configuration alone.
async fn evaluate(args: &Args) -> Result<String, String> {
    let config = load(&args.config.find()?)?.config;
    let explanation =
        Gateway::from_config(config).explain(&args.model).map_err(|answer| format!("error: {}", answer.message()))?;
    if args.json {
        return Ok(pretty(&serde_json::to_value(&explanation).map_err(|error| format!("error: {error}"))?));
    }
    let note = "from the configuration alone: no error is counted and no quota known; --url asks a running gateway";
    Ok(format!("{explanation}\n({note})"))
}

/// Asks a running gateway.
async fn ask(url: &Uri, args: &Args) -> Result<String, String> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("model", &args.model).finish();
    let uri = format!("{}/v1/pointsman/explain?{query}", url.to_string().trim_end_matches('/'));
    let mut request = Request::get(&uri);
    if let Some(key) = &args.key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    let request = request.body(ReplayBody::default()).map_err(|error| format!("error: {url}: {error}"))?;
    let failed = |error: &dyn std::fmt::Display| format!("error: no answer from {url}: {error}");
    let asking = async {
        let response = Client::new(PATIENCE).oneshot(request).await.map_err(|error| failed(&source(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| failed(&error))?;
        Ok::<_, String>((status, body.to_bytes()))
    };
    let (status, body) = tokio::time::timeout(PATIENCE, asking).await.map_err(|error| failed(&error))??;
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !status.is_success() {
        let message = json["error"]["message"].as_str().unwrap_or("it is not a gateway that explains model strings");
        return Err(format!("error: {url} answered {status}: {message}"));
    }
    if args.json {
        return Ok(pretty(&json));
    }
    let explanation: pointsman::gateway::Explanation =
        serde_json::from_value(json).map_err(|error| format!("error: {url} answered something else: {error}"))?;
    Ok(explanation.to_string())
}

fn pretty(json: &Value) -> String {
    format!("{json:#}")
}

/// The reason at the bottom of an error.
fn source(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
