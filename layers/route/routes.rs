use std::{collections::HashMap, fmt, ops::Range, sync::Arc, time::Duration};

use http::{Request, StatusCode};

use super::{ModelField, Target};
use crate::{
    body::{ErrorAnswer, ReplayBody},
    ext::{Commit, FailureStatuses},
};

/// Decides where a request is to go.
///
/// [`Routes`] does so by name; a gateway with aliases or model strings of its own implements this itself, and may make
/// routes on the fly.
pub trait Resolve {
    /// The route of `request`, or the answer that refuses it.
    ///
    /// # Errors
    ///
    /// The answer for the client, typically 400 for a body without a model and 404 for an unknown one.
    fn resolve(&self, request: &Request<ReplayBody>) -> Result<Resolved, ErrorAnswer>;
}

impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    fn resolve(&self, request: &Request<ReplayBody>) -> Result<Resolved, ErrorAnswer> {
        (**self).resolve(request)
    }
}

/// What a [`Resolve`]r found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The candidates and the rules for them.
    pub route: Arc<Route>,
    /// Where the value of `model` stands in the body, as by [`ModelField::of`]; each candidate's own model replaces it, and
    /// its parameters are put in; a span that is not within the body panics. `None` leaves the body as it is.
    pub model: Option<Range<usize>>,
}

/// A named, ordered list of candidates, and the rules for trying them.
#[derive(Clone, Debug)]
pub struct Route {
    pub(super) name: Arc<str>,
    pub(super) candidates: Vec<Target>,
    pub(super) max_attempts: usize,
    pub(super) total_timeout: Duration,
    pub(super) fallback_on: FailureStatuses,
    pub(super) fallback_on_ambiguous: bool,
    pub(super) commit: Commit,
}

impl Route {
    /// A route without candidates yet.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            candidates: Vec::new(),
            max_attempts: usize::MAX,
            total_timeout: Duration::from_secs(90),
            fallback_on: FailureStatuses::default(),
            fallback_on_ambiguous: true,
            commit: Commit::default(),
        }
    }

    /// Adds a candidate behind the others.
    #[must_use]
    pub fn candidate(mut self, target: Target) -> Self {
        self.candidates.push(target);
        self
    }

    /// Asks this many candidates at most; skipped ones do not count. All by default.
    #[must_use]
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The time that all attempts together may take up to the commit point. 90 s by default.
    #[must_use]
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = timeout;
        self
    }

    /// The statuses that lead to the next candidate.
    #[must_use]
    pub fn fallback_on(mut self, statuses: FailureStatuses) -> Self {
        self.fallback_on = statuses;
        self
    }

    /// Whether to go on to the next candidate when a failed attempt may have been carried out, and billed, all the
    /// same. On by default.
    #[must_use]
    pub fn fallback_on_ambiguous(mut self, fallback: bool) -> Self {
        self.fallback_on_ambiguous = fallback;
        self
    }

    /// When an answer is final.
    #[must_use]
    pub fn commit(mut self, commit: Commit) -> Self {
        self.commit = commit;
        self
    }

    /// The name that clients ask for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The candidates, in order.
    pub fn candidates(&self) -> &[Target] {
        &self.candidates
    }
}

/// Routes by name; the [`Resolve`]r of a gateway that has nothing but routes.
#[derive(Clone, Default)]
pub struct Routes {
    by_name: HashMap<Arc<str>, Arc<Route>>,
    order: Vec<Arc<str>>,
}

impl Routes {
    /// The route of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Route>> {
        self.by_name.get(name)
    }

    /// The names, in the order in which the routes were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|name| &**name)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.order.iter().map(|name| &self.by_name[name])).finish()
    }
}

/// A later route of the same name replaces an earlier one.
impl FromIterator<Route> for Routes {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let mut table = Self::default();
        for route in routes {
            let name = Arc::clone(&route.name);
            if table.by_name.insert(Arc::clone(&name), Arc::new(route)).is_none() {
                table.order.push(name);
            }
        }
        table
    }
}

impl Resolve for Routes {
    fn resolve(&self, request: &Request<ReplayBody>) -> Result<Resolved, ErrorAnswer> {
        let model = ModelField::of_body(request.headers(), request.body())?;
        match self.get(&model.name) {
            Some(route) => Ok(Resolved { route: Arc::clone(route), model: Some(model.span) }),
            None => Err(model_not_found(&model.name, self.names())),
        }
    }
}

/// The 404 for a model that is not among `known`, with the names that are near it.
pub fn model_not_found<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> ErrorAnswer {
    /// More than any real name has; keeps the message, and the work for it, small.
    const LONGEST: usize = 256;
    let mut near: Vec<_> = known
        .filter(|_| name.len() <= LONGEST)
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut message = format!("there is no model `{}`", name.chars().take(LONGEST).collect::<String>());
    for (index, (_, candidate)) in near.iter().take(3).enumerate() {
        message.push_str(if index == 0 { "; did you mean " } else { " or " });
        message.push_str(&format!("`{candidate}`"));
    }
    ErrorAnswer::new(StatusCode::NOT_FOUND, "model_not_found", message).param("model")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_model_is_answered_with_near_names() {
        let known = ["my-gpt4", "yupp-chat", "llama-fast"];
        let answer = model_not_found("my-gpt5", known.into_iter());
        assert_eq!(answer.message(), "there is no model `my-gpt5`; did you mean `my-gpt4`");
        let answer = model_not_found("zzz", known.into_iter());
        assert_eq!(answer.message(), "there is no model `zzz`");
        assert!(model_not_found(&"é".repeat(100_000), known.into_iter()).message().len() < 1000);
    }

    #[test]
    fn names_keep_their_order() {
        let routes: Routes = ["b", "a", "b", "c"].into_iter().map(Route::new).collect();
        assert_eq!(routes.names().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(routes.get("a").map(|route| route.name()), Some("a"));
        assert!(routes.get("A").is_none());
    }
}
