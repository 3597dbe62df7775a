use std::{borrow::Cow, fmt, ops::Range};

use http::{HeaderMap, StatusCode};
use serde::de::{Deserialize, Deserializer, Visitor};

use super::{
    multipart,
    object::read_object,
    scan::{Place, find_model},
};
use crate::body::{ErrorAnswer, ReplayBody};

/// The `model` of a request body, JSON or a form: its text, and where its value stands.
///
/// ```
/// use pointsman_layers::route::ModelField;
///
/// let body = br#"{"stream": true, "model": "fast"}"#;
/// let model = ModelField::find(body)?;
/// assert_eq!(model.name, "fast");
/// assert_eq!(&body[model.span], b"\"fast\"");
/// # Ok::<_, pointsman_layers::route::ModelError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelField<'a> {
    /// The model as the client wrote it, escapes resolved.
    pub name: Cow<'a, str>,
    /// The bytes of the value; in JSON the quotes are among them.
    pub span: Range<usize>,
}

impl<'a> ModelField<'a> {
    /// Finds the one `model` of a body with these headers: a form if their `Content-Type` is `multipart/form-data`,
    /// JSON if not.
    ///
    /// # Errors
    ///
    /// For JSON those of [`find`](Self::find). A form is refused if it is malformed, or if its `model` is missing, doubled,
    /// or not a plain text field.
    pub fn of(headers: &HeaderMap, body: &'a [u8]) -> Result<Self, ModelError> {
        if multipart::is_form(headers) { multipart::find(headers, body) } else { Self::find(body) }
    }

    /// The same for a body in segments. It is put together only where that has to be: for a form, and where a single
    /// segment does not tell which `model` is the one.
    ///
    /// # Errors
    ///
    /// Those of [`of`](Self::of).
    pub fn of_body(headers: &HeaderMap, body: &'a ReplayBody) -> Result<Self, ModelError> {
        let segments = match body.segments() {
            [] => return Self::of(headers, &[]),
            [whole] => return Self::of(headers, whole),
            segments => segments,
        };
        if !multipart::is_form(headers)
            && let Some(Place { piece, range, span }) = find_model(segments, body.marks())
            && let Some(name) = string(&segments[piece][range])
        {
            return Ok(Self { name, span });
        }
        let whole = body.to_bytes();
        let ModelField { name, span } = ModelField::of(headers, &whole)?;
        Ok(Self { name: Cow::Owned(name.into_owned()), span })
    }

    /// Finds the one `model` of a JSON body.
    ///
    /// # Errors
    ///
    /// A body that is not a JSON object, or whose `model` is missing, doubled, or not a string is refused: two `model` keys
    /// would let this reader and the provider's see different ones. Of a body over 512 bytes, parts that cannot hold a
    /// `model` are not read, and mistakes in them left to the provider to find.
    pub fn find(body: &'a [u8]) -> Result<Self, ModelError> {
        // As a rule there is nothing special about a body, and this is all.
        if let Some(Place { span, .. }) = find_model(&[body], None)
            && let Some(name) = string(&body[span.clone()])
        {
            return Ok(Self { name, span });
        }
        Self::find_slowly(body)
    }

    /// The same, whatever stands in the body, and with the reason if there is no model to be had.
    fn find_slowly(body: &'a [u8]) -> Result<Self, ModelError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(ModelError::Empty);
        }
        let mut found = Found::Nothing;
        let read = read_object(
            body,
            |key| (key == b"model").then_some(()),
            |(), span| found = if matches!(found, Found::Nothing) { Found::One(span) } else { Found::Twice },
        );
        read.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ModelError::NotAnObject,
            _ => ModelError::NotJson { line: error.line(), column: error.column() },
        })?;
        match found {
            Found::Nothing => Err(ModelError::Missing),
            Found::Twice => Err(ModelError::Twice),
            Found::One(span) => Ok(Self { name: string(&body[span.clone()]).ok_or(ModelError::NotAString)?, span }),
        }
    }
}

