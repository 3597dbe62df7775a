//! `pointsman providers`

use pointsman::provider::presets::PRESETS;
use serde_json::Value;

use crate::support::Binary;

async fn providers(args: &[&str]) -> String {
    let run = Binary::new([&["providers"], args].concat()).env("GROQ_API_KEY", "key-of-the-environment").run().await;
    assert!(run.status.success(), "{}", run.stderr);
    assert!(!run.stdout.contains("key-of-the-environment"), "{}", run.stdout);
    run.stdout
}

#[tokio::test]
async fn all_of_them_are_listed_in_columns() {
    let listed = providers(&[]).await;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), PRESETS.len() + 1);
    let column = lines[0].find("BASE URL").unwrap();
    for (line, preset) in lines[1..].iter().zip(&PRESETS) {
        assert_eq!(line.split_whitespace().next(), Some(preset.name));
        assert_eq!(&line[column..], preset.base_url.unwrap_or("(has to be given)"));
    }
}

#[tokio::test]
async fn one_of_them_is_shown_by_any_of_its_names() {
    let groq = providers(&["groq"]).await;
    assert!(
        groq.contains("GROQ_API_KEY (set)") && groq.contains("quota.headers.x-ratelimit-remaining-requests"),
        "{groq}"
    );
    assert_eq!(providers(&["GROQ"]).await, groq);
    let copilot = providers(&["GithubCopilot"]).await;
    for part in ["accept_terms: true", "keeping GitHub's terms", "premium_interactions", "quota_snapshots.*.remaining"]
    {
        assert!(part == "premium_interactions" || copilot.contains(part), "{part}: {copilot}");
    }
    assert!(providers(&["anthropic"]).await.contains("x-api-key: KEY on /v1/messages"));
}

#[tokio::test]
async fn json_is_for_programs() {
    let list: Vec<Value> = serde_json::from_str(&providers(&["--json"]).await).unwrap();
    let names: Vec<_> = list.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>());
    let keys: Vec<_> = list[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "aliases",
            "auth",
            "base_url",
            "dialect",
            "disabled_unless",
            "headers",
            "key_variable",
            "models",
            "name",
            "quota",
            "quota_headers",
            "terms"
        ]
    );
    for one in list {
        let shown: Value = serde_json::from_str(&providers(&[one["name"].as_str().unwrap(), "--json"]).await).unwrap();
        assert_eq!(shown, one);
    }
}

#[tokio::test]
async fn a_name_that_is_none_says_what_is_near() {
    for (name, help) in [("grok", "did you mean `groq`?"), ("quux", "`pointsman providers` lists them")] {
        let run = Binary::new(["providers", name]).run().await;
        assert_eq!((run.status.code(), run.stdout.as_str()), (Some(1), ""));
        assert!(run.stderr.contains(help), "{}", run.stderr);
    }
}
