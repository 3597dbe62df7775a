use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, Request, StatusCode};
use pointsman_layers::{
    body::{ErrorAnswer, ReplayBody},
    ext::Commit,
    route::{ModelError, ModelField, Resolved, Route, Target, model_not_found},
};

use super::{api::asks_for_model, hybrid::Sides, models};
use crate::{
    config::{self, Backend, Config, ModelAlias},
    near::near,
    selector::{Choice, Leaf, Parameter, Selector},
};

/// Finds out what a request's `model` asks for: the forced model or an alias of it first, then a route, a backend that is
/// named, a model that a backend lists, the default backend.
#[derive(Debug)]
pub(super) struct Resolver {
    /// The configured routes and the models that backends list, ready for a request that names one.
    routes: HashMap<String, Arc<Route>>,
    /// The same as they are configured, for one that also sets parameters.
    configured: HashMap<String, config::Route>,
    /// The backend of each model that one lists.
    listed: HashMap<String, String>,
    /// Every name, in the order of the list of models.
    names: Vec<String>,
    backends: Vec<Backend>,
    aliases: Vec<ModelAlias>,
    force_model: Option<String>,
    /// A selector of backends.
    default: Option<String>,
    /// Draws the orders of weighted choices.
    random: Mutex<fastrand::Rng>,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Selection {
    /// One route, and where the model stands in the body.
    Route(Resolved),
    /// A model that thinks and one that answers.
    Hybrid(Sides),
}

/// What a model string means.
#[derive(Debug)]
pub(super) enum Meant {
    Route(Arc<Route>),
    Hybrid(Sides),
}

impl Resolver {
    pub(super) fn new(config: &Config, random: fastrand::Rng) -> Self {
        let mut resolver = Self {
            routes: HashMap::new(),
            configured: config.routes.iter().map(|route| (route.name.clone(), route.clone())).collect(),
            listed: HashMap::new(),
            names: Vec::new(),
            backends: config.backends.clone(),
            aliases: config.model_aliases.clone(),
            force_model: config.force_model.clone(),
            default: config.default_backend.clone(),
            random: Mutex::new(random),
        };
        for route in &config.routes {
            resolver.routes.insert(route.name.clone(), Arc::new(resolver.configured_route(route, &[])));
        }
        for (model, owner) in models::named(config) {
            resolver.names.push(model.to_owned());
            let Some(backend) = resolver.backend(owner) else { continue };
            // A backend that is named goes before one that lists the model.
            if Leaf::plain(model).split().is_none_or(|(name, _)| resolver.backend(name).is_none()) {
                let route = Route::new(model).candidate(models::target(backend, model, &[]));
                resolver.routes.insert(model.to_owned(), Arc::new(route));
            }
            resolver.listed.insert(model.to_owned(), owner.to_owned());
        }
        resolver
    }

    /// What a request with this body asks for.
    pub(super) fn select(&self, request: &Request<ReplayBody>) -> Result<Selection, ErrorAnswer> {
        let field = match *request.method() {
            Method::POST => ModelField::of_body(request.headers(), request.body()),
            _ => Err(ModelError::Missing),
        };
        if let (Err(ModelError::Missing | ModelError::Empty), Some(default)) = (&field, &self.default)
            && !asks_for_model(request.uri().path())
        {
            let route = self.without_model(default)?;
            return Ok(Selection::Route(Resolved { route, model: None }));
        }
        let field = field?;
        Ok(match self.resolve(&self.asked_for(&field.name))? {
            Meant::Route(route) => Selection::Route(Resolved { route, model: Some(field.span) }),
            Meant::Hybrid(sides) => Selection::Hybrid(sides),
        })
    }

