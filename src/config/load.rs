use std::{cell::RefCell, ops::Range, path::Path, sync::Arc};

use super::{
    Backend, Config, Diagnostic, Diagnostics, Environment, ProcessEnvironment, Raw, Server, Severity,
    check::check,
    decode::{Context, Cursor, Finding},
    diagnostic::Place,
    fields::Fields,
    locate, mask,
    node::{Node, Value},
    resolve::{Backends, warn_if_unavailable},
    route::decode_routes,
};

/// A configuration that can be used, and what is doubtful about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What will probably not do what was meant.
    pub warnings: Diagnostics,
}

/// The keys under `backends` that are no backends.
const BACKEND_SETTINGS: [&str; 8] = [
    "disable_hybrid_backend",
    "reasoning_injection_probability",
    "hybrid_reasoning_force_initial_turns",
    "hybrid_backend_repeat_messages",
    "hybrid_reasoning_model_timeout",
    "hybrid_execution_model_timeout",
    "hybrid_on_reasoning_failure",
    "hybrid_reason_on_tool_turns",
];

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
            let file = Some(path.to_string_lossy().into());
            Diagnostics::of_file(file, format!("cannot read the configuration: {error}"), None)
        })?;
        let mut loaded = read(&text, Some(path), environment)?;
        loaded.config.source = Some(path.to_owned());
        Ok(loaded)
    }
}

fn read(text: &str, path: Option<&Path>, environment: &dyn Environment) -> Result<Loaded, Diagnostics> {
    // The parser would take a byte order mark for a document of its own.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file: Option<Arc<str>> = path.map(|path| path.to_string_lossy().into());
    let tree = Node::parse(text).map_err(|error| syntax_error(text, file.clone(), &error))?;
    let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let context = Context { environment, folder, findings: RefCell::default() };
    check(&context, &tree);
    let config = decode(Cursor { context: &context, node: &tree, key: None });
    let diagnostics = diagnostics(text, file, context.findings.take());
    match config {
        Some(config) if !diagnostics.has_errors() => Ok(Loaded { config, warnings: diagnostics }),
        _ => Err(diagnostics),
    }
}

fn decode(at: Cursor<'_>) -> Option<Config> {
    if !matches!(at.node.value, Value::Map(_) | Value::Null) {
        let error = at.error(format!("a configuration is a mapping, this is {}", at.node.kind()));
        return at.fail(error.label("expected a key such as `models`"));
    }
    let mut fields = Fields::of(at)?;
    let server = fields.optional("server", Server::decode).unwrap_or_default();
    let mut other = Raw::default();
    let mut default_backend = fields.take("default_backend").filter(|name| !name.node.is_null());
    let mut configured = Vec::new();
    if let Some(mut entries) = fields.optional("backends", Fields::of) {
        for key in BACKEND_SETTINGS {
            if let Some(value) = entries.optional(key, Cursor::json) {
                other.0.insert(key.to_owned(), value);
            }
        }
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
        let name = default.name()?;
        let routes: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        backends.resolve(default, &name, &routes)
    });
    if let Some(aliases) = fields.optional("model_aliases", Cursor::json) {
        other.0.insert("model_aliases".into(), aliases);
    }
    fields.finish();
    let backends = backends.into_list();
    if routes.is_empty() && backends.is_empty() && at.context.findings.borrow().is_empty() {
        at.report(at.warning("nothing is configured: there are neither routes nor backends"));
    }
    Some(Config { source: None, server, backends, routes, default_backend, force_model: None, other })
}

/// Finds the places of all findings, and puts them in order.
fn diagnostics(text: &str, file: Option<Arc<str>>, findings: Vec<Finding<'_>>) -> Diagnostics {
    let mut list: Vec<Diagnostic> = findings
        .into_iter()
        .map(|finding| Diagnostic {
            severity: finding.severity,
            message: finding.message,
            place: Some(place(text, locate::span(text, finding.node, finding.within))),
            label: finding.label,
            related: finding.related.map(|(node, label)| (locate::span(text, node, None), label)),
            help: finding.help,
        })
        .collect();
    let start = |diagnostic: &Diagnostic| diagnostic.span().map(|span| span.start);
    list.sort_by_key(|diagnostic| (diagnostic.severity, start(diagnostic)));
    // What an alias repeats is read once for each time.
    list.dedup_by(|a, b| start(a) == start(b) && a.message == b.message);
    let shown = if list.is_empty() { String::new() } else { mask::mask(text) };
    Diagnostics { file, shown: shown.into(), list }
}

fn place(text: &str, span: Range<usize>) -> Place {
    let (line, column) = locate::line_and_column(text, span.start);
    Place { span, line, column }
}

fn syntax_error(text: &str, file: Option<Arc<str>>, error: &serde_yaml::Error) -> Diagnostics {
    let told = error.to_string();
    let unprintable = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let (at, message) = match (text.char_indices().find(|(_, c)| unprintable(*c)), error.location()) {
        // The parser gives no place for these.
        (Some((at, c)), _) => (Some(at), format!("the control character {:?} is not allowed", c)),
        (None, Some(location)) => {
            // The place is shown anyway.
            let place = format!(" at line {} column {}", location.line(), location.column());
            (Some(text.floor_char_boundary(location.index())), told.replacen(&place, "", 1))
        }
        (None, None) if told.contains("more than one document") => {
            // The last separator is the one that is surely too much.
            (text.rfind("\n---").map(|at| at + 1), "a configuration is a single document".to_owned())
        }
        (None, None) => (None, told),
    };
    let indented_by_tab = at.is_some_and(|at| {
        let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        text[line_start..].trim_start_matches(' ').starts_with('\t')
    });
    let diagnostic = Diagnostic {
        severity: Severity::Error,
        message: format!("this is not valid YAML: {message}"),
        place: at.map(|at| {
            let end = at + text[at..].chars().next().filter(|c| !c.is_control()).map_or(0, char::len_utf8);
            place(text, at..end)
        }),
        label: None,
        related: None,
        help: indented_by_tab.then(|| "indent with spaces: YAML does not allow tabs there".to_owned()),
    };
    Diagnostics { file, shown: mask::mask(text).into(), list: vec![diagnostic] }
}
