use std::{borrow::Cow, fmt, sync::Arc};

use pointsman_layers::{
    body::ErrorAnswer,
    quota::Freshness,
    route::{Route, Target},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    State,
    resolver::{Meant, Resolver},
};

/// What a model string leads to, and what each gate on the way says now.
///
/// [`Display`](fmt::Display) is for people; serialized, it is what `GET /v1/pointsman/explain` answers with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The model string that was asked about.
    pub model: String,
    /// The one that counts in its place, if a forced model or an alias takes it.
    pub stands_for: Option<String>,
    /// The candidates that answer, in order. A weighted choice is drawn anew for each request.
    pub candidates: Vec<CandidateExplanation>,
    /// For a hybrid, the candidates that think, in order; otherwise none.
    pub reasoning: Vec<CandidateExplanation>,
}

/// A candidate of an [`Explanation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CandidateExplanation {
    /// The backend.
    pub provider: String,
    /// The model that it is sent.
    pub model: String,
    /// The parameters that it is sent.
    pub parameters: Vec<ParameterExplanation>,
    /// What has to hold for it to be asked.
    pub condition: Option<String>,
    /// Whether it would be asked now.
    pub is_open: bool,
    /// Why it is open or closed, in words.
    pub reason: String,
    /// How many of its errors count at the moment.
    pub error_count: u64,
    /// How well its quota is known: `fresh`, `stale` or `unknown`.
    pub quota: Cow<'static, str>,
    /// For how many seconds requests to it still wait for a rate limit to pass, if they do.
    pub backoff_seconds: Option<f64>,
}

/// A parameter of a [`CandidateExplanation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParameterExplanation {
    /// The key in the body.
    pub name: String,
    /// The value that is sent; a default is sent where the body has none.
    pub value: Value,
    /// Where it comes from: `forced`, `model string` or `default`.
    pub source: Cow<'static, str>,
}

/// Explains model strings from the state of a gateway.
#[derive(Clone)]
pub(super) struct Explainer {
    resolver: Arc<Resolver>,
    state: Arc<State>,
}

impl Explainer {
    pub(super) fn new(resolver: Arc<Resolver>, state: Arc<State>) -> Self {
        Self { resolver, state }
    }

    /// Explains a model string; nothing is fetched for it.
    pub(super) fn explain(&self, model: &str) -> Result<Explanation, ErrorAnswer> {
        let meant = self.resolver.asked_for(model);
        let (execution, reasoning) = match self.resolver.resolve(&meant)? {
            Meant::Route(route) => (route, None),
            Meant::Hybrid(sides) => (sides.execution, Some(sides.reasoning)),
        };
        let stands_for = (meant != model).then(|| Cow::into_owned(meant));
        Ok(Explanation {
            model: model.to_owned(),
            stands_for,
            candidates: self.candidates(&execution),
            reasoning: reasoning.map(|route| self.candidates(&route)).unwrap_or_default(),
        })
    }

    fn candidates(&self, route: &Route) -> Vec<CandidateExplanation> {
        route.candidates().iter().map(|target| self.candidate(target)).collect()
    }

    fn candidate(&self, target: &Target) -> CandidateExplanation {
        let name = target.provider();
        let backend = self.resolver.backend(name);
        let error_count = self.state.errors.count(name);
        let quota = self.state.quotas.handle(name);
        let closed = match backend {
            None => Some("there is no backend of this name".to_owned()),
            Some(backend) => backend.why_closed(),
        };
        let shown = match (closed, target.gate()) {
            (Some(reason), _) => Err(reason),
            (None, None) => Ok("no condition".to_owned()),
            (None, Some((condition, on_unknown))) => {
                on_unknown.show(condition, quota.as_ref(), error_count).map_err(|reason| reason.to_string())
            }
        };
        let forced = |name: &str| backend.is_some_and(|backend| backend.forced_params.contains_key(name));
        let parameters = target.parameters().map(|(name, value, replaces)| ParameterExplanation {
            name: name.to_owned(),
            value: value.clone(),
            source: match replaces {
                true if forced(name) => "forced",
                true => "model string",
                false => "default",
            }
            .into(),
        });
        CandidateExplanation {
            provider: name.to_owned(),
            model: target.model().to_owned(),
            parameters: parameters.collect(),
            backoff_seconds: self.state.backoff(name).map(|rest| rest.as_secs_f64()),
            condition: target.gate().map(|(condition, _)| condition.to_string()),
            is_open: shown.is_ok(),
            reason: shown.unwrap_or_else(|reason| reason),
            error_count,
            quota: match quota.map(|quota| quota.peek().freshness()) {
                Some(Freshness::Fresh) => "fresh",
                Some(Freshness::Stale) => "stale",
                _ => "unknown",
            }
            .into(),
        }
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer").finish_non_exhaustive()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.model)?;
        if let Some(meant) = &self.stands_for {
            write!(f, " stands for {meant}")?;
        }
        if !self.reasoning.is_empty() {
            f.write_str("\n  thinks:")?;
            list(f, &self.reasoning)?;
            f.write_str("\n  answers:")?;
        }
        list(f, &self.candidates)
    }
}

fn list(f: &mut fmt::Formatter<'_>, candidates: &[CandidateExplanation]) -> fmt::Result {
    for (index, candidate) in candidates.iter().enumerate() {
        write!(f, "\n  {}. {} {}", index + 1, candidate.provider, candidate.model)?;
        for ParameterExplanation { name, value, source } in &candidate.parameters {
            write!(f, "\n     {name} = {value} ({source})")?;
        }
        write!(f, "\n     {}", candidate.reason)?;
        let errors = if candidate.error_count == 1 { "error" } else { "errors" };
        write!(f, "\n     {} {errors} counted, quota {}", candidate.error_count, candidate.quota)?;
        if let Some(seconds) = candidate.backoff_seconds {
            write!(f, "\n     rate limited for another {seconds:.1} s")?;
        }
    }
    Ok(())
}
