use std::{collections::HashSet, path::Path};

use super::{
    Backend, Config, Diagnostics, Environment, GateSource, Hybrid, ModelAlias, ProcessEnvironment, Server,
    check::check,
    decode::{Context, Cursor},
    default_backend,
    fields::Fields,
    instances::{self, Instance},
    node::Value,
    resolve::{Backends, warn_if_unavailable},
    route::decode_routes,
    source::{self, Source, file_error},
};

/// A configuration that can be used, and what is doubtful about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What will probably not do what was meant.
    pub warnings: Diagnostics,
}

impl Loaded {
    /// Passes on what the environment or the command line says of the gates that this flag opens, and takes back the
    /// warning of a closed gate if it is open now.
    pub fn say(&mut self, flag: &str, open: bool, source: GateSource) {
        let gates = self.config.backends.iter_mut().filter_map(|backend| backend.gate.as_mut());
        gates.filter(|gate| gate.flag() == Some(flag)).for_each(|gate| gate.say(open, source));
        if open {
            let closed = |name: &str| {
                self.config.backend(name).and_then(|backend| backend.gate.as_ref()).is_some_and(|gate| !gate.is_open())
            };
            self.warnings.list.retain(|warning| warning.closed_gate.as_deref().is_none_or(closed));
        }
    }
}

impl Config {
    /// Reads a configuration from YAML, with the environment of this process.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, the warnings included.
    pub fn from_yaml(text: &str) -> Result<Loaded, Diagnostics> {
        Self::from_yaml_with(text, &ProcessEnvironment)
    }

    /// Reads a configuration from YAML, with variables and files from elsewhere.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, the warnings included.
    pub fn from_yaml_with(text: &str, environment: &dyn Environment) -> Result<Loaded, Diagnostics> {
        read(text, None, environment)
    }

    /// Reads a configuration file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// That the file cannot be read, or everything that is wrong with it, the warnings included.
    pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
        Self::load_with(path, &ProcessEnvironment)
    }

    /// Reads a configuration file, with variables and files from elsewhere.
    ///
    /// # Errors
    ///
    /// That the file cannot be read, or everything that is wrong with it, the warnings included.
    pub fn load_with(path: &Path, environment: &dyn Environment) -> Result<Loaded, Diagnostics> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let error = file_error(path, format!("cannot read the configuration: {error}"));
            Diagnostics { file: error.excerpt.file.clone(), list: vec![error] }
        })?;
        let mut loaded = read(&text, Some(path), environment)?;
        loaded.config.source = Some(path.to_owned());
        Ok(loaded)
    }
}

fn read(text: &str, path: Option<&Path>, environment: &dyn Environment) -> Result<Loaded, Diagnostics> {
    let mut sources = vec![Source::new(text, path)];
    let file = sources[0].file();
    let tree = sources[0].parse(0).map_err(|error| Diagnostics { file: file.clone(), list: vec![*error] })?;
    let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let mut list = Vec::new();
    let instances = match path {
        Some(_) => Instance::read_all(folder, &mut sources, &mut list),
        None => Vec::new(),
    };
    let merged = instances::merged(&tree, &instances);
    let context = Context::new(environment, folder);
    check(&context, &tree);
    instances.iter().for_each(|instance| instance.check(&context));
    let config = decode(Cursor { context: &context, node: merged.as_ref().unwrap_or(&tree), key: None });
    if context.errors() == 0 {
        warn_of_readable_secrets(&context, &sources);
    }
    list.extend(source::diagnostics(&sources, context.findings.take()));
    let diagnostics = Diagnostics { file, list };
    match config {
        Some(config) if !diagnostics.has_errors() => Ok(Loaded { config, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
}

/// A warning for each file that has a credential in it and that everybody on this machine may read.
fn warn_of_readable_secrets(context: &Context<'_>, sources: &[Source]) {
    let mut secrets = context.written_secrets.take();
    secrets.sort_by_key(|secret| secret.node.source);
    secrets.dedup_by_key(|secret| secret.node.source);
    for secret in secrets {
        let Some(file) = sources[secret.node.source].file().filter(|file| is_readable_by_all(Path::new(&**file)))
        else {
            continue;
        };
        let warning = secret.warning("every user of this machine can read this credential");
        secret.report(warning.help(format!("`chmod 600 {file}`, or name a variable: `${{NAME}}`")));
    }
}

/// Whether every user of this machine can read a file.
#[cfg(unix)]
pub(crate) fn is_readable_by_all(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_readable_by_all(_: &Path) -> bool {
    false
}

fn decode(at: Cursor<'_>) -> Option<Config> {
    if !matches!(at.node.value, Value::Map(_) | Value::Null) {
        let error = at.error(format!("a configuration is a mapping, this is {}", at.node.kind()));
        return at.fail(error.label("expected a key such as `models`"));
    }
    let mut fields = Fields::of(at)?;
    let server = fields.optional("server", Server::decode).unwrap_or_default();
    let mut default_backend = fields.take("default_backend").filter(|name| !name.node.is_null());
    let mut hybrid = Hybrid::default();
    let mut configured = Vec::new();
    if let Some(mut entries) = fields.optional("backends", Fields::of) {
        hybrid = Hybrid::decode(&mut entries);
        let below = entries.take("default_backend").filter(|name| !name.node.is_null());
        if let (Some(first), Some(second)) = (&default_backend, &below) {
            let error = second.at_key().error("`default_backend` is given twice");
            at.report(error.label("given again").related(first.at_key().node, "given first here"));
        }
        default_backend = default_backend.or(below);
        for entry in entries.rest() {
            let errors = at.context.errors();
            if let Some(backend) = Backend::decode(entry) {
                // What could not be read is not missing.
                if at.context.errors() == errors {
                    warn_if_unavailable(entry.at_key(), &backend);
                }
                configured.push(backend);
            }
        }
    }
    let mut backends = Backends::new(configured);
    let routes = fields.optional("models", |models| decode_routes(models, &mut backends)).unwrap_or_default();
    let default_backend = default_backend.and_then(|default| {
        let routes: HashSet<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        default_backend::decode(default, &mut backends, &routes)
    });
    let model_aliases = fields
        .optional("model_aliases", |aliases| aliases.list(|alias| ModelAlias::decode(alias, &mut backends)))
        .unwrap_or_default();
    fields.finish();
    let backends = backends.into_list();
    if routes.is_empty() && backends.is_empty() && at.context.findings.borrow().is_empty() {
        at.report(at.warning("nothing is configured: there are neither routes nor backends"));
    }
    Some(Config { source: None, server, backends, routes, default_backend, force_model: None, model_aliases, hybrid })
}
