//! What the README shows is what the gateway takes. (Its Rust is tested with the documentation's.)

use pointsman::{Config, provider::presets::PRESETS};

const README: &str = include_str!("../README.md");

/// The code blocks in a language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let mut rest = README;
    let open = format!("\n```{language}\n");
    std::iter::from_fn(move || {
        let (_, block) = rest.split_once(&open)?;
        let (block, after) = block.split_once("\n```\n")?;
        rest = after;
        Some(block)
    })
}

#[test]
fn the_configurations_load_without_a_warning() {
    // A key for every provider; the gateway's own variables are not set.
    let keyed = |name: &str| (!name.starts_with("POINTSMAN_")).then(|| format!("value-of-{name}"));
    let routes: Vec<_> = blocks("yaml")
        .map(|yaml| {
            let loaded = Config::from_yaml_with(yaml, &keyed).unwrap_or_else(|wrong| panic!("{wrong}"));
            // One has no base URL of its own, and one no quota: the README says so.
            let expected = |message: &str| {
                ["`yupp` cannot be used: no base_url", "`openai-api` has no quota source"].contains(&message)
            };
            let unexpected: Vec<_> = loaded.warnings.iter().filter(|warning| !expected(warning.message())).collect();
            assert!(unexpected.is_empty(), "{unexpected:#?}");
            loaded.config.routes.len()
        })
        .collect();
    assert_eq!(routes, [3, 1, 0, 1, 0, 0]);
}

#[test]
fn every_provider_that_is_known_by_name_is_listed() {
    for preset in &PRESETS {
        let row = README.lines().find(|line| line.starts_with(&format!("| `{}`", preset.name)));
        let row = row.unwrap_or_else(|| panic!("{} has no row", preset.name));
        for known in preset.names().chain(preset.key_variable) {
            assert!(row.contains(&format!("`{known}`")), "{known} is not in {row}");
        }
    }
}