/// Why a body has no usable `model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no body.
    Empty,
    /// The body is not JSON; the place is that of the first fault, counted from 1.
    NotJson {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
    /// The body is JSON, but not an object.
    NotAnObject,
    /// There is no `model` key.
    Missing,
    /// There is more than one `model` key.
    Twice,
    /// `model` is not a string.
    NotAString,
    /// The body is no form, although its type says so; for this reason, as the end of a sentence.
    NotAForm(&'static str),
    /// `model` is a file of a form, or its text is encoded.
    NotText,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the request body is empty; send a JSON object with a `model`"),
            Self::NotJson { line, column } => {
                write!(f, "the request body is not valid JSON (line {line}, column {column})")
            }
            Self::NotAnObject => f.write_str("the request body must be a JSON object"),
            Self::Missing => f.write_str("the request names no `model`"),
            Self::Twice => f.write_str("the request has more than one `model` key; send exactly one"),
            Self::NotAString => f.write_str("`model` must be a string"),
            Self::NotAForm(fault) => write!(f, "the request body is not valid multipart/form-data: {fault}"),
            Self::NotText => f.write_str("`model` must be a field with a plain UTF-8 text"),
        }
    }
}

impl std::error::Error for ModelError {}

impl From<ModelError> for ErrorAnswer {
    fn from(error: ModelError) -> Self {
        let answer = |code| ErrorAnswer::new(StatusCode::BAD_REQUEST, code, error.to_string());
        match error {
            ModelError::Empty | ModelError::NotJson { .. } | ModelError::NotAnObject => answer("invalid_json"),
            ModelError::Missing => answer("missing_model").param("model"),
            ModelError::Twice => answer("duplicate_model").param("model"),
            ModelError::NotAString | ModelError::NotText => answer("invalid_model").param("model"),
            ModelError::NotAForm(_) => answer("invalid_multipart"),
        }
    }
}

/// The text of a JSON string; `None` for any other value.
fn string(json: &[u8]) -> Option<Cow<'_, str>> {
    match json {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => str::from_utf8(text).ok().map(Cow::Borrowed),
        _ => Some(serde_json::from_slice::<Text<'_>>(json).ok()?.0),
    }
}