    /// What a model string means.
    pub(super) fn resolve(&self, text: &str) -> Result<Meant, ErrorAnswer> {
        // What most requests ask for is known as it is.
        if let Some(route) = self.routes.get(text) {
            return Ok(Meant::Route(Arc::clone(route)));
        }
        Ok(match Selector::parse(text)? {
            Selector::Choice(choice) => Meant::Route(self.choice(&choice)?),
            Selector::Hybrid { reasoning, execution } => {
                Meant::Hybrid(self.sides(self.choice(&reasoning)?, self.choice(&execution)?))
            }
        })
    }

    fn sides(&self, reasoning: Arc<Route>, execution: Arc<Route>) -> Sides {
        let mut backends = execution.candidates().iter().filter_map(|target| self.backend(target.provider()));
        // One body is for all of them, in case one fails.
        let execution_takes_system_messages = backends.all(|backend| backend.system_messages);
        Sides { reasoning, execution, execution_takes_system_messages }
    }

    /// The model string that counts instead of the one in the body.
    pub(super) fn asked_for<'a>(&'a self, model: &'a str) -> Cow<'a, str> {
        match &self.force_model {
            Some(forced) => forced.into(),
            // One that is too long is refused whatever it is; it is not worth a search.
            None if self.aliases.is_empty() || model.len() > Selector::LONGEST => model.into(),
            None => self.aliases.iter().find_map(|alias| alias.replace(model)).map_or(model.into(), Cow::Owned),
        }
    }

    /// The route through the leaves of a choice.
    fn choice(&self, choice: &Choice<'_>) -> Result<Arc<Route>, ErrorAnswer> {
        if let [leaf] = &choice.leaves[..] {
            return self.leaf(leaf);
        }
        let mut route = Route::new(choice.to_string());
        for leaf in choice.in_order(|| self.random()) {
            // A closed gate is one more candidate to be skipped here.
            let targets = self.targets(leaf)?;
            route = targets.into_iter().fold(route, Route::candidate);
        }
        Ok(Arc::new(route))
    }

    /// The route of a single leaf, with the rules of the route that it names.
    fn leaf(&self, leaf: &Leaf<'_>) -> Result<Arc<Route>, ErrorAnswer> {
        if let Some(configured) = self.configured.get(leaf.target) {
            return Ok(match self.routes.get(leaf.target).filter(|_| leaf.parameters.is_empty()) {
                Some(route) => Arc::clone(route),
                None => Arc::new(self.configured_route(configured, &leaf.parameters)),
            });
        }
        let targets = self.targets(leaf)?;
        self.refuse_if_disabled(&targets)?;
        Ok(Arc::new(targets.into_iter().fold(Route::new(leaf.target), Route::candidate)))
    }

    /// Where a leaf leads.
    fn targets(&self, leaf: &Leaf<'_>) -> Result<Vec<Target>, ErrorAnswer> {
        if let Some(route) = self.configured.get(leaf.target) {
            return Ok(route.candidates.iter().map(|candidate| self.candidate(candidate, &leaf.parameters)).collect());
        }
        if let Some((name, model)) = leaf.split() {
            if let Some(backend) = self.backend(name) {
                if model.is_empty() {
                    return Err(leaf.error(format!("expected a model behind `{name}:`")).into());
                }
                return Ok(vec![models::target(backend, model, &leaf.parameters)]);
            }
            self.refuse_unknown_instance(leaf, name)?;
        }
        if let Some(backend) = self.listed.get(leaf.target).and_then(|owner| self.backend(owner)) {
            return Ok(vec![models::target(backend, leaf.target, &leaf.parameters)]);
        }
        match &self.default {
            Some(default) => self.by_default(default, leaf),
            None => Err(model_not_found(leaf.target, self.names.iter().map(String::as_str))),
        }
    }

