use std::fmt;

use regex::Regex;

use super::{decode::Cursor, fields::Fields};
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

    /// Reads an entry of `model_aliases`.
    pub(super) fn decode(at: Cursor<'_>) -> Option<Self> {
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
            let text = at.template(&["1", "2", "3", "4", "5", "6", "7", "8", "9"])?.into_owned();
            match &pattern {
                Some(pattern) => check_replacement(at, &text, pattern).then_some(text),
                None => Some(text),
            }
        });
        fields.finish();
        Some(Self { pattern: pattern?, replacement: replacement? })
    }
}

/// The last line of what the library says, which is the reason.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next_back().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Whether the replacement refers to groups that there are, and is a model string with something in their place.
fn check_replacement(at: Cursor<'_>, text: &str, pattern: &Regex) -> bool {
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
            at.report(match digits {
                0 => error.label(format!("it has {}", pattern.captures_len() - 1)),
                _ => error.help(format!("write `${{{}}}{}`", &group[..digits], &group[digits..])),
            });
            return false;
        }
        filled.push('x');
        rest = behind;
    }
    filled.push_str(rest);
    if let Err(error) = Selector::parse(&filled) {
        at.report(at.error(format!("this does not become a model string: {}", error.message())));
        return false;
    }
    true
}

impl fmt::Debug for ModelAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} -> {:?}", self.pattern.as_str(), self.replacement)
    }
}
