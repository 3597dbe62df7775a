#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;

use serde_json::json;

use super::*;

pub(super) fn parse(source: &str) -> Condition {
    source.parse().unwrap_or_else(|error: ParseError| panic!("{source:?}\n{}", error.render()))
}

fn error(source: &str) -> ParseError {
    match source.parse::<Condition>() {
        Ok(condition) => panic!("{source:?} is {condition}"),
        Err(error) => error,
    }
}

#[test]
fn every_case_holds() {
    let cases = include_str!("../testdata/cases.jsonl");
    let mut failures = String::new();
    for (line, case) in cases.lines().enumerate() {
        let case: Value = serde_json::from_str(case).unwrap();
        let (expr, quota) = (case["expr"].as_str().unwrap(), &case["quota"]);
        let error_count = case["error_count"].as_u64().unwrap();
        let found = match expr.parse::<Condition>() {
            Err(_) => json!("reject"),
            Ok(condition) => condition.evaluate(quota, error_count).map_or(json!("reject"), Value::from),
        };
        if found != case["expect"] {
            writeln!(failures, "line {}: {expr:?} is {found}, not {}: quota {quota}", line + 1, case["expect"])
                .unwrap();
        }
    }
    assert_eq!(cases.lines().count(), 1207);
    // The only expression of the cases whose brackets are right by the grammar.
    assert_eq!(
        failures.lines().collect::<Vec<_>>(),
        [r#"line 522: "quota.buckets[0].remaining > 0" is true, not "reject": quota {"buckets":[{"remaining":5}]}"#]
    );
}

#[test]
fn a_bracket_reaches_what_a_dot_cannot() {
    let quota = json!({"models": {"gpt-4.1": {"left": 5}, "a \"b\"": 6}, "list": [7, {"x": 8}]});
    for (source, holds) in [
        (r#"quota.models["gpt-4.1"].left == 5"#, true),
        ("quota.models['gpt-4.1'].left == 5", true),
        (r#"quota["models"]["a \"b\""] == 6"#, true),
        (r#"quota.models['a "b"'] == 6"#, true),
        ("quota.list[0] == 7", true),
        ("quota.list[1].x == 8", true),
        ("quota.list[2].x == 0", true),
        ("quota.list[2]", false),
    ] {
        assert_eq!(parse(source).evaluate(&quota, 0), Ok(holds), "{source}");
    }
    assert_eq!(parse("quota[1].left > 2").evaluate(&json!([{}, {"left": 3}]), 0), Ok(true));
    for (source, message) in [
        ("quota.models[0]", "quota.models is an object, not a list"),
        ("quota.list.x", "quota.list is a list, not an object"),
        ("quota.list[0].x", "quota.list[0] is a number, not an object"),
        (r#"quota.models["gpt-4.1"]"#, r#"quota.models["gpt-4.1"] is an object, not a number"#),
    ] {
        assert_eq!(parse(source).evaluate(&quota, 0).unwrap_err().to_string(), message);
    }
}

#[test]
fn an_error_names_the_path_but_not_the_value() {
    let quota = json!({"plan": "sk-secret", "balance": "x", "a": {"b": true}});
    for (source, message) in [
        ("quota.plan > 0", "quota.plan is a string, not a number"),
        ("balance > 0", "balance is a string, not a number"),
        ("get_quota.balance > 0", "quota.balance is a string, not a number"),
        ("quota.a.b.c > 0", "quota.a.b is a boolean, not an object"),
    ] {
        let error = parse(source).evaluate(&quota, 0).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!format!("{error:?}").contains("secret"));
    }
}

#[test]
fn the_canonical_spelling_has_no_needless_parentheses() {
    for (source, canonical) in [
        ("", "1"),
        ("get_quota.balance>0", "quota.balance > 0"),
        ("balance>0", "balance > 0"),
        (r#"quota["balance"] > 007.50"#, "quota.balance > 7.5"),
        ("quota.m['gpt-4.1'][0]", r#"quota.m["gpt-4.1"][0]"#),
        ("((1) or ((2) or 3)) or 4", "1 or 2 or 3 or 4"),
        ("(1 or 2) and 3 or 4 and (5 or 6 and 7)", "(1 or 2) and 3 or 4 and (5 or 6 and 7)"),
        ("1 and (2 and 3)", "1 and 2 and 3"),
        ("not not not balance", "not balance"),
        ("not (not (balance > 1 or 0))", "balance > 1 or 0"),
        ("not (1 or not 2)", "not (1 or not 2)"),
        ("not (1 and 2) or not (3 > 4)", "not (1 and 2) or not 3 > 4"),
    ] {
        assert_eq!(parse(source).to_string(), canonical, "{source}");
        assert_eq!(parse(canonical), parse(source), "{source}");
    }
    // Two groups that end at the same place, before an operator of the inner one's kind.
    assert_eq!(parse("1 and (2 or 3) or 4").to_string(), "1 and (2 or 3) or 4");
    assert_eq!(parse("(1 or 2 and (3 or 4)) or 5").to_string(), "1 or 2 and (3 or 4) or 5");
    assert_ne!(parse("1 or 2 and 3"), parse("(1 or 2) and 3"));
    assert_ne!(parse("not (1 or 2)"), parse("not 1 or 2"));
    assert_eq!(parse("balance > 0"), parse("quota.balance > 0"));
    assert_eq!(Condition::default(), Condition::always());
    assert_eq!(parse(" \n"), Condition::always());
    assert_eq!(parse("0"), Condition::never());
    assert_eq!(format!("{:?}", parse("(balance>0)")), "Condition(balance > 0)");
}

#[test]
fn an_error_says_what_to_write_instead() {
    for (source, span, message, suggestion) in [
        ("balance > 0 && 1", "&&", "`&&` is not an operator", Some("write `and`")),
        ("balance > 0 || 1", "||", "`||` is not an operator", Some("write `or`")),
        ("!balance", "!", "`!` is not an operator", Some("write `not`")),
        ("balance = 0", "=", "`=` is not an operator", Some("write `==`")),
        ("balance === 0", "===", "`===` is not an operator", Some("write `==`")),
        ("balance => 0", "=>", "`=>` is not an operator", Some("write `>=`")),
        ("balance > = 0", "> =", "an operator has no space in it", Some("write `>=`")),
        ("balance ≥ 0", "≥", "`≥` is not an operator", Some("write `>=`")),
        ("1 AND 1", "AND", "`AND` is not an operator", Some("write `and`")),
        ("1 Or 1", "Or", "`Or` is not an operator", Some("write `or`")),
        ("NOT 1", "NOT", "`NOT` is not an operator", Some("write `not`")),
        ("NOT(1)", "NOT", "`NOT` cannot be called: there are no functions", Some("write `not`")),
        ("error_count is 0", "is", "`is` is not an operator", Some("write `==`")),
        ("True", "True", "`True` is not a value here", Some("write `1`, or leave the condition out")),
        ("false", "false", "`false` is not a value here", Some("write `0`")),
        ("balance == None", "None", "`None` is not a value here", Some("a missing field counts as `0`")),
        ("balance > null", "null", "`null` is not a value here", Some("a missing field counts as `0`")),
        ("balanse > 0", "balanse", "unknown variable `balanse`", Some("did you mean `balance`?")),
        ("Balance > 0", "Balance", "unknown variable `Balance`", Some("did you mean `balance`?")),
        ("error-count < 3", "error-count", "unknown variable `error-count`", Some("did you mean `error_count`?")),
        ("error count < 3", "error", "unknown variable `error`", Some("did you mean `error_count`?")),
        ("order_count < 3", "order_count", "unknown variable `order_count`", Some("did you mean `error_count`?")),
        ("quot.used < 3", "quot.used", "unknown variable `quot.used`", Some("did you mean `quota.used`?")),
        (
            "credits.remaining > 0",
            "credits.remaining",
            "unknown variable `credits.remaining`",
            Some("did you mean the field `quota.credits.remaining`?"),
        ),
        ("get_quota.used", "get_quota.used", "unknown variable `get_quota.used`", Some("write `quota.used`")),
        ("quota > 0", "quota", "`quota` alone is not a number", Some("name a field: `quota.balance`")),
        ("balance.x", "balance.x", "`balance` is a number and has no fields", Some("did you mean `quota.balance.x`?")),
        ("(balance) > 1", "(balance)", "parentheses group conditions, not values", Some("write `balance > …`")),
        (
            "(balance > 1) > 1",
            "(balance > 1)",
            "parentheses group conditions, not values",
            Some("compare values, then join the comparisons with `and` or `or`"),
        ),
        ("1 > (balance)", "(", "parentheses group conditions, not values", Some("write the value without parentheses")),
        (
            "1 < 2 < 3",
            "<",
            "comparisons cannot be chained",
            Some("join two with `and`: `1 < error_count and error_count < 5`"),
        ),
        ("0or 1", "0or", "malformed number `0or`", Some("put a space before `or`")),
        (
            "balance > 0 -1",
            "-1",
            "`and` or `or` is missing before `-1`",
            Some("there is no arithmetic: compare with the result"),
        ),
        ("len(quota.x) > 0", "len", "`len` cannot be called: there are no functions", None),
        ("balance 1", "1", "`and` or `or` is missing before `1`", None),
        ("balance >", "", "a value is missing after `>`", None),
        ("> 0", ">", "a value is missing before `>`", None),
        ("1 and", "", "a condition is missing after `and`", None),
        ("or 1", "or", "a condition is missing before `or`", None),
        ("1 and (2 or", "", "a condition is missing after `or`", None),
        ("()", ")", "there is no condition between the parentheses", None),
        ("1)", ")", "this `)` closes nothing", None),
        (")", ")", "this `)` closes nothing", None),
        ("1 or (2", "(", "this `(` is never closed", None),
        ("balance == 'x'", "'", "only numbers can be compared, not text", None),
        ("balance\u{a0}> 0", "\u{a0}", "unexpected character '\\u{a0}' (U+00A0)", None),
        (
            "quota.models.openai/gpt-4o > 0",
            "/",
            "unexpected `/` in a path",
            Some("put a key with other characters in quotes: `quota.models[\"openai/gpt-4o\"]`"),
        ),
    ] {
        let error = error(source);
        assert_eq!((error.message(), error.suggestion()), (message, suggestion), "{source}");
        assert_eq!(&source[error.span()], span, "{source}");
    }
}

#[test]
fn an_error_shows_where_it_is() {
    let multi = error("balance > 0\n\tor credit < 3");
    assert_eq!(
        multi.to_string(),
        "unknown variable `credit`, at line 2, column 5; did you mean the field `quota.credit`?"
    );
    assert_eq!(
        multi.render(),
        "\
error: unknown variable `credit`
  |
2 |  or credit < 3
  |     ^^^^^^
  = help: did you mean the field `quota.credit`?
"
    );
    let end = error("balance >");
    assert_eq!(end.to_string(), "a value is missing after `>`, at column 10");
    assert_eq!(end.render(), "error: a value is missing after `>`\n  |\n1 | balance >\n  |          ^\n");

    let long = format!("{}x > 0{}", "1 or ".repeat(1000), " or 1".repeat(1000));
    let rendered = error(&long).render();
    assert!(rendered.lines().all(|line| line.chars().count() < 140), "{rendered}");
    let lines: Vec<&str> = rendered.lines().collect();
    let caret = lines[3].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[2].chars().nth(caret), Some('x'));
}

#[test]
fn the_limits_are_errors() {
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(parse(&nested(Condition::MAX_DEPTH)), Condition::always());
    let too_deep = error(&nested(Condition::MAX_DEPTH + 1));
    assert_eq!((too_deep.message(), too_deep.span()), ("more than 1024 groups in one another", 1024..1025));
    // Groups beside one another do not count.
    parse(&format!("(1){}", " or (1)".repeat(5000)));

    let longest = format!("{}1", " ".repeat(Condition::MAX_LENGTH - 1));
    assert_eq!(parse(&longest), Condition::always());
    let too_long = error(&format!(" {longest}"));
    assert_eq!(too_long.message(), "the condition is 65537 bytes long, and the limit is 65536");
}

/// Everything that walks a condition, on a thread whose stack would not hold a frame for each level.
#[test]
fn depth_does_not_cost_stack() {
    let nots = |count: usize| format!("{}balance", "not ".repeat(count));
    let deep = (0..Condition::MAX_DEPTH).fold("balance".to_owned(), |inner, depth| match depth % 3 {
        0 => format!("not ({inner} or 0)"),
        1 => format!("1 and ({inner})"),
        _ => format!("({inner}) or 0"),
    });
    let long = vec!["balance and error_count"; 2400].join(" or ");
    std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(move || {
            assert_eq!(parse(&nots(16_000)), parse("balance"));
            assert_eq!(parse(&nots(16_001)), parse("not balance"));
            for source in [deep, long] {
                let condition = parse(&source);
                assert_eq!(parse(&condition.to_string()), condition);
                let quota = json!({"balance": 1});
                let explanation = condition.explain(&quota, 0);
                assert_eq!(explanation.outcome().ok(), condition.evaluate(&quota, 0).ok());
                assert!(explanation.to_string().lines().count() > Condition::MAX_DEPTH);
                assert!(explanation.summary().len() < 400);
                assert!(!format!("{condition:?}").is_empty());
                assert_eq!(condition.evaluate_lazily(None, 0), Ok(None));
                let _ = condition.holds_for_missing_quota();
            }
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_quota_is_needed_only_where_an_evaluation_comes_to_it() {
    for (source, error_count, decided) in [
        ("error_count < 3 or balance > 0", 2, Some(true)),
        ("error_count < 3 or balance > 0", 3, None),
        ("error_count < 3 and balance > 0", 3, Some(false)),
        ("error_count < 3 and balance > 0", 2, None),
        ("not (error_count < 3 or balance > 0)", 0, Some(false)),
        ("balance > 0 or error_count < 3", 0, None),
        ("error_count == 0 or quota.plan or error_count", 0, Some(true)),
        ("1", 0, Some(true)),
    ] {
        assert_eq!(parse(source).evaluate_lazily(None, error_count), Ok(decided), "{source}");
    }
    assert_eq!(parse("balance").evaluate_lazily(Some(&json!({"balance": 1})), 0), Ok(Some(true)));
}

#[test]
fn what_a_condition_names_can_be_asked() {
    let source = r#"error_count < 3 or balance > quota.credits["a b"][0]"#;
    let condition = parse(source);
    assert!(condition.reads_quota() && condition.reads_error_count());
    let paths: Vec<_> = condition.quota_paths().map(|path| (path.as_str(), &source[path.span()])).collect();
    assert_eq!(paths, [("balance", "balance"), (r#"quota.credits["a b"][0]"#, r#"quota.credits["a b"][0]"#)]);
    let steps = condition.quota_paths().nth(1).unwrap().segments();
    assert_eq!(steps, [Segment::Key("credits".into()), Segment::Key("a b".into()), Segment::Index(0)]);

    assert!(!parse("1 > error_count").reads_quota());
    assert!(parse("1 > error_count").reads_error_count());
    assert_eq!(parse("1 > 0 and not 0").constant(), Some(true));
    assert_eq!(Condition::never().constant(), Some(false));
    assert_eq!(parse("1 or balance").constant(), None);
}

#[test]
fn a_condition_that_holds_because_nothing_is_known_is_found() {
    for (source, warns) in [
        ("quota.used < 90", true),
        ("balance >= 0", true),
        ("not balance > 0", true),
        ("quota.used < 90 and error_count < 3", true),
        ("error_count < 3 or quota.used < 90", true),
        ("error_count > 5 and error_count < 7 and quota.used < 90", true),
        ("quota.used < 90 and error_count > 4", true),
        ("quota.used < 90 and error_count", true),
        ("error_count > quota.limit", true),
        ("balance > 0", false),
        ("balance > 0 or error_count < 3", false),
        ("quota.used < 90 and 0", false),
        ("quota.used < 90 or 1", false),
        ("quota.used < 90 and balance > 0", false),
        ("quota.used < 90 and error_count < 0", false),
        ("error_count < 3", false),
        ("", false),
    ] {
        assert_eq!(parse(source).holds_for_missing_quota(), warns, "{source}");
    }
}

#[test]
fn an_explanation_shows_every_part() {
    let condition = parse("not (balance > 0 and quota.used < 9) or error_count < 3 or quota.x");
    let explanation = condition.explain(&json!({"balance": 0.25, "used": null}), 2);
    assert_eq!(explanation.outcome(), Ok(true));
    assert_eq!(
        explanation.to_string(),
        "\
true   or
false    not
true       and
true         balance > 0 (balance = 0.25)
true         quota.used < 9 (quota.used = 0, missing)
true     error_count < 3 (error_count = 2)
-        quota.x
"
    );
    assert_eq!(
        explanation.summary(),
        "not (balance > 0 and quota.used < 9) or error_count < 3 or quota.x \
         (balance = 0.25, quota.used = 0, error_count = 2)"
    );

    let failed = parse("error_count > 5 or quota.plan > 0 or 1").explain(&json!({"plan": "pro"}), 2);
    assert_eq!(failed.outcome().unwrap_err().to_string(), "quota.plan is a string, not a number");
    assert_eq!(failed.summary(), "quota.plan is a string, not a number");
    assert_eq!(
        failed.to_string(),
        "\
error  or
false    error_count > 5 (error_count = 2)
error    quota.plan > 0
-        1
quota.plan is a string, not a number
"
    );

    assert_eq!(parse("balance > 0").explain(&json!({"balance": 0.0}), 0).summary(), "balance > 0 (balance = 0)");
    assert_eq!(Condition::never().explain(&Value::Null, 0).summary(), "0 (never)");
    let many: Vec<String> = (0..100).map(|n| format!("quota.f{n}")).collect();
    let summary = parse(&many.join(" or ")).explain(&Value::Null, 0).summary();
    assert!(summary.len() < 400 && summary.ends_with("quota.f7 = 0, …)"), "{summary}");
}
