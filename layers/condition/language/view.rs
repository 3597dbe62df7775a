use serde_json::Value;

use super::{
    EvalError,
    path::{QuotaPath, Segment},
    program::Test,
};

/// The name in a quota under which the headers of answers stand.
const HEADERS: &str = "headers";

/// What the fields of a quota are read from.
#[derive(Clone, Copy, Debug)]
pub(in crate::condition) struct View<'q> {
    quota: &'q Value,
    /// What the quota's `headers` are, if they are kept apart from it.
    headers: Option<&'q Value>,
}

impl<'q> View<'q> {
    /// The value that a path starts at, and how many of its steps lead there.
    pub(super) fn start(&self, path: &QuotaPath) -> (&'q Value, usize) {
        let Some(headers) = self.headers.filter(|_| is_header(path)) else { return (self.quota, 0) };
        match (path.segments().get(1), headers) {
            // Letters' case does not matter in the name of a header.
            (Some(Segment::Key(name)), Value::Object(fields)) => {
                let found = fields.get(&**name).or_else(|| {
                    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
                });
                (found.unwrap_or(&Value::Null), 2)
            }
            _ => (headers, 1),
        }
    }
}

impl<'q> From<&'q Value> for View<'q> {
    fn from(quota: &'q Value) -> Self {
        Self { quota, headers: None }
    }
}

/// What is known of a quota so far.
#[derive(Clone, Copy, Debug)]
pub(in crate::condition) struct Known<'q> {
    /// What a fetch brought; `None` if that is not known.
    pub(in crate::condition) fetched: Option<&'q Value>,
    pub(in crate::condition) headers: Headers<'q>,
}

/// What is known of the headers of answers.
#[derive(Clone, Copy, Debug)]
pub(in crate::condition) enum Headers<'q> {
    /// They are a field of what is fetched, as any other.
    Fetched,
    Unknown,
    Seen(&'q Value),
}

/// The part of a quota that a test needs and that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::condition) enum Unknown {
    Fetched,
    Headers,
}

/// Why an evaluation ended early.
#[derive(Debug)]
pub(in crate::condition) enum Stop {
    Needs(Unknown),
    Failed(EvalError),
}

impl<'q> Known<'q> {
    /// What is not known counts as nothing.
    pub(in crate::condition) fn view(&self) -> View<'q> {
        let headers = match self.headers {
            Headers::Fetched => None,
            Headers::Unknown => Some(&Value::Null),
            Headers::Seen(headers) => Some(headers),
        };
        View { quota: self.fetched.unwrap_or(&Value::Null), headers }
    }

    pub(super) fn evaluate(&self, test: &Test, error_count: u64) -> Result<bool, Stop> {
        match test.quota_paths().find_map(|path| self.lacks(path)) {
            Some(unknown) => Err(Stop::Needs(unknown)),
            None => test.evaluate(self.view(), error_count).map_err(Stop::Failed),
        }
    }

    fn lacks(&self, path: &QuotaPath) -> Option<Unknown> {
        match self.headers {
            Headers::Unknown if is_header(path) => Some(Unknown::Headers),
            Headers::Seen(_) if is_header(path) => None,
            _ => self.fetched.is_none().then_some(Unknown::Fetched),
        }
    }
}

fn is_header(path: &QuotaPath) -> bool {
    matches!(path.segments(), [Segment::Key(key), ..] if **key == *HEADERS)
}
