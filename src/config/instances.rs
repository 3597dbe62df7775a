//! Instance files: one backend each, in a folder beside the configuration file.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Diagnostic,
    backend::is_any_server,
    check::check,
    decode::{Context, Cursor},
    node::{Node, Value},
    source::{Source, file_error},
};
use crate::provider::presets;

/// Where the files are, from the folder of the configuration file.
const FOLDER: &str = "config/backends/backend-instances";

/// What one file says of its backend.
pub(super) struct Instance {
    backend: String,
    tree: Node,
}

impl Instance {
    /// Reads the files in the order of their names. Their texts join the `sources`, what is wrong the `errors`.
    pub(super) fn read_all(folder: &Path, sources: &mut Vec<Source>, errors: &mut Vec<Diagnostic>) -> Vec<Self> {
        let folder = folder.join(FOLDER);
        let files = match list(&folder) {
            Ok(files) => files,
            Err(error) => {
                errors.push(file_error(&folder, format!("cannot list the instance files: {error}")));
                return Vec::new();
            }
        };
        let mut instances = Vec::new();
        for (path, backend) in files {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let source = Source::new(&text, Some(&path));
                    match source.parse(sources.len()) {
                        Ok(tree) => instances.push(Self { backend, tree }),
                        Err(error) => errors.push(*error),
                    }
                    sources.push(source);
                }
                Err(error) => errors.push(file_error(&path, format!("cannot read the instance file: {error}"))),
            }
        }
        instances
    }

    /// Checks the file as a whole: it has to be a mapping, or empty.
    pub(super) fn check<'a>(&'a self, context: &'a Context<'a>) {
        check(context, &self.tree);
        if !self.is_usable() {
            let at = Cursor { context, node: &self.tree, key: None };
            let error = at.error(format!("an instance file is a mapping, this is {}", self.tree.kind()));
            at.report(error.label("expected a key such as `connector`"));
        }
    }

    fn is_usable(&self) -> bool {
        matches!(self.tree.value, Value::Map(_) | Value::Null)
    }

    /// `backends: { <name>: <the file> }`, with the name that `config` has for the backend.
    fn as_config(&self, config: &Node) -> Node {
        let node = |value| Node { source: self.tree.source, id: self.tree.id, value };
        let key = |name: &str| node(Value::String(name.to_owned()));
        let backends = Value::Map(vec![(key(&name_in(config, &self.backend)), self.tree.clone())]);
        node(Value::Map(vec![(key("backends"), node(backends))]))
    }
}

/// The files with the backend that each is for. A folder that is not there has none, and neither has a file in its way.
fn list(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // What starts with a dot is an editor's.
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        if let Some(name) = name.and_then(|name| name.strip_suffix(".yaml")) {
            // The default instance of a backend is the backend.
            let backend = name.strip_suffix(".default").unwrap_or(name).to_owned();
            files.push((path, backend));
        }
    }
    files.sort();
    Ok(files)
}

/// The tree of the configuration with the instance files laid over it; `None` if there are none, or it is not fit for that.
pub(super) fn merged(tree: &Node, instances: &[Instance]) -> Option<Node> {
    if instances.is_empty() {
        return None;
    }
    let fits = |node: &Node| matches!(node.value, Value::Map(_) | Value::Null);
    let is_wrong = |(key, value): &(&Node, &Node)| key.as_str() == Some("backends") && !fits(value);
    if !fits(tree) || entries(tree).iter().any(is_wrong) {
        return None;
    }
    let usable = instances.iter().filter(|instance| instance.is_usable());
    Some(usable.fold(tree.clone(), |merged, instance| merge(&merged, &instance.as_config(&merged))))
}

/// The name under which a configuration has the backend that a file calls `name`: that very name, or else that of the
/// only backend that is the same provider, by another of its names or by the type of a login, of which a machine has one.
fn name_in(config: &Node, name: &str) -> String {
    let backends = find(config, "backends").map(entries).unwrap_or_default();
    let is_there = backends.iter().any(|(key, _)| key.as_str() == Some(name));
    let Some(preset) = presets::find(name).filter(|_| !is_there) else { return name.to_owned() };
    let is_preset = |name: &str| preset.names().any(|known| known == name);
    let mut same = backends.iter().filter_map(|(key, backend)| {
        let key = key.as_str()?;
        let kind = find(backend, "type").or_else(|| find(backend, "connector"));
        let kind = kind.map_or(Some(key), Node::as_str)?;
        let is_same = is_preset(kind)
            && (is_preset(key) || preset.login.is_some())
            && !is_any_server(kind, find(backend, "base_url").is_some());
        is_same.then_some(key)
    });
    match (same.next(), same.next()) {
        (Some(only), None) => only.to_owned(),
        _ => name.to_owned(),
    }
}

/// What a mapping has under this key, if anything.
fn find<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    entries(node)
        .into_iter()
        .find(|(known, value)| known.as_str() == Some(key) && !value.is_null())
        .map(|(_, node)| node)
}

/// Mappings merge; anything else replaces what was there, but for nothing, which counts as left out.
fn merge(base: &Node, over: &Node) -> Node {
    match (&base.value, &over.value) {
        (_, Value::Null) => return base.clone(),
        (Value::Map(_), Value::Map(_)) => {}
        _ => return over.clone(),
    }
    let mut merged: Vec<_> = entries(base).into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in entries(over) {
        match merged.iter_mut().find(|(known, _)| known.as_str() == key.as_str()) {
            Some((known, below)) => {
                let node = merge(below, value);
                if node.source != below.source {
                    // The key goes with the value that it stands for.
                    *known = key.clone();
                }
                *below = node;
            }
            None => merged.push((key.clone(), value.clone())),
        }
    }
    Node { source: base.source, id: base.id, value: Value::Map(merged) }
}

/// The entries of a mapping, with those in it that `<<` stands for.
fn entries(node: &Node) -> Vec<(&Node, &Node)> {
    let Value::Map(own) = &node.value else { return Vec::new() };
    let own = own.iter().map(|(key, value)| (key, value));
    let (merges, mut entries): (Vec<_>, Vec<_>) = own.partition(|(key, _)| key.as_str() == Some("<<"));
    for (key, merged) in merges {
        let items = match &merged.value {
            Value::Seq(items) => &items[..],
            _ => std::slice::from_ref(merged),
        };
        for item in items {
            if !matches!(item.value, Value::Map(_)) {
                // Whoever reads the mapping has to see that this is wrong.
                entries.push((key, item));
                continue;
            }
            for entry in self::entries(item) {
                if !entries.iter().any(|(known, _)| known.as_str() == entry.0.as_str()) {
                    entries.push(entry);
                }
            }
        }
    }
    entries
}
