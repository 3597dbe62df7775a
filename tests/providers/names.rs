//! The names by which routes call providers.

use pointsman::{
    Config,
    provider::presets::{self, PRESETS},
};

/// The backend that a route's provider of this name leads to, or what is wrong with it.
fn resolve(name: &str) -> Result<String, String> {
    let nothing = |_: &str| None;
    let config = format!("models: [{{ name: r, providers: [{{ provider: \"{name}\" }}] }}]");
    match Config::from_yaml_with(&config, &nothing) {
        Ok(loaded) => Ok(loaded.config.routes[0].candidates[0].backend.clone()),
        Err(wrong) => Err(wrong.to_string()),
    }
}

/// The names that the two documents write.
const DOCUMENTS: [&str; 14] = [
    "OpenaiAccount",
    "OpenaiAPI",
    "PollinationsAI",
    "Pollinations",
    "Yupp",
    "PuterJS",
    "Puter",
    "GeminiCLI",
    "GeminiPro",
    "GithubCopilot",
    "Groq",
    "DeepInfra",
    "QwenCode",
    "qwen-oauth",
];

#[test]
fn every_name_leads_to_its_provider_in_any_case() {
    for preset in &PRESETS {
        for name in preset.names() {
            let swapped: String = name
                .chars()
                .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
                .collect();
            for written in [name.to_owned(), name.to_lowercase(), name.to_uppercase(), swapped] {
                assert_eq!(resolve(&written).as_deref(), Ok(preset.name), "{written}");
            }
        }
    }
}

#[test]
fn a_slip_in_a_document_s_name_is_told_what_is_near() {
    for name in DOCUMENTS {
        let preset = presets::find(name).unwrap();
        let letters: Vec<char> = name.chars().collect();
        for at in 1..letters.len() {
            let without: String =
                letters.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, c)| c).collect();
            let mut twice = letters.clone();
            twice.insert(at, letters[at]);
            let mut crossed = letters.clone();
            crossed.swap(at - 1, at);
            for slip in [without, twice.into_iter().collect(), crossed.into_iter().collect()] {
                match resolve(&slip) {
                    // It is another name of a provider, such as `Gemini` for `GeminiI`.
                    Ok(found) => assert!(presets::find_ignoring_case(&slip).is_some_and(|it| it.name == found)),
                    Err(wrong) => {
                        let (_, meant) = wrong.split_once("did you mean").unwrap_or_else(|| panic!("{slip}: {wrong}"));
                        let is_named = preset.names().any(|known| meant.contains(&format!("`{known}`")));
                        assert!(is_named, "{slip}: {wrong}");
                    }
                }
            }
        }
    }
}
