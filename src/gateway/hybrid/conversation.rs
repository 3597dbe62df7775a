//! The request of a client, and what becomes of it for either model.

use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use pointsman_layers::body::{ErrorAnswer, ReplayBody};

use super::json::{self, escaped, quoted};

/// What the first model is not given: it is to think, not to act, and in no form.
const NOT_FOR_REASONING: [&str; 9] = [
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "n",
    "stream",
    "stream_options",
];

/// A chat completion that a client asks for.
#[derive(Debug)]
pub(super) struct Conversation {
    body: Bytes,
    /// The list of messages, brackets included.
    messages: Range<usize>,
    streams: bool,
    wants_usage: bool,
    turns: u64,
    ends_with_tool_result: bool,
}

/// How a model is told what another one has thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Telling {
    /// It takes no system messages, so the first message of the user says it.
    pub(super) by_user: bool,
    /// A last message of the assistant says it again.
    pub(super) repeated: bool,
}

impl Conversation {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// The answer to one that has not exactly one list of messages.
    pub(super) fn read(body: &ReplayBody) -> Result<Self, ErrorAnswer> {
        let body = body.to_bytes();
        let text = str::from_utf8(&body).map_err(|_| refused("invalid_json", "the request body is not UTF-8"))?;
        let fields =
            json::fields(text).ok_or_else(|| refused("invalid_json", "the request body must be a JSON object"))?;
        let mut messages = fields.iter().filter(|field| field.is("messages"));
        let (Some(messages), None) = (messages.next(), messages.next()) else {
            return Err(refused("invalid_messages", "a hybrid needs exactly one `messages` key").param("messages"));
        };
        let items = json::items(messages.value)
            .ok_or_else(|| refused("invalid_messages", "a hybrid needs `messages` to be a list").param("messages"))?;
        let last = |name| fields.iter().rev().find(|field| field.is(name)).map(|field| field.value);
        let options = last("stream_options").unwrap_or_default();
        Ok(Self {
            streams: last("stream") == Some("true"),
            wants_usage: json::get(options, "include_usage") == Some("true"),
            turns: items.iter().filter(|message| has_role(message, &["assistant"])).count() as u64,
            ends_with_tool_result: items.last().is_some_and(|message| has_role(message, &["tool", "function"])),
            messages: json::place(text, messages.value),
            body: body.clone(),
        })
    }

    /// Whether the client wants its answer as a stream.
    pub(super) fn streams(&self) -> bool {
        self.streams
    }

    /// Whether the client wants a last chunk with the usage.
    pub(super) fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// How often the assistant has spoken so far.
    pub(super) fn turns(&self) -> u64 {
        self.turns
    }

    /// Whether the last message is what a tool gave back.
    pub(super) fn ends_with_tool_result(&self) -> bool {
        self.ends_with_tool_result
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("`read` has checked it")
    }

