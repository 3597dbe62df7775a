//! `${VAR}`, `${VAR:-default}` and `${file:/path}` in the strings of a configuration.

use std::{
    borrow::Cow,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

/// Where a configuration gets its variables and files from.
///
/// [`ProcessEnvironment`] is the real one. A closure is one too: it answers for variables, and files are read as usual.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a file, for `${file:/path}`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// The variables of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        match std::env::var(name) {
            // Not every system sets it.
            Err(_) if name == "HOME" => std::env::home_dir()?.into_os_string().into_string().ok(),
            value => value.ok(),
        }
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// A reference that leads nowhere.
pub(super) struct Dangling {
    /// The reference's bytes in the string.
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Puts in what the references of `text` stand for; `$${` is a `${` that is none.
///
/// References named in `keep` stay as they are. Relative files are looked for in `folder`.
pub(super) fn interpolate<'a>(
    text: &'a str,
    environment: &dyn Environment,
    folder: &Path,
    keep: &[&str],
) -> Result<Cow<'a, str>, Dangling> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(open) = text[at..].find("${").map(|open| open + at) {
        if text[at..open].ends_with('$') {
            result.push_str(&text[at..open - 1]);
            result.push_str("${");
            at = open + 2;
            continue;
        }
        result.push_str(&text[at..open]);
        let Some(close) = text[open..].find('}').map(|close| close + open) else {
            return Err(Dangling {
                span: open..text.len(),
                message: "a reference that is not closed".into(),
                help: Some("close it with `}`, or write `$${` for a plain `${`".into()),
            });
        };
        let reference = &text[open + 2..close];
        let dangling = |message, help| Dangling { span: open..close + 1, message, help };
        if keep.contains(&reference) {
            result.push_str(&text[open..=close]);
        } else if let Some(path) = reference.strip_prefix("file:") {
            let path = expand_home(path, environment, folder);
            let content = environment
                .read(&path)
                .map_err(|error| dangling(format!("cannot read the file `{}`: {error}", path.display()), None))?;
            result.push_str(content.trim_end_matches(['\r', '\n']));
        } else {
            let (name, default) = match reference.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (reference, None),
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(dangling(
                    "this is not a reference to a variable".into(),
                    Some("write `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a plain `${`".into()),
                ));
            }
            // As in a shell, `:-` stands in for an empty variable too.
            let value = environment.variable(name).filter(|value| default.is_none() || !value.is_empty());
            match value.as_deref().or(default) {
                Some(value) => result.push_str(value),
                None => {
                    let help = format!("set it, or give a default: `${{{name}:-...}}`");
                    return Err(dangling(format!("the environment variable `{name}` is not set"), Some(help)));
                }
            }
        }
        at = close + 1;
    }
    result.push_str(&text[at..]);
    Ok(Cow::Owned(result))
}

/// A path with `~` for the home directory, relative to `folder`.
pub(super) fn expand_home(path: &str, environment: &dyn Environment, folder: &Path) -> PathBuf {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match environment.variable("HOME") {
            Some(home) => PathBuf::from(home + rest),
            None => folder.join(path),
        },
        _ => folder.join(path),
    }
}
