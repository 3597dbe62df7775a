use proptest::prelude::*;
use serde_json::json;

use super::*;

fn choice(text: &str) -> Choice<'_> {
    match Selector::parse(text) {
        Ok(Selector::Choice(choice)) => choice,
        other => panic!("{text}: {other:?}"),
    }
}

fn targets<'a>(choice: &Choice<'a>) -> Vec<&'a str> {
    choice.leaves.iter().map(|leaf| leaf.target).collect()
}

#[test]
fn a_leaf_is_a_target_and_its_parameters() {
    let leaf = &choice(" qwen-oauth:qwen3-coder-plus?temperature=0.7&max_tokens=64&reasoning_effort=low ").leaves[0];
    assert_eq!((leaf.target, leaf.weight, leaf.at), ("qwen-oauth:qwen3-coder-plus", 1, 1));
    let parameters: Vec<_> =
        leaf.parameters.iter().map(|parameter| (parameter.name, parameter.value.clone())).collect();
    assert_eq!(
        parameters,
        [("temperature", json!(0.7)), ("max_tokens", json!(64)), ("reasoning_effort", json!("low"))]
    );
    assert_eq!(choice("m?temp%65rature=%30%2E5").leaves[0].parameters[0].value, json!(0.5));
    assert_eq!(choice("m?temperature=1&seed=-9").leaves[0].parameters[0].value, json!(1));
    assert_eq!(choice("m?top_p=1e-1").leaves[0].parameters[0].value, json!(0.1));
}

#[test]
fn what_stands_before_the_colon_may_be_a_backend() {
    let split = |target| Leaf::plain(target).split();
    assert_eq!(split("groq:llama"), Some(("groq", "llama")));
    assert_eq!(split("openai.work:ft:gpt-4o:x"), Some(("openai.work", "ft:gpt-4o:x")));
    assert_eq!(split("groq:meta/llama"), Some(("groq", "meta/llama")));
    assert_eq!(split("anthropic/claude-3-haiku:beta"), None);
    assert_eq!(split("gpt-4o"), None);
}

#[test]
fn choices_and_hybrids() {
    let ordered = choice("a | b:c?seed=1|d[1m]");
    assert_eq!((targets(&ordered), ordered.is_weighted), (vec!["a", "b:c", "d[1m]"], false));
    let weighted = choice("[weight=3]a^b^[weight=1] c?seed=1");
    assert_eq!((targets(&weighted), weighted.is_weighted), (vec!["a", "b", "c"], true));
    assert_eq!(weighted.leaves.iter().map(|leaf| leaf.weight).collect::<Vec<_>>(), [3, 1, 1]);
    assert!(choice("[weight=3]a").is_weighted);

    let hybrid = Selector::parse("hybrid:[a:m?temperature=0.9|z, b:n[x,y]?temperature=0.1]").expect("a hybrid");
    let Selector::Hybrid { reasoning, execution } = &hybrid else { panic!("{hybrid:?}") };
    assert_eq!((targets(reasoning), targets(execution)), (vec!["a:m", "z"], vec!["b:n[x,y]"]));
    assert_eq!(execution.leaves[0].parameters[0].value, json!(0.1));
    assert_eq!(hybrid.to_string(), "hybrid:[a:m?temperature=0.9|z,b:n[x,y]?temperature=0.1]");
}

#[test]
fn a_weighted_choice_follows_its_weights() {
    let choice = choice("[weight=6]a^[weight=3]b^c");
    let mut random = fastrand::Rng::with_seed(7);
    let mut first = std::collections::HashMap::new();
    for _ in 0..10_000 {
        let order = choice.in_order(|| random.fork());
        assert_eq!(order.len(), 3);
        *first.entry(order[0].target).or_insert(0) += 1;
    }
    // The seed makes these exact; six, three and one in ten are what they are near to.
    for (target, expected) in [("a", 6000), ("b", 3000), ("c", 1000)] {
        let drawn = first[target];
        assert!((expected - 150..expected + 150).contains(&drawn), "{target}: {drawn}");
    }
}

/// Text that is near to a selector.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "hybrid:[",
        "[weight=2]",
        "[weight=",
        "a",
        "groq:",
        "m",
        "é",
        "|",
        "^",
        "?",
        "&",
        "=",
        "seed=1",
        "temperature=0.5",
        "top_k",
        "%",
        "%zz",
        "%ff",
        "+",
        "[",
        "]",
        ",",
        " ",
        "/",
        "\u{0}",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_place_is_never_within_a_character() {
    // A next line and a no-break space: blanks of more than one byte.
    for (text, place) in [("a^\u{85}", 2..4), ("a|\u{a0}|b", 4..5), ("\u{2003}", 3..3), ("a|", 2..2)] {
        let error = Selector::parse(text).expect_err("there is no model");
        assert!(text.get(error.span()).is_some(), "{:?} in {text:?}", error.span());
        assert_eq!(error.span(), place, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_every_error_has_its_place(text in prop_oneof![text(), any::<String>()]) {
        match Selector::parse(&text) {
            Ok(selector) => {
                let written = selector.to_string();
                let again = Selector::parse(&written).expect("what is written can be read");
                prop_assert_eq!(again.to_string(), written);
            }
            Err(error) => {
                let span = error.span();
                prop_assert!(span.start <= span.end && span.end <= text.len(), "{span:?} in {text:?}");
                prop_assert!(text.get(span.clone()).is_some(), "{span:?} in {text:?}");
            }
        }
    }

    #[test]
    fn every_order_has_every_leaf_once(seed in any::<u64>(), weights in prop::collection::vec(1_u32.., 1..9)) {
        let text = weights.iter().enumerate().map(|(n, weight)| format!("[weight={weight}]m{n}")).collect::<Vec<_>>().join("^");
        let choice = choice(&text);
        let mut order = targets(&Choice {
            leaves: choice.in_order(|| fastrand::Rng::with_seed(seed)).into_iter().cloned().collect(),
            is_weighted: true,
        });
        order.sort_unstable();
        prop_assert_eq!(order, (0..weights.len()).map(|n| format!("m{n}")).collect::<Vec<_>>());
    }
}
