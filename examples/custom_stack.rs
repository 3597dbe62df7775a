//! The layers stacked by hand, without a configuration: `cargo run --example custom_stack`.
//!
//! Two providers behind one route, each with an error count, a gate, a hold at rate limits, its key, and a look at its
//! first event. PRIMARY and SPARE are the base URLs of servers that speak OpenAI's API (Ollama's and LM Studio's on this
//! machine), PRIMARY_KEY and SPARE_KEY their keys if they take any, BUDGET is what may be spent on the first (100), PORT
//! where to listen (8000).

use std::{collections::HashMap, env, error::Error, sync::Arc, time::Duration};

use http::{Request, header};
use pointsman::{
    provider::{ClassifyProviderError, Client, Provider},
    server::{Limits, Server},
};
use pointsman_layers::{
    body::{CollectLayer, ReplayBody},
    condition::{ConditionGate, ConditionLayer},
    error_count::{ErrorCount, ErrorCountLayer, ErrorCounts},
    ext::Candidate,
    first_event::{FirstEvent, FirstEventLayer},
    oauth::{OAuth, OAuthLayer, StaticToken},
    quota::{Quota, QuotaCache, QuotaError, QuotaLayer},
    rate_limit_retry::{Backoff, Policy, RateLimitRetry, RateLimitRetryLayer},
    route::{Route, RouteLayer, Routes, Target},
};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

/// The layers around one provider, outermost first.
type Stack = ErrorCount<Quota<ConditionGate<RateLimitRetry<OAuth<Wire, StaticToken>>>>>;
type Wire = FirstEvent<Provider, ClassifyProviderError>;

fn stack(
    name: &str,
    base_url: &str,
    key: Option<String>,
    errors: &ErrorCounts,
    quotas: &QuotaCache,
) -> Result<Stack, Box<dyn Error>> {
    let provider = Provider::builder(&base_url.parse()?).ok_or("a base URL needs a scheme and a host")?;
    // Whatever `Authorization` a client sends ends here; the one from the layer above goes on.
    let provider = provider.credential_from_above([header::AUTHORIZATION]).build(Client::new(Duration::from_secs(10)));
    Ok(ServiceBuilder::new()
        // Counts what comes back from below, to the end of the body.
        .layer(ErrorCountLayer::new(errors.window(name)))
        // Hands out the quota; a 429 from below empties it. Neither layer decides anything.
        .layer(QuotaLayer::new(quotas.handle(name)))
        // Decides, by the condition of the route's candidate. A closed gate calls nothing below it.
        .layer(ConditionLayer::from_candidate())
        // At a 429 it waits for as long as the answer says, 10 s at the most, and asks once more; others wait with it.
        .layer(RateLimitRetryLayer::new(Policy::default(), Backoff::new()).label(name))
        // Puts in the key. A credential file, or any other `TokenSource`, would renew it after a 401.
        .layer(OAuthLayer::optional(key.map(StaticToken::new)))
        // Turns a stream that begins with an error into an answer with the status it means.
        .layer(FirstEventLayer::new().classify(ClassifyProviderError))
        .service(provider))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let budget: f64 = variable("BUDGET", "100").parse()?;

    let (errors, quotas) = (ErrorCounts::default(), QuotaCache::default());
    // A quota source is any closure that returns a future, so this could as well ask a database. It is called only
    // when a condition needs the answer, which is then kept for five minutes.
    quotas.insert("primary", move || async move { Ok::<_, QuotaError>(json!({ "balance": budget })) });

    let (primary_url, spare_url) =
        (variable("PRIMARY", "http://127.0.0.1:11434/v1"), variable("SPARE", "http://127.0.0.1:1234/v1"));
    let primary = stack("primary", &primary_url, env::var("PRIMARY_KEY").ok(), &errors, &quotas)?;
    let spare = stack("spare", &spare_url, env::var("SPARE_KEY").ok(), &errors, &quotas)?;
    let stacks = Arc::new(HashMap::from([("primary", primary), ("spare", spare)]));
    // The route says on each request whom it is for.
    let providers = service_fn(move |request: Request<ReplayBody>| {
        let candidate = request.extensions().get::<Candidate>().expect("the route sets it");
        let stack = stacks.get(&*candidate.provider).expect("every candidate below has a stack");
        stack.clone().oneshot(request)
    });

    let small = Route::new("small")
        .candidate(Target::new("primary", "llama3.2:3b").condition("balance > 0 and error_count < 3".parse()?))
        .candidate(Target::new("spare", "llama-3.2-3b-instruct"));
    let service = ServiceBuilder::new()
        // Reads the request once, so that the next candidate can be sent the same; 413 above 1 MiB.
        .layer(CollectLayer::new(1 << 20))
        // Tries the candidates in order. Knowing what an error means, it can tell a 502 from a 504.
        .layer(RouteLayer::new(Routes::from_iter([small])).classify(ClassifyProviderError))
        .service(providers);

    let port = variable("PORT", "8000").parse()?;
    let server = Server::bind(([127, 0, 0, 1], port).into(), Limits::default()).await?;
    println!("listening on http://{}", server.local_addr()?);
    server.serve(service, async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}
