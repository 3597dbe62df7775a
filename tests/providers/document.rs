//! The document that the routes were first described in: its example and its tables, provider by provider.

use pointsman::provider::presets;

use crate::{
    rows::row,
    support::{Deployed, Reply, Upstream, backend, backends},
    vendor::Vendor,
};

const EXAMPLE: &str = include_str!("../data/example.yaml");

/// Who answered.
async fn answered(gateway: &Deployed, route: &str) -> String {
    let answer = gateway.chat(route).await;
    assert_eq!(answer.status, 200, "{route}: {}", answer.text());
    answer.header("x-pointsman-provider").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_complete_example_runs_provider_by_provider() {
    let [openai, pollinations, yupp, groq, deepinfra] =
        ["openai-api", "pollinations", "yupp", "groq", "deepinfra"].map(|name| Vendor::start(row(name), 99));
    let vendors = [&openai, &pollinations, &yupp, &groq, &deepinfra];
    let gateway = Deployed::start(&format!("{EXAMPLE}\n{}", backends(vendors.map(Vendor::entry))));
    for (route, first, theirs) in
        [("my-gpt4", &openai, "gpt-4o"), ("yupp-chat", &yupp, "gpt-4o"), ("llama-fast", &groq, "llama-3.3-70b")]
    {
        assert_eq!(answered(&gateway, route).await, first.row.name);
        assert_eq!(first.asked().last().unwrap().json()["model"], theirs);
    }
    assert_eq!((pollinations.asked().len(), deepinfra.asked().len()), (0, 0));

    // The first of each route refuses until its condition is false, and is not asked any more.
    for (route, first, second, theirs) in [
        ("my-gpt4", &openai, &pollinations, "openai-large"),
        ("yupp-chat", &yupp, &pollinations, "openai-large"),
        ("llama-fast", &groq, &deepinfra, "meta-llama/Llama-3.3-70B-Instruct"),
    ] {
        first.set_left(0);
        for refused in 1..=3 {
            assert_eq!(answered(&gateway, route).await, second.row.name, "{route}");
            assert_eq!(gateway.errors(first.row.name), refused);
        }
        let asked = first.asked().len();
        assert_eq!(answered(&gateway, route).await, second.row.name);
        assert_eq!(first.asked().len(), asked, "{route}");
        assert_eq!(second.asked().last().unwrap().json()["model"], theirs);
        second.set_left(99);
    }
    // Only the condition that names a quota which there is a way to ask for has it asked for.
    assert!(yupp.fetches() > 0);
    assert_eq!(pollinations.fetches() + openai.fetches() + groq.fetches() + deepinfra.fetches(), 0);
}

/// What is left, and how many errors there are.
type State = (u32, u64);

/// The conditions of the document, each with a state in which it holds and one in which it does not.
const CONDITIONS: [(&str, &str, State, State); 14] = [
    // The table of what `get_quota()` gives.
    ("PollinationsAI", "quota.balance > 0", (1, 9), (0, 0)),
    ("Yupp", "quota.credits.remaining > 100", (101, 9), (100, 0)),
    ("PuterJS", "quota.total_requests < 1000", (1, 9), (0, 0)),
    ("GeminiCLI", "error_count < 3", (0, 2), (9, 3)),
    ("GithubCopilot", "error_count < 5", (0, 4), (9, 5)),
    // The examples.
    ("PollinationsAI", "balance > 0", (1, 9), (0, 0)),
    ("PollinationsAI", "balance > 0 or error_count < 3", (1, 3), (0, 3)),
    ("PollinationsAI", "balance > 0 or error_count < 3", (0, 2), (0, 3)),
    ("Yupp", "quota.credits.remaining > 0", (1, 9), (0, 0)),
    ("Yupp", "quota.credits.remaining > 0 or error_count < 3", (0, 2), (0, 3)),
    ("Groq", "error_count < 3", (9, 2), (9, 3)),
    ("DeepInfra", "error_count == 0", (9, 0), (9, 1)),
    // And with quotas that it only names.
    ("GithubCopilot", "quota.quota_snapshots.premium_interactions.remaining > 0", (1, 9), (0, 0)),
    ("GeminiCLI", "quota.buckets[0].remainingFraction > 0", (1, 9), (0, 0)),
];

#[tokio::test]
async fn every_condition_of_its_tables_runs_against_its_provider() {
    for (name, condition, holds, fails) in CONDITIONS {
        let preset = presets::find(name).unwrap().name;
        for ((left, errors), is_open) in [(holds, true), (fails, false)] {
            let vendor = Vendor::start(row(preset), left);
            let other = Upstream::always(Reply::chat("other"));
            let gateway = Deployed::start(&format!(
                "models: [{{ name: m, providers: [{{ provider: {name}, condition: '{condition}' }}, \
                 {{ provider: other }}] }}]\n{}",
                backends([vendor.entry(), backend("other", &other.url(""), "")])
            ));
            (0..errors).for_each(|_| gateway.gateway().error_counts().record(preset));
            gateway.chat("m").await;
            let what = format!("{condition} with {left} left and {errors} errors");
            assert_eq!(vendor.asked().len(), usize::from(is_open), "{what}");
        }
    }
}