    /// The default backends, for a model that nothing else takes.
    fn by_default(&self, default: &str, leaf: &Leaf<'_>) -> Result<Vec<Target>, ErrorAnswer> {
        // It was checked when the configuration was read.
        let Selector::Choice(choice) = Selector::parse(default)? else { return Ok(Vec::new()) };
        let targets = choice.in_order(|| self.random()).into_iter().filter_map(|default| {
            let (name, model) = default.split().unwrap_or((default.target, leaf.target));
            // What the client says of a parameter goes before what the default says.
            let said = |parameter: &&Parameter| leaf.parameters.iter().all(|other| other.name != parameter.name);
            let parameters: Vec<_> =
                leaf.parameters.iter().chain(default.parameters.iter().filter(said)).cloned().collect();
            Some(models::target(self.backend(name)?, model, &parameters))
        });
        Ok(targets.collect())
    }

    fn random(&self) -> fastrand::Rng {
        // A generator is good at any point of its sequence, so one that a panic left behind is too.
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    pub(super) fn backend(&self, name: &str) -> Option<&Backend> {
        config::find_backend(&self.backends, name)
    }

    /// The route for a request that asks for no model: the default backends, whatever model they are to answer with. Its
    /// answer may well be empty.
    fn without_model(&self, default: &str) -> Result<Arc<Route>, ErrorAnswer> {
        let targets = self.by_default(default, &Leaf::plain(""))?;
        self.refuse_if_disabled(&targets)?;
        let route = Route::new(default).commit(Commit::Headers);
        let targets = targets.iter().map(|target| Target::new(target.provider(), ""));
        Ok(Arc::new(targets.fold(route, Route::candidate)))
    }

    /// `openai.work:gpt-4o` means an instance, so with no such instance it is not a model of another backend.
    fn refuse_unknown_instance(&self, leaf: &Leaf<'_>, name: &str) -> Result<(), ErrorAnswer> {
        let Some((family, _)) = name.split_once('.') else { return Ok(()) };
        let instances = || self.backends.iter().map(|backend| backend.name.as_str());
        if !instances().any(|other| other.split('.').next() == Some(family)) {
            return Ok(());
        }
        let meant: Vec<_> = near(name, instances()).into_iter().map(|name| format!("`{name}`")).collect();
        let hint = if meant.is_empty() { String::new() } else { format!("; did you mean {}", meant.join(" or ")) };
        Err(leaf.error(format!("`{family}` has no instance `{name}`{hint}")).into())
    }

    /// A backend that is switched off says so itself when nobody else could answer.
    fn refuse_if_disabled(&self, targets: &[Target]) -> Result<(), ErrorAnswer> {
        let [target] = targets else { return Ok(()) };
        let Some(backend) = self.backend(target.provider()) else { return Ok(()) };
        match backend.gate.as_ref().filter(|gate| !gate.is_open()) {
            Some(gate) => Err(ErrorAnswer::new(StatusCode::FORBIDDEN, "backend_disabled", gate.reason(&backend.name))),
            None => Ok(()),
        }
    }

    fn candidate(&self, candidate: &config::Candidate, parameters: &[Parameter]) -> Target {
        let target = match self.backend(&candidate.backend) {
            Some(backend) => models::target(backend, &candidate.model, parameters),
            None => Target::new(candidate.backend.as_str(), candidate.model.as_str()),
        };
        let target = target.on_unknown(candidate.on_unknown);
        match &candidate.condition {
            Some(condition) => target.condition(condition.clone()),
            None => target,
        }
    }

    fn configured_route(&self, route: &config::Route, parameters: &[Parameter]) -> Route {
        let mut built = Route::new(route.name.as_str())
            .commit(route.commit)
            .total_timeout(route.total_timeout)
            .fallback_on_ambiguous(route.fallback_on_ambiguous);
        if let Some(attempts) = route.max_attempts {
            built = built.max_attempts(attempts);
        }
        if let Some(statuses) = &route.fallback_on {
            built =
                built.fallback_on(statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()).collect());
        }
        route.candidates.iter().map(|candidate| self.candidate(candidate, parameters)).fold(built, Route::candidate)
    }
}
