use proptest::prelude::*;

use crate::support::{EXAMPLE, load};

const WIDE: &str = r#"
server: { port: 8000, api_keys: ["${A_KEY}"], body_limit: 32MiB, header_timeout: 10s }
backends:
  a: &x { type: openai, base_url: "http://127.0.0.1:1/v1", api_key: 'k', headers: { h: "é" } }
  b:
    <<: *x
    quota: { url: "http://127.0.0.1/q", pointer: /a, map: { b: [/c], d: 1.5, e: { list: /f, by: /g } } }
    auth: { header: x-api-key }
default_backend: a
models:
  - name: r
    fallback_on: [429, 5xx]
    providers:
      - provider: a
        condition: >-
          quota.balance > 0
          or error_count < 3
      - { provider: b, model: "m\t1", condition: 'quota["x"].y[0] >= 1' }
"#;

/// Loads and renders: both have to come to an end.
fn try_out(text: &str) {
    let _ = match load(text) {
        Ok(loaded) => loaded.warnings.render(true),
        Err(wrong) => {
            assert!(wrong.has_errors());
            wrong.render(false)
        }
    };
}

#[test]
fn the_text_that_is_mutated_is_good() {
    load(WIDE).unwrap_or_else(|wrong| panic!("{wrong}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text(text in any::<String>()) {
        try_out(&text);
    }

    #[test]
    fn text_of_the_characters_that_mean_something(text in "[\\-:,{}\\[\\]&*!|>'\"%@`#?~ \\n\\ta-c0-9.<$é]{0,60}") {
        try_out(&text);
    }

    #[test]
    fn a_good_text_with_a_piece_replaced(
        wide in any::<bool>(),
        at in any::<prop::sample::Index>(),
        length in 0..12_usize,
        piece in "[\\-:,{}\\[\\]&*!|>'\"#?~ \\n\\ta-c0-9.<$é\\r\u{2028}]{0,8}",
    ) {
        let good = if wide { WIDE } else { EXAMPLE };
        let start = good.floor_char_boundary(at.index(good.len()));
        let end = good.ceil_char_boundary((start + length).min(good.len()));
        try_out(&format!("{}{piece}{}", &good[..start], &good[end..]));
    }

    #[test]
    fn a_good_text_with_two_lines_exchanged(wide in any::<bool>(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let mut lines: Vec<_> = if wide { WIDE } else { EXAMPLE }.lines().collect();
        let (a, b) = (a.index(lines.len()), b.index(lines.len()));
        lines.swap(a, b);
        try_out(&lines.join("\n"));
    }
}

#[test]
fn deep_and_wide_texts() {
    try_out(&"[".repeat(100_000));
    try_out(&"{a: ".repeat(10_000));
    try_out(&"- ".repeat(10_000));
    try_out(&format!("models: {}", "[".repeat(100) + &"]".repeat(100)));
    // Each line doubles the one before.
    let bomb: String =
        (1..40).fold("a0: &a0 [x]\n".into(), |text, n| format!("{text}a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1));
    try_out(&bomb);
    try_out("a: &a [*a]");
}
