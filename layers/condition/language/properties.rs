#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;
use serde_json::json;

use super::{tests::parse, *};

/// A condition as a tree, to be compared with.
#[derive(Clone, Debug)]
enum Model {
    Test(String),
    Not(Box<Model>),
    Join(&'static str, Vec<Model>),
}

impl Model {
    /// Every operator in parentheses, as deep as it is nested.
    fn write(&self) -> String {
        match self {
            Self::Test(test) => test.clone(),
            Self::Not(inner) => format!("not ({})", inner.write()),
            Self::Join(word, operands) => {
                let operands: Vec<String> = operands.iter().map(|operand| format!("({})", operand.write())).collect();
                operands.join(&format!(" {word} "))
            }
        }
    }

    /// By recursion over the tree; `None` if the quota is needed and not there, or of a wrong type.
    fn evaluate(&self, quota: Option<&Value>, error_count: u64) -> Option<bool> {
        match self {
            Self::Test(test) if quota.is_none() && (test.contains("quota") || test.contains("balance")) => None,
            Self::Test(test) => parse(test).evaluate(quota.unwrap_or(&Value::Null), error_count).ok(),
            Self::Not(inner) => inner.evaluate(quota, error_count).map(|holds| !holds),
            Self::Join(word, operands) => {
                for operand in operands {
                    let holds = operand.evaluate(quota, error_count)?;
                    if holds == (*word == "or") {
                        return Some(holds);
                    }
                }
                Some(*word == "and")
            }
        }
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("error_count".to_owned()),
        Just("balance".to_owned()),
        "quota(\\.[a-c]|\\[[0-2]\\]|\\[\"[a.\u{e9}]{0,2}\"\\]){1,3}",
        "-?[0-3](\\.[05]{1,2})?",
    ]
}

fn model() -> impl Strategy<Value = Model> {
    let test = (value(), prop::option::of((prop::sample::select(vec![">", "<", ">=", "<=", "==", "!="]), value())));
    let leaf = test.prop_map(|(left, right)| {
        Model::Test(right.map_or(left.clone(), |(comparison, right)| format!("{left} {comparison} {right}")))
    });
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|inner| Model::Not(Box::new(inner))),
            3 => (prop::sample::select(vec!["and", "or"]), prop::collection::vec(inner, 2..4))
                .prop_map(|(word, operands)| Model::Join(word, operands)),
        ]
    })
}

fn quota() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([1, {"a": 2}, [3]])),
        Just(json!({"a": 1, "b": {"a": 2, "b": null}, "c": [0, 1, {"a": true}], "balance": 0.5})),
        Just(json!({"a": "2", "b": "x", "c": {}, "balance": "1e0"})),
    ]
}

/// Pieces that an expression could be made of, so that random ones get past the first token.
fn tokens() -> impl Strategy<Value = String> {
    let pieces = vec![
        "balance",
        "quota",
        ".a",
        "[0]",
        "[\"k\"]",
        "['",
        "\"",
        "error_count",
        "1",
        "-2.5",
        "0",
        "and",
        "or",
        "not",
        "(",
        ")",
        ">",
        "<=",
        "==",
        "=",
        "!",
        " ",
        " ",
        " ",
        "\n",
        "é",
        "AND",
        "-",
        ".",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn steps_come_to_what_the_tree_does(model in model(), quota in quota(), error_count in 0..4_u64) {
        let condition = parse(&model.write());
        prop_assert_eq!(condition.evaluate(&quota, error_count).ok(), model.evaluate(Some(&quota), error_count));
        let explanation = condition.explain(&quota, error_count);
        prop_assert_eq!(explanation.outcome().ok(), model.evaluate(Some(&quota), error_count));
        let root = match explanation.outcome() {
            Ok(holds) => PartOutcome::Holds(holds),
            Err(_) => PartOutcome::Failed,
        };
        prop_assert_eq!(explanation.parts()[0].outcome, root);
    }

    #[test]
    fn no_quota_is_read_that_does_not_matter(model in model(), quota in quota(), error_count in 0..4_u64) {
        let condition = parse(&model.write());
        let lazily = condition.evaluate_lazily(None, error_count).unwrap();
        prop_assert_eq!(lazily, model.evaluate(None, error_count));
        if let Some(decided) = lazily {
            prop_assert_eq!(condition.evaluate(&quota, error_count), Ok(decided));
        }
    }

    #[test]
    fn the_spelling_parses_back(model in model()) {
        let condition = parse(&model.write());
        let spelling = condition.to_string();
        prop_assert_eq!(&parse(&spelling), &condition);
        prop_assert_eq!(parse(&spelling).to_string(), spelling);
    }

    #[test]
    fn no_text_panics(source in prop_oneof![any::<String>(), tokens(), "[ -~\u{e9}]{0,30}"], quota in quota()) {
        match source.parse::<Condition>() {
            Ok(condition) => {
                prop_assert_eq!(&parse(&condition.to_string()), &condition);
                let _ = (condition.explain(&quota, 1).to_string(), condition.holds_for_missing_quota());
            }
            Err(error) => {
                let span = error.span();
                prop_assert!(source.get(span).is_some(), "{:?}", error);
                let _ = (error.render(), error.to_string());
            }
        }
    }

    #[test]
    fn a_mistake_in_a_condition_panics_nowhere(model in model(), at in any::<prop::sample::Index>(), with in ".{0,2}") {
        let mut source = model.write();
        let at = source.floor_char_boundary(at.index(source.len() + 1));
        source.insert_str(at, &with);
        if let Err(error) = source.parse::<Condition>() {
            prop_assert!(source.get(error.span()).is_some(), "{:?}", error);
            let _ = error.render();
        }
    }
}
