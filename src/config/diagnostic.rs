//! What is wrong with a configuration, and where.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    ops::Range,
    sync::Arc,
};

use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Renderer, Snippet};

use super::locate::Lines;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, and will probably not do what was meant.
    Warning,
}

/// One thing that is wrong, at one place.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) excerpt: Arc<Excerpt>,
    pub(super) place: Option<Place>,
    pub(super) label: Option<String>,
    pub(super) related: Option<Related>,
    pub(super) help: Option<String>,
    /// The backend whose gate it says is closed.
    pub(super) closed_gate: Option<String>,
}

/// A text that diagnostics are about, as they show it.
#[derive(Debug)]
pub(super) struct Excerpt {
    pub(super) file: Option<Arc<str>>,
    /// The text without its credentials, byte for byte as long as the real one.
    pub(super) shown: String,
}

impl Excerpt {
    /// The marked places with their labels. The renderer gets their lines alone, as it looks at all that it is given.
    fn snippet<'a>(&'a self, marks: &[(AnnotationKind, &'a Place, Option<&'a str>)]) -> Snippet<'a, Annotation<'a>> {
        let text = &self.shown;
        let first = marks.iter().map(|(_, place, _)| *place).min_by_key(|place| place.span.start);
        let (mut line, first) = first.map_or((1, 0), |place| (place.line, place.span.start));
        let last = marks.iter().map(|(_, place, _)| place.span.end).max().unwrap_or(text.len());
        let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |end| end + 1);
        let mut start = line_start(first);
        if start > 0 && start == text.len() {
            // What is behind the last line is shown at its end.
            (start, line) = (line_start(start - 1), line - 1);
        }
        let end = text[last..].find('\n').map_or(text.len(), |length| last + length + 1);
        Snippet::source(&text[start..end])
            .line_start(line)
            .path(self.file.as_deref().unwrap_or("<config>"))
            .annotations(
                marks.iter().map(|(kind, Place { span, .. }, label)| {
                    kind.span(span.start - start..span.end - start).label(*label)
                }),
            )
    }
}

/// Another place that has to do with it, maybe in another file.
#[derive(Clone, Debug)]
pub(super) struct Related {
    pub(super) excerpt: Arc<Excerpt>,
    pub(super) place: Place,
    pub(super) label: String,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) span: Range<usize>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) fn new(span: Range<usize>, lines: &Lines<'_>) -> Self {
        let (line, column) = lines.line_and_column(span.start);
        Self { span, line, column }
    }
}

impl Diagnostic {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is said at the marked place, if anything.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What could be done about it.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The path of the file that it is about, if the text came from one: the configuration file or an instance file.
    pub fn file(&self) -> Option<&str> {
        self.excerpt.file.as_deref()
    }

    /// The line of the marked place, from 1. `None` if the trouble is not inside the file.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column of the marked place, from 1, in characters.
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }

    /// The marked bytes of the text.
    pub fn span(&self) -> Option<Range<usize>> {
        self.place.as_ref().map(|place| place.span.clone())
    }
}

/// Everything that is wrong with a configuration file and the instance files beside it, errors before warnings, each
/// in the order of the texts.
///
/// [`Display`] shows them with the lines they are about, in plain text. Values that could be credentials are blotted
/// out there.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    pub(super) file: Option<Arc<str>>,
    pub(super) list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// The path of the configuration file, if the text came from one.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The diagnostics one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The text for people; with `color`, for a terminal that understands ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let rendered: Vec<_> = self.list.iter().map(|diagnostic| self.render_one(&renderer, diagnostic)).collect();
        rendered.join("\n\n")
    }

    fn render_one<'a>(&'a self, renderer: &Renderer, diagnostic: &'a Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(&diagnostic.message).elements([] as [Element<'_>; 0]);
        if let Some(place) = &diagnostic.place {
            let mut marks = vec![(AnnotationKind::Primary, place, diagnostic.label.as_deref())];
            let mut elsewhere = None;
            if let Some(Related { excerpt, place, label }) = &diagnostic.related {
                let mark = (AnnotationKind::Context, place, Some(label.as_str()));
                if Arc::ptr_eq(excerpt, &diagnostic.excerpt) {
                    marks.push(mark);
                } else {
                    elsewhere = Some(excerpt.snippet(&[mark]));
                }
            }
            let snippets = [diagnostic.excerpt.snippet(&marks)].into_iter().chain(elsewhere);
            group = group.elements(snippets);
        } else if let Some(file) = diagnostic.file() {
            group = group.element(annotate_snippets::Origin::path(file));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Display for Diagnostics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_marked_lines_show_what_the_whole_text_would(
            text in "([ab]{0,3}|é|[ab]{0,9}\n|\n|\r\n){1,12}",
            bounds in any::<[prop::sample::Index; 4]>(),
        ) {
            let [a, b, c, d] = bounds.map(|bound| text.floor_char_boundary(bound.index(text.len() + 1)));
            let lines = Lines::of(&text);
            let places = [(a, b), (c, d)].map(|(a, b)| Place::new(a.min(b)..a.max(b), &lines));
            let kinds = [AnnotationKind::Primary, AnnotationKind::Context];
            let marks: Vec<_> = kinds.into_iter().zip(&places).map(|(kind, place)| (kind, place, Some("label"))).collect();
            let render = |snippet: Snippet<'_, Annotation<'_>>| Renderer::plain().render(&[Level::ERROR.primary_title("title").element(snippet)]);
            for marks in [&marks[..1], &marks[..]] {
                let whole = Snippet::source(&text).path("<config>").annotations(
                    marks.iter().map(|(kind, place, label)| kind.span(place.span.clone()).label(*label)),
                );
                let excerpt = Excerpt { file: None, shown: text.clone() };
                prop_assert_eq!(render(excerpt.snippet(marks)), render(whole));
            }
        }
    }
}