    /// The body for the model that thinks.
    pub(super) fn for_reasoning(&self) -> ReplayBody {
        let text = self.text();
        let fields = json::fields(text).unwrap_or_default();
        let mut body = String::with_capacity(text.len() + 64);
        for field in fields.iter().filter(|field| !NOT_FOR_REASONING.iter().any(|name| field.is(name))) {
            body.push(if body.is_empty() { '{' } else { ',' });
            body.push_str(field.text(text));
        }
        // There is the list of messages at least.
        body.push_str(r#","stream":true,"stream_options":{"include_usage":true}}"#);
        body.into()
    }

    /// The body for the model that answers, without a word of another one: the client's own.
    pub(super) fn unchanged(&self) -> ReplayBody {
        self.body.clone().into()
    }

    /// The body for the model that answers: the client's own, but for the reasoning in its messages.
    pub(super) fn with_reasoning(&self, reasoning: &str, telling: Telling) -> ReplayBody {
        let text = self.text();
        let messages = json::items(&text[self.messages.clone()]).unwrap_or_default();
        let note = note(reasoning);
        let told = if telling.by_user {
            messages
                .iter()
                .find(|message| has_role(message, &["user"]))
                .and_then(|message| prepend(text, message, &note))
        } else {
            let system = messages.iter().find(|message| has_role(message, &["system", "developer"]));
            system.and_then(|message| append(text, message, &note))
        };
        let mut is_empty = messages.is_empty();
        let told = told.unwrap_or_else(|| {
            let role = if telling.by_user { "user" } else { "system" };
            let comma = if is_empty { "" } else { "," };
            is_empty = false;
            let start = self.messages.start + 1;
            (start..start, format!(r#"{{"role":"{role}","content":{}}}{comma}"#, quoted(&note)))
        });
        let repeated = telling.repeated.then(|| {
            let comma = if is_empty { "" } else { "," };
            let end = self.messages.end - 1;
            let thought = quoted(&format!("<think>\n{reasoning}\n</think>\n"));
            (end..end, format!(r#"{comma}{{"role":"assistant","content":{thought}}}"#))
        });
        let edits = [told].into_iter().chain(repeated).map(|(place, new)| (place, new.into()));
        // In one piece, since it is read again for the place of the model.
        self.unchanged().splice_all(edits).to_bytes().into()
    }
}

/// What the second model is told.
fn note(reasoning: &str) -> String {
    format!(
        "Another model has thought about this conversation before you. Use what is right in its reasoning for your \
         own answer, and do not mention it.\n<reasoning>\n{reasoning}\n</reasoning>"
    )
}

fn refused(code: &'static str, message: &'static str) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::BAD_REQUEST, code, message)
}

fn has_role(message: &str, roles: &[&str]) -> bool {
    let role = json::get(message, "role").and_then(json::string);
    role.is_some_and(|role| roles.contains(&&*role))
}

/// The edit that adds `note` at the end of a message; `None` if it has no text.
fn append(body: &str, message: &str, note: &str) -> Option<(Range<usize>, String)> {
    let (place, kind, is_empty) = content(body, message)?;
    let note = match (kind, is_empty) {
        (Content::Text, true) => escaped(note),
        (Content::Text, false) => escaped(&format!("\n\n{note}")),
        (Content::Parts, true) => part(note),
        (Content::Parts, false) => format!(",{}", part(note)),
    };
    Some((place.end..place.end, note))
}

/// The edit that adds `note` at the start of a message; `None` if it has no text.
fn prepend(body: &str, message: &str, note: &str) -> Option<(Range<usize>, String)> {
    let (place, kind, is_empty) = content(body, message)?;
    let note = match (kind, is_empty) {
        (Content::Text, true) => escaped(note),
        (Content::Text, false) => escaped(&format!("{note}\n\n")),
        (Content::Parts, true) => part(note),
        (Content::Parts, false) => format!("{},", part(note)),
    };
    Some((place.start..place.start, note))
}

fn part(text: &str) -> String {
    format!(r#"{{"type":"text","text":{}}}"#, quoted(text))
}

enum Content {
    Text,
    Parts,
}

/// What is between the quotes or brackets of a message's content, and whether that is nothing.
fn content(body: &str, message: &str) -> Option<(Range<usize>, Content, bool)> {
    let value = json::get(message, "content")?;
    let place = json::place(body, value);
    let inside = place.start + 1..place.end.saturating_sub(1);
    if value.starts_with('"') {
        return Some((inside, Content::Text, value == "\"\""));
    }
    let parts = json::items(value)?;
    Some((inside, Content::Parts, parts.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &str) -> Conversation {
        Conversation::read(&body.to_owned().into()).expect("a conversation")
    }

    fn text(body: &ReplayBody) -> String {
        String::from_utf8(body.to_bytes().to_vec()).expect("text")
    }

    /// The messages of a body with reasoning.
    fn told(messages: &Value, telling: Telling) -> Value {
        let body = json!({ "messages": messages, "model": "m" }).to_string();
        let body: Value = serde_json::from_str(&text(&read(&body).with_reasoning("\"Hm\".", telling))).expect("JSON");
        assert_eq!(body["model"], "m");
        body["messages"].clone()
    }

    const BY_USER: Telling = Telling { by_user: true, repeated: false };

    #[test]
    fn the_first_model_gets_the_conversation_and_neither_tools_nor_forms() {
        let body = r#" { "seed" : 1e400, "tools":[{}],"n": 2, "model":"m", "stream": false,
            "t\u006fols": [], "messages":[ {"role": "user", "x": 1E0} ], "response_format": {}, "tool_choice": "auto",
            "functions": [], "function_call": "f", "parallel_tool_calls": true, "stream_options": null , "user": "u"} "#;
        assert_eq!(
            text(&read(body).for_reasoning()),
            r#"{"seed" : 1e400,"model":"m","messages":[ {"role": "user", "x": 1E0} ],"user": "u","#.to_owned()
                + r#""stream":true,"stream_options":{"include_usage":true}}"#
        );
    }

    #[test]
    fn the_first_system_message_is_told_and_nothing_else_changes() {
        let body = r#"{ "a": 1e400, "messages": [ {"role":"user","content":"é"} ,
            {"content": "Be\u0020brief." , "role":"\u0073ystem"},{"role":"system","content":"x"} ], "model":"m" } "#;
        let told = text(&read(body).with_reasoning("A \"b\"", Telling::default()));
        let note = escaped(&format!("\n\n{}", note("A \"b\"")));
        assert_eq!(told, body.replace("brief.", &format!("brief.{note}")));
    }

    #[test]
    fn parts_get_another_part() {
        let system = json!([{ "role": "developer", "content": [{ "type": "text", "text": "a" }] }]);
        let messages = told(&system, Telling::default());
        assert_eq!(messages[0]["content"][0], json!({ "type": "text", "text": "a" }));
        assert_eq!(messages[0]["content"][1], json!({ "type": "text", "text": note("\"Hm\".") }));
        let messages = told(&json!([{ "role": "system", "content": [] }]), Telling::default());
        assert_eq!(messages[0]["content"], json!([{ "type": "text", "text": note("\"Hm\".") }]));
        let image = json!([{ "role": "user", "content": [{ "type": "image_url" }] }]);
        let messages = told(&image, BY_USER);
        assert_eq!(messages[0]["content"][0]["text"], note("\"Hm\"."));
        assert_eq!(messages[0]["content"][1], json!({ "type": "image_url" }));
    }

    #[test]
    fn without_a_system_message_there_is_a_new_one_in_front() {
        let new = json!({ "role": "system", "content": note("\"Hm\".") });
        for others in [json!([]), json!([{ "role": "user", "content": "Hi" }]), json!([{ "role": "system" }, 7])] {
            let messages = told(&others, Telling::default());
            assert_eq!(messages[0], new);
            assert_eq!(messages.as_array().expect("a list")[1..], others.as_array().expect("a list")[..]);
        }
    }

    #[test]
    fn a_model_without_system_messages_is_told_by_the_user() {
        let messages = json!([
            { "role": "assistant", "content": "Hello" },
            { "role": "user", "content": "Hi" },
            { "role": "user", "content": "there" },
        ]);
        let told_by_user = told(&messages, BY_USER);
        assert_eq!(told_by_user[1]["content"], format!("{}\n\nHi", note("\"Hm\".")));
        assert_eq!((&told_by_user[0], &told_by_user[2]), (&messages[0], &messages[2]));
        let messages = told(&json!([{ "role": "assistant", "content": "Hello" }]), BY_USER);
        assert_eq!(messages[0], json!({ "role": "user", "content": note("\"Hm\".") }));
    }

    #[test]
    fn it_may_be_repeated_by_the_assistant_at_the_end() {
        let last = json!({ "role": "assistant", "content": "<think>\n\"Hm\".\n</think>\n" });
        for by_user in [false, true] {
            let telling = Telling { by_user, repeated: true };
            for others in [json!([]), json!([{ "role": "user", "content": "Hi" }])] {
                let messages = told(&others, telling);
                assert_eq!(messages.as_array().expect("a list").last(), Some(&last));
            }
        }
        // Where it is told and where it is repeated is the same place.
        assert_eq!(told(&json!([]), Telling { by_user: false, repeated: true })[0]["role"], "system");
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let body = json!({
            "messages": [
                { "role": "user" }, { "role": "assistant" }, { "role": "assistant" }, "odd", { "role": "tool" },
            ],
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let conversation = read(&body.to_string());
        assert!(conversation.streams() && conversation.wants_usage() && conversation.ends_with_tool_result());
        assert_eq!(conversation.turns(), 2);
        let conversation = read(r#"{"messages": [], "stream": null, "stream_options": null}"#);
        assert!(!conversation.streams() && !conversation.wants_usage() && !conversation.ends_with_tool_result());
    }

    #[test]
    fn what_is_no_conversation_is_refused() {
        let bodies =
            ["{}", "[]", r#"{"messages": {}}"#, r#"{"messages": [], "messages": []}"#, r#"{"messages": null}"#];
        for body in bodies {
            let answer = Conversation::read(&body.into()).expect_err(body);
            assert_eq!(answer.status(), 400, "{body}");
        }
        assert!(Conversation::read(&vec![b'"', 0xff, b'"'].into()).is_err());
    }
}
