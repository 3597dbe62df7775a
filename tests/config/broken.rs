use crate::support::{errors, load, told};

/// Texts and what is told about each, `----` between the two and `====` behind.
const CASES: &str = include_str!("broken.txt");

#[test]
fn every_mistake_is_told_with_its_place() {
    for case in CASES.split_terminator("====\n") {
        let (text, expected) = case.split_once("\n----\n").unwrap();
        let text = match text.strip_prefix("######## ") {
            Some(heading) => heading.split_once('\n').unwrap().1,
            None => text,
        };
        let text = format!("{text}\n");
        assert_eq!(told(&text).join("\n"), expected.trim_end(), "{text}");
    }
    let control = "1:4: this is not valid YAML: the control character '\\u{7}' is not allowed";
    assert_eq!(told("a: \u{7}\n"), [control]);
}

#[test]
fn all_errors_of_a_file_are_reported_at_once() {
    let text = "\
server: { port: eighty }
backends:
  grok: {}
models:
  - name: a
    providers:
      - { provider: olama, condition: balance => 0 }
      - { model: x }
  - name: a
    providers: []
    comit: headers
typo: 1
";
    assert_eq!(
        errors(text),
        [
            "1:17: `port`: expected a number, found a string",
            "3:3: `grok` is no provider that is known by name, so it needs a `type` (did you mean `groq`?)",
            "7:21: unknown provider `olama` (did you mean `ollama`?)",
            "7:47: `=>` is not an operator (write `>=`)",
            "8:9: missing key `provider`",
            "9:11: there are two routes of the name `a`",
            "10:16: `providers` is empty",
            "11:5: unknown key `comit` (did you mean `commit`?)",
            "12:1: unknown key `typo` (known here: server, default_backend, backends, models, model_aliases)",
        ]
    );
}

/// In one reading of the text for all of them: with one for each, this would not end.
#[test]
fn each_of_ten_thousand_mistakes_is_told_with_its_place() {
    let route = |number| format!("  - name: r{number}\n    providers:\n      - {{ provider: ollama, model: 4 }}\n");
    let text = format!("models:\n{}", (0..10_000).map(route).collect::<String>());
    let wrong = load(&text).unwrap_err();
    let lines: Vec<_> = wrong.iter().filter_map(|diagnostic| diagnostic.line()).collect();
    assert_eq!(lines, (0..10_000).map(|number| 4 + 3 * number).collect::<Vec<_>>());
    assert!(wrong.to_string().ends_with(
        " --> <config>:30001:36
      |
30001 |       - { provider: ollama, model: 4 }
      |                                    ^ expected a string
      |
      = help: quote it to make it a string"
    ));
}

#[test]
fn errors_come_before_warnings() {
    let text = "backends: { groq: {} }\nmodels: [{ name: r, providers: [{ provider: nobody }] }]\n";
    let told = told(text);
    assert!(told[0].starts_with("2:45: unknown provider `nobody`"), "{told:?}");
    assert!(told[1].starts_with("warning: 1:13: `groq` cannot be used"), "{told:?}");
}

#[test]
fn a_diagnostic_looks_like_a_compilers() {
    let text = "\
models:
  - name: fast
    providers:
      - provider: Groq
        condition: \"balence > 0\"
  - name: fast
    providers: [{ provider: ollama }]
";
    let wrong = load(text).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "\
error: unknown variable `balence`
 --> <config>:5:21
  |
5 |         condition: \"balence > 0\"
  |                     ^^^^^^^ in this condition
  |
  = help: did you mean `balance`?

error: there are two routes of the name `fast`
 --> <config>:6:11
  |
2 |   - name: fast
  |           ---- given first here
...
6 |   - name: fast
  |           ^^^^ given again

warning: `groq` cannot be used: no credential (GROQ_API_KEY)
 --> <config>:4:19
  |
4 |       - provider: Groq
  |                   ^^^^ its candidates are skipped
  |
  = help: set the environment variable `GROQ_API_KEY`, or `backends.groq.api_key`"
    );
    assert!(wrong.render(true).contains("\u{1b}["), "no colour");
    let first = wrong.iter().next().unwrap();
    assert_eq!(first.span().map(|span| &text[span]), Some("balence"));
}

#[test]
fn a_credential_on_a_line_that_is_shown_is_blotted_out() {
    for text in [
        "backends:\n  groq: { apikey: sk-123 }\n",
        "backends:\n  groq: { api_key: sk-123, modles: [] }\n",
        "server: { api_keys: sk-123 }\n",
        "backends:\n  groq: { headers: { authorization: \"Bearer sk-123\" }, typo: 1 }\n",
        "server:\n  api_keys:\n    - \"sk-123\n",
    ] {
        let shown = load(text).unwrap_err().to_string();
        assert!(!shown.contains("123"), "{shown}");
    }
}
