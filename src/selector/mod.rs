//! Model strings: what a client may say in the `model` field, beyond a name.
//!
//! ```text
//! selector = hybrid | choice
//! hybrid   = "hybrid:[" choice "," choice "]"             the model that thinks, the model that answers
//! choice   = leaf { "|" leaf }                            in this order, until one works
//!          | weighted { "^" weighted }                    in an order that is drawn by weight
//! weighted = [ "[weight=" n "]" ] leaf
//! leaf     = target [ "?" name "=" value { "&" name "=" value } ]
//! ```
//!
//! A target is a route, a model, or `backend:model`; which of them it is depends on what is configured, so a parsed
//! selector leaves it as it is written. Parameters are percent-decoded like the query of a URL, and checked against the
//! table in [`Parameter`]. White space around a leaf does not count.
//!
//! ```
//! use pointsman::selector::Selector;
//!
//! let Selector::Choice(choice) = Selector::parse("groq:llama-3.3-70b?temperature=0.2|my-gpt4")? else { unreachable!() };
//! assert_eq!(choice.leaves[0].target, "groq:llama-3.3-70b");
//! assert_eq!(choice.leaves[0].parameters[0].value, 0.2);
//! assert_eq!(choice.leaves[1].target, "my-gpt4");
//!
//! let error = Selector::parse("fast?temperature=3").unwrap_err();
//! assert_eq!(error.to_string(), "`temperature=3`: expected a number from 0 to 2 (character 6 of the model)");
//! # Ok::<(), pointsman::selector::SelectorError>(())
//! ```

mod error;
mod parameter;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::{error::SelectorError, parameter::Parameter};

/// A parsed model string.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector<'a> {
    /// One model, or several of which the first that works answers.
    Choice(Choice<'a>),
    /// A model that thinks and one that answers.
    Hybrid {
        /// Who thinks.
        reasoning: Choice<'a>,
        /// Who answers.
        execution: Choice<'a>,
    },
}

/// Leaves of which the first that works answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<'a> {
    /// The leaves, as they are written; at least one.
    pub leaves: Vec<Leaf<'a>>,
    /// Whether their order is drawn by weight.
    pub is_weighted: bool,
}

/// One model of a selector, and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf<'a> {
    /// The selector that it is a part of.
    pub text: &'a str,
    /// A route, a model, or `backend:model`.
    pub target: &'a str,
    /// The parameters, each name once.
    pub parameters: Vec<Parameter>,
    /// How often it comes first, beside the other weights; 1 unless it is given.
    pub weight: u32,
    /// Where the target starts in the selector, in bytes.
    pub at: usize,
}

impl<'a> Selector<'a> {
    /// How many bytes a selector may have.
    pub(crate) const LONGEST: usize = parse::LONGEST;

    /// Reads a model string.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where. A selector has at most 1024 bytes and 8 leaves.
    pub fn parse(text: &'a str) -> Result<Self, SelectorError> {
        parse::selector(text)
    }

    /// Every leaf, as they are written.
    pub fn leaves(&self) -> impl Iterator<Item = &Leaf<'a>> {
        let (first, second) = match self {
            Self::Choice(choice) => (choice, None),
            Self::Hybrid { reasoning, execution } => (reasoning, Some(execution)),
        };
        first.leaves.iter().chain(second.into_iter().flat_map(|choice| &choice.leaves))
    }
}

impl<'a> Leaf<'a> {
    /// A name by itself.
    pub(crate) fn plain(name: &'a str) -> Self {
        Self { text: name, target: name, parameters: Vec::new(), weight: 1, at: 0 }
    }

    /// An error at the target.
    pub(crate) fn error(&self, message: impl Into<String>) -> SelectorError {
        SelectorError::new(self.text, self.at..self.at + self.target.len(), message)
    }

    /// The part before the first `:` and the one behind it, if that stands before the first `/`. Whether the first is a
    /// backend depends on what is configured: `llama3:8b` is a model.
    pub fn split(&self) -> Option<(&'a str, &'a str)> {
        let (backend, model) = self.target.split_once(':')?;
        (!backend.contains('/')).then_some((backend, model))
    }
}

impl Choice<'_> {
    /// The leaves in the order in which they are to be asked: as written, or drawn by weight.
    ///
    /// The first of a weighted choice is each leaf as often as its weight says; the others follow, drawn from what is
    /// left, and take over should it fail. Only such a choice asks for a random generator.
    pub(crate) fn in_order(&self, random: impl FnOnce() -> fastrand::Rng) -> Vec<&Leaf<'_>> {
        let mut left: Vec<_> = self.leaves.iter().collect();
        if !self.is_weighted {
            return left;
        }
        let mut random = random();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let sum: u64 = left.iter().map(|leaf| u64::from(leaf.weight)).sum();
            let mut point = random.u64(0..sum);
            let drawn = left.iter().position(|leaf| {
                let weight = u64::from(leaf.weight);
                let is_here = point < weight;
                point = point.saturating_sub(weight);
                is_here
            });
            order.push(left.remove(drawn.expect("the point lies below the sum of the weights, none of which is 0")));
        }
        order
    }
}

impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(choice) => choice.fmt(f),
            Self::Hybrid { reasoning, execution } => write!(f, "hybrid:[{reasoning},{execution}]"),
        }
    }
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, leaf) in self.leaves.iter().enumerate() {
            match (index, self.is_weighted) {
                (0, _) => {}
                (_, true) => f.write_str("^")?,
                (_, false) => f.write_str("|")?,
            }
            if self.is_weighted {
                write!(f, "[weight={}]", leaf.weight)?;
            }
            leaf.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.target)?;
        for (index, parameter) in self.parameters.iter().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}
