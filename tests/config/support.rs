use pointsman::config::{Config, Diagnostic, Diagnostics, Loaded, Severity};

/// The full example of the document that the routes were first described in.
pub(crate) const EXAMPLE: &str = include_str!("../data/example.yaml");

/// The variables of a test: `A_KEY` and `HOME`, and nothing else.
pub(crate) fn variables(name: &str) -> Option<String> {
    match name {
        "A_KEY" => Some("sk-from-the-environment".into()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("9000".into()),
        _ => None,
    }
}

pub(crate) fn load(text: &str) -> Result<Loaded, Diagnostics> {
    Config::from_yaml_with(text, &variables)
}

/// The configuration of a text that must be good.
pub(crate) fn config(text: &str) -> Config {
    load(text).unwrap_or_else(|wrong| panic!("{wrong}")).config
}

/// A diagnostic as one line: `3:5: message [label] (help)`, a warning with `warning: ` before it.
pub(crate) fn line(diagnostic: &Diagnostic) -> String {
    let severity = if diagnostic.severity() == Severity::Warning { "warning: " } else { "" };
    let place = match (diagnostic.line(), diagnostic.column()) {
        (Some(line), Some(column)) => format!("{line}:{column}: "),
        _ => String::new(),
    };
    let help = diagnostic.help().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{severity}{place}{}{help}", diagnostic.message())
}

/// The diagnostics of a text, good or bad, one a line.
pub(crate) fn told(text: &str) -> Vec<String> {
    match load(text) {
        Ok(loaded) => loaded.warnings.iter().map(line).collect(),
        Err(wrong) => wrong.iter().map(line).collect(),
    }
}

/// The errors alone.
pub(crate) fn errors(text: &str) -> Vec<String> {
    let wrong = load(text).expect_err(text);
    wrong.iter().filter(|diagnostic| diagnostic.severity() == Severity::Error).map(line).collect()
}
