use std::io::{IsTerminal as _, Write as _};

/// What fits everywhere.
pub(super) const WIDTH: usize = 80;

/// Text for standard output: wrapped, and in colours if that is a terminal and `NO_COLOR` does not forbid them.
pub(super) struct Page {
    text: String,
    coloured: bool,
}

/// The codes of SGR, ECMA-48 8.3.117.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Faint,
    Green,
    Yellow,
}

impl Page {
    pub(super) fn new() -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { text: String::new(), coloured: !forbidden && std::io::stdout().is_terminal() }
    }

    /// Adds text as it is, a line break after it; each line is indented.
    pub(super) fn text(&mut self, indent: &str, text: &str) {
        for line in text.split('\n') {
            self.line(Style::Plain, indent, line);
        }
    }

    /// Adds one line.
    pub(super) fn line(&mut self, style: Style, indent: &str, line: &str) {
        if !line.is_empty() {
            self.text.push_str(indent);
            self.text.push_str(&self.styled(style, line));
        }
        self.text.push('\n');
    }

    /// Adds a paragraph, broken between words. The lines after the first are indented by `hanging`.
    pub(super) fn paragraph(&mut self, style: Style, first: &str, hanging: &str, text: &str) {
        let mut indent = first;
        let mut line = String::new();
        for word in text.split_whitespace() {
            let width = |text: &str| text.chars().count();
            if !line.is_empty() && width(indent) + width(&line) + 1 + width(word) > WIDTH {
                self.line(style, indent, &line);
                (indent, line) = (hanging, String::new());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(style, indent, &line);
    }

    /// The text in a style, for a part of a line.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Faint => "2",
            Style::Green => "32",
            Style::Yellow => "33",
        };
        match self.coloured {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Prints what was added since the last time.
    pub(super) fn show(&mut self) -> Result<(), String> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(self.text.as_bytes()).and_then(|()| out.flush());
        self.text.clear();
        written.map_err(|error| format!("error: cannot write to standard output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_at_the_width() {
        let mut page = Page { text: String::new(), coloured: false };
        page.paragraph(Style::Faint, "- ", "  ", &"four ".repeat(20));
        let lines: Vec<_> = page.text.lines().collect();
        assert_eq!(lines[0], format!("- {}", ["four"; 15].join(" ")));
        assert_eq!(lines[1], format!("  {}", ["four"; 5].join(" ")));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn styles_are_for_terminals() {
        let page = |coloured| Page { text: String::new(), coloured };
        assert_eq!(page(true).styled(Style::Bold, "a"), "\x1b[1ma\x1b[0m");
        assert_eq!(page(true).styled(Style::Plain, "a"), "a");
        assert_eq!(page(false).styled(Style::Bold, "a"), "a");
    }
}
