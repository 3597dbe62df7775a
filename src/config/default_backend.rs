//! `default_backend`: one backend, or a selector of several.

use std::collections::HashSet;

use super::{decode::Cursor, resolve::Backends};
use crate::selector::{Leaf, Selector, SelectorError};

/// Puts the name that `resolve` gives in the place of each backend's in a selector of backends.
///
/// # Errors
///
/// What is wrong with the selector. `None` where `resolve` found no backend, and said so.
pub(super) fn resolved(
    text: &str,
    mut resolve: impl FnMut(&str) -> Option<String>,
) -> Result<Option<String>, SelectorError> {
    let Selector::Choice(mut choice) = Selector::parse(text)? else {
        return Err(SelectorError::new(text, 0..text.len(), "a hybrid cannot be the default backend"));
    };
    let targets: Option<Vec<String>> = choice.leaves.iter().map(|leaf| target(leaf, &mut resolve)).collect();
    let Some(targets) = targets else { return Ok(None) };
    for (leaf, target) in choice.leaves.iter_mut().zip(&targets) {
        leaf.target = target;
    }
    Ok(Some(choice.to_string()))
}

/// `backend`, or `backend:model` for one that is to answer with that model whatever is asked for.
fn target(leaf: &Leaf<'_>, resolve: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
    match leaf.split() {
        Some((backend, model)) => Some(format!("{}:{model}", resolve(backend)?)),
        None => resolve(leaf.target),
    }
}

/// Reads the key.
pub(super) fn decode(at: Cursor<'_>, backends: &mut Backends, routes: &HashSet<&str>) -> Option<String> {
    let text = at.name()?;
    resolved(&text, |name| backends.resolve(at, name, routes)).unwrap_or_else(|error| {
        at.fail(at.error(format!("this is not a selector of backends: {}", error.message())).within(error.span()))
    })
}