/// A string that is borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// What the top level holds under `model`.
enum Found {
    Nothing,
    One(Range<usize>),
    Twice,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(body: &str) -> ModelError {
        ModelField::find(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn every_bad_body_has_its_error() {
        assert_eq!(error(""), ModelError::Empty);
        assert_eq!(error(" \n"), ModelError::Empty);
        assert_eq!(error("{\"model\":\n nope}"), ModelError::NotJson { line: 2, column: 3 });
        assert_eq!(error(r#"{"model": "a"} x"#), ModelError::NotJson { line: 1, column: 16 });
        assert_eq!(error(r#"{"model": "a""#), ModelError::NotJson { line: 1, column: 13 });
        assert_eq!(error(r#"["model"]"#), ModelError::NotAnObject);
        assert_eq!(error("7"), ModelError::NotAnObject);
        assert_eq!(error(r#"{"messages": [{"model": "deep"}]}"#), ModelError::Missing);
        assert_eq!(error(r#"{"model": "a", "model": "b"}"#), ModelError::Twice);
        assert_eq!(error(r#"{"model": "a", "m\u006fdel": "b"}"#), ModelError::Twice);
        for not_text in ["7", "null", "[\"a\"]", "{}", "true"] {
            assert_eq!(error(&format!("{{\"model\": {not_text}}}")), ModelError::NotAString);
        }
    }

    #[test]
    fn what_is_not_the_model_is_read_over() {
        let body =
            br#"{"big": 1e400, "emoji": "\ud83d\ude00", "\ud83d": "\ude00", "model" : "caf\u00e9" , "model_": 1}"#;
        let model = ModelField::find(body).expect("a model");
        assert_eq!(model.name, "café");
        assert_eq!(&body[model.span], br#""caf\u00e9""#);
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let deep = format!(r#"{{"x": {}{}, "model": "a"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(ModelField::find(deep.as_bytes()).expect("a model").name, "a");
    }

    /// Text that is JSON more often than not, and its like.
    fn nearly_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            4 => prop::sample::select(vec![
                "1", "-0", "01", "1.5e+3", "1.", ".5", "2e", "-", "1E400", "true", "nul", "null", "false", "NaN",
                r#""""#, r#""model""#, r#""a\"b\\""#, r#""\u00e9""#, r#""\u00g9""#, r#""\x""#, "\"\t\"", "\"\u{7f}é\"", "\"",
            ]).prop_map(str::to_owned),
            1 => "[ -~]{0,6}",
        ];
        let key = prop::sample::select(vec![
            r#""model""#,
            r#""model""#,
            r#""m\u006fdel""#,
            r#""a""#,
            r#""\"""#,
            "b",
            r#""""#,
        ]);
        let space = prop::sample::select(vec!["", "", "", " ", "\n\t\r ", "\u{b}"]);
        leaf.prop_recursive(4, 24, 4, move |value| {
            let field = (key.clone(), space.clone(), value.clone())
                .prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
            prop_oneof![
                (prop::collection::vec(field, 0..4), space.clone())
                    .prop_map(|(fields, space)| format!("{space}{{{}{space}}}", fields.join(","))),
                (prop::collection::vec(value, 0..4), space.clone())
                    .prop_map(|(items, space)| format!("[{}{space}]", items.join(","))),
            ]
        })
    }

    #[test]
    fn a_plain_body_is_read_quickly() {
        for body in [
            r#"{"model": "a"}"#,
            r#" { "messages" : [ { "role": "user", "content": "a \"quoted\"\n\u00e9 word" }, [], {}, -1.5e-7 ] , "model":"a","x":null } "#,
            r#"{"model":"a","messages":[{"role":"model","content":"the \"model\" of it","model":"b"}]}"#,
            r#"{"messages":[{"role":"user","content":"the \"model\": \\\"b\\\""}],"model":"a"}"#,
        ] {
            assert!(find_model(&[body], None).is_some_and(|place| &body[place.span] == r#""a""#), "{body}");
        }
    }

    #[test]
    fn in_a_long_body_what_cannot_hold_a_model_is_the_provider_s_to_judge() {
        let long = "y".repeat(1000);
        for body in [
            r#"{"model":"a","x":NaN,"long":"..."}"#,
            r#"{"model":"a","x":"...",}"#,
            r#"{"x":[1,2,"..." z],"n":01,"model":"a"}"#,
        ] {
            assert_eq!(ModelField::find(body.replace("...", &long).as_bytes()).expect("a model").name, "a", "{body}");
            assert!(matches!(error(body), ModelError::NotJson { .. }), "{body}");
        }
        // A second one would not be.
        for (body, expected) in [
            (r#"{"model":"a","x":"..."}{"model":"b"}"#, ModelError::NotJson { line: 1, column: 1021 }),
            (r#"{"model":"a","x":"...","m\u006fdel":"b"}"#, ModelError::Twice),
            (r#"{"x":"...","y":{"a":1,"model":"b"}}"#, ModelError::Missing),
            (r#"{"x":"..."],"model":{"a":1},"model":"b"}"#, ModelError::NotJson { line: 1, column: 1008 }),
        ] {
            assert_eq!(error(&body.replace("...", &long)), expected, "{body}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_quick_look_finds_what_the_slow_one_does(body in nearly_json(), spaces in 0usize..3) {
            // What is behind the middle is looked for from the end.
            let body = [body, " ".repeat(600)];
            let body = [&body[..1], &body[..], &[&body[1][..], &body[0]].map(str::to_owned)][spaces].concat();
            let slow = ModelField::find_slowly(body.as_bytes());
            if find_model(&[&body], None).is_some() && !matches!(slow, Err(ModelError::NotJson { .. })) {
                prop_assert_eq!(ModelField::find(body.as_bytes()), slow);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = ModelField::find(&bytes);
        }

        #[test]
        fn the_span_is_the_value(name in any::<String>(), before in any::<String>(), after in any::<String>()) {
            let text = |s: &str| serde_json::to_string(s).expect("a string");
            let body = format!(r#"{{"_":{},"model":{},"-":{}}}"#, text(&before), text(&name), text(&after));
            let model = ModelField::find(body.as_bytes()).expect("a model");
            prop_assert_eq!(&body[model.span], text(&name));
            prop_assert_eq!(model.name, name);
        }
    }
}
