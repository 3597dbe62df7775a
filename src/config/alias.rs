use std::fmt;

use regex::Regex;

use super::{decode::Cursor, fields::Fields, resolve::Backends};
use crate::selector::Selector;

/// Another spelling of a model string.
#[derive(Clone)]
pub struct ModelAlias {
    /// Anchored at the start.
    pattern: Regex,
    replacement: String,
}

impl ModelAlias {
    /// The model string that is meant, if the pattern fits the start of `model`. What stands behind the part that fits
    /// is kept.
    ///
    /// ```
    /// use pointsman::Config;
    ///
    /// let loaded = Config::from_yaml("
    /// model_aliases:
    ///   - { pattern: '^gpt-(4o|5)', replacement: 'openrouter:openai/gpt-$1' }
    /// ")?;
    /// let alias = &loaded.config.model_aliases[0];
    /// assert_eq!(alias.replace("gpt-4o-mini").as_deref(), Some("openrouter:openai/gpt-4o-mini"));
    /// assert_eq!(alias.replace("my-gpt-4o"), None);
    /// # Ok::<(), pointsman::config::Diagnostics>(())
    /// ```
    pub fn replace(&self, model: &str) -> Option<String> {
        let captures = self.pattern.captures(model)?;
        let mut replaced = String::new();
        captures.expand(&self.replacement, &mut replaced);
        replaced.push_str(&model[captures.get_match().end()..]);
        Some(replaced)
    }

    /// Reads an entry of `model_aliases`. A preset that the replacement names becomes a backend, as in a route.
    pub(super) fn decode(at: Cursor<'_>, backends: &mut Backends) -> Option<Self> {
        let mut fields = Fields::of(at)?;
        let pattern = fields.required("pattern", |at| {
            let text = at.name()?;
            // As the user wrote it, so that the message shows that.
            if let Err(error) = Regex::new(&text) {
                return at.fail(at.error(format!("this is not a regular expression: {}", reason(&error))));
            }
            Regex::new(&format!("^(?:{text})"))
                .map_err(|error| at.report(at.error(format!("this pattern cannot be used: {}", reason(&error)))))
                .ok()
        });
        let replacement = fields.required("replacement", |at| {
            let Some(pattern) = &pattern else { return at.string() };
            // `${1}` is a group here, not a variable of the environment.
            let groups: Vec<_> = (0..pattern.captures_len()).map(|number| number.to_string()).collect();
            let groups: Vec<_> = groups.iter().map(String::as_str).chain(pattern.capture_names().flatten()).collect();
            let text = at.template(&groups)?.into_owned();
            let filled = fill(at, &text, pattern)?;
            check(at, filled, backends).then_some(text)
        });
        fields.finish();
        Some(Self { pattern: pattern?, replacement: replacement? })
    }
}

/// Stands for what a group takes in: a character that has no meaning in a model string.
const FILLING: char = '\u{fffc}';

/// The last line of what the library says, which is the reason.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next_back().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// The replacement with something in the place of each group, which the pattern has to have.
fn fill(at: Cursor<'_>, text: &str, pattern: &Regex) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        filled.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            filled.push('$');
            rest = behind;
            continue;
        }
        let (group, behind) = match rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some(braced) => braced,
            None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        let is_known = match group.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|name| name == group),
        };
        if !is_known {
            let error = at.error(format!("the pattern has no group `{group}`"));
            let digits = group.find(|c: char| !c.is_ascii_digit()).unwrap_or_default();
            return at.fail(match digits {
                0 => error.label(format!("it has {}", pattern.captures_len() - 1)),
                _ => error.help(format!("write `${{{}}}{}`", &group[..digits], &group[digits..])),
            });
        }
        filled.push(FILLING);
        rest = behind;
    }
    filled.push_str(rest);
    Some(filled)
}

/// Whether the replacement is a model string, as far as that can be known before its groups are.
fn check(at: Cursor<'_>, mut filled: String, backends: &mut Backends) -> bool {
    loop {
        let error = match Selector::parse(&filled) {
            Ok(selector) => {
                let names = selector.leaves().filter_map(|leaf| Some(leaf.split()?.0));
                for name in names {
                    backends.resolve_if_known(at, name);
                }
                return true;
            }
            Err(error) => error,
        };
        let span = error.span();
        if !error.is_parameter() || !filled[span.clone()].contains(FILLING) {
            at.report(at.error(format!("this does not become a model string: {}", error.message())));
            return false;
        }
        // A group may hold anything, a good parameter too. It goes with the separator on one side of it.
        match filled[span.end..].starts_with('&') {
            true => filled.replace_range(span.start..span.end + 1, ""),
            false => filled.replace_range(span.start - 1..span.end, ""),
        }
    }
}

impl fmt::Debug for ModelAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} -> {:?}", self.pattern.as_str(), self.replacement)
    }
}
