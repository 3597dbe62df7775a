//! The second model's answer, with what the first one has to do with it put in.

use std::{borrow::Cow, ops::Range};

use bytes::{Bytes, BytesMut};
use pointsman_layers::body::{Event, EventReader, ReplayBody};
use serde_json::{Value, json};

use super::{
    json::{self, escaped, quoted},
    usage,
};

/// An event of more bytes than this is passed on as it is.
const LONGEST_EVENT: usize = 10 << 20;

/// What is to be put into the second model's answer. All else of it stays as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    /// The id of the stream, in which the reasoning came too.
    pub(super) id: Option<String>,
    /// What the first model has used.
    pub(super) usage: Option<Value>,
    /// What the first model thought, for the messages of a whole answer.
    pub(super) reasoning: Option<String>,
}

impl Edits {
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_none() && self.usage.is_none() && self.reasoning.is_none()
    }

    /// A whole answer with the edits in it.
    pub(super) fn apply(&self, answer: &Bytes) -> Bytes {
        let Ok(text) = str::from_utf8(answer) else { return answer.clone() };
        ReplayBody::from(answer.clone()).splice_all(self.places(text)).to_bytes()
    }

    /// Where the edits go in a completion or a chunk of one, in order.
    fn places(&self, text: &str) -> Vec<(Range<usize>, Bytes)> {
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        for field in json::fields(text).unwrap_or_default() {
            let place = json::place(text, field.value);
            if let Some(id) = self.id.as_ref().filter(|_| field.is("id")) {
                edits.push((place, quoted(id)));
            } else if let Some(used) = self.usage.as_ref().filter(|_| field.is("usage")) {
                if let Ok(usage @ Value::Object(_)) = serde_json::from_str(field.value) {
                    edits.push((place, usage::sum(used, &usage).to_string()));
                }
            } else if let Some(reasoning) = self.reasoning.as_ref().filter(|_| field.is("choices")) {
                let choices = json::items(field.value).unwrap_or_default();
                let messages = choices.into_iter().filter_map(|choice| json::get(choice, "message"));
                edits.extend(messages.filter_map(|message| with_reasoning(text, message, reasoning)));
            }
        }
        edits.into_iter().map(|(place, new)| (place, new.into())).collect()
    }
}

/// The edit that puts the first model's reasoning into a message, in front of the second one's own.
fn with_reasoning(text: &str, message: &str, reasoning: &str) -> Option<(Range<usize>, String)> {
    let fields = json::fields(message)?;
    if let Some(own) = fields.iter().find(|field| field.is("reasoning_content")) {
        let place = json::place(text, own.value);
        return Some(match own.value.strip_prefix('"') {
            Some(_) if own.value != "\"\"" => (place.start + 1..place.start + 1, escaped(&format!("{reasoning}\n\n"))),
            _ => (place, quoted(reasoning)),
        });
    }
    let start = json::place(text, message).start + 1;
    let comma = if fields.is_empty() { "" } else { "," };
    Some((start..start, format!(r#""reasoning_content":{}{comma}"#, quoted(reasoning))))
}

/// The second model's stream, event by event.
#[derive(Debug)]
pub(super) struct AnswerEvents {
    edits: Edits,
    reader: EventReader,
    /// The event that is not complete.
    held: BytesMut,
}

impl AnswerEvents {
    pub(super) fn new(edits: Edits) -> Self {
        Self { edits, reader: EventReader::new(), held: BytesMut::new() }
    }

    /// What can be handed on after this piece of the stream: all complete events.
    pub(super) fn read(&mut self, piece: &[u8]) -> Bytes {
        let start = self.reader.position() - self.held.len() as u64;
        let mut unread = piece;
        let mut end = 0;
        self.held.extend_from_slice(piece);
        let mut edits = Vec::new();
        while let Some(event) = self.reader.read(&mut unread) {
            let event = self.within(start, &event);
            let lines = &self.held[event.clone()];
            if let Cow::Borrowed(data) = Event::new(lines).data() {
                let offset = data.as_ptr().addr() - self.held.as_ptr().addr();
                let places = str::from_utf8(data).map(|data| self.edits.places(data)).unwrap_or_default();
                edits.extend(places.into_iter().map(|(place, new)| (offset + place.start..offset + place.end, new)));
            }
            end = event.end;
        }
        if self.reader.at_border() || self.held.len() > LONGEST_EVENT {
            end = self.held.len();
        } else {
            // The blank line that ended the last event does not wait for the next one.
            end += self.held[end..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        }
        let complete = self.held.split_to(end).freeze();
        if edits.is_empty() { complete } else { ReplayBody::from(complete).splice_all(edits).to_bytes() }
    }

    /// The place of an event in what is held, which starts at `start` of the stream. One whose beginning was handed on
    /// already is left alone.
    fn within(&self, start: u64, event: &Range<u64>) -> Range<usize> {
        let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(self.held.len());
        if event.start < start { place(event.end)..place(event.end) } else { place(event.start)..place(event.end) }
    }

    /// What is left at the end of the stream.
    pub(super) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

/// The chunks that say as a stream what a whole answer says; `None` if it is none.
pub(super) fn as_stream(answer: &[u8], edits: &Edits, wants_usage: bool) -> Option<String> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    let id = edits.id.as_ref().map(|id| json!(id));
    let mut chunk = json!({
        "id": id.as_ref().unwrap_or(&answer["id"]),
        "object": "chat.completion.chunk",
        "created": answer["created"],
        "model": answer["model"],
    });
    let usage =
        edits.usage.as_ref().filter(|_| answer["usage"].is_object()).map(|used| usage::sum(used, &answer["usage"]));
    let usage = usage.unwrap_or_else(|| answer["usage"].take());
    let mut stream = String::new();
    let mut say = |choices: Value, usage: Option<Value>| {
        chunk["choices"] = choices;
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        stream.push_str(&format!("data: {chunk}\n\n"));
    };
    let choices = answer.get_mut("choices")?.as_array_mut().filter(|choices| !choices.is_empty())?;
    for choice in choices {
        let mut delta = choice.get_mut("message")?.take();
        let calls = delta.get_mut("tool_calls").and_then(Value::as_array_mut);
        for (index, call) in calls.into_iter().flatten().enumerate() {
            if let Some(call) = call.as_object_mut() {
                call.insert("index".to_owned(), index.into());
            }
        }
        let (index, reason) = (choice["index"].take(), choice["finish_reason"].take());
        say(json!([{ "index": index, "delta": delta, "finish_reason": reason }]), None);
    }
    if wants_usage && usage.is_object() {
        say(json!([]), Some(usage));
    }
    stream.push_str("data: [DONE]\n\n");
    Some(stream)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edits() -> Edits {
        Edits { id: Some("ours".into()), usage: Some(json!({ "total_tokens": 5 })), reasoning: None }
    }

    const STREAM: &str = ": ping\n\ndata: {\"id\":\"a\", \"choices\":[{\"delta\":{\"id\":\"tool\"}}],\"usage\":null}\r\n\r\n\
        event: x\ndata:{ \"x\" : 1e400 ,\"id\" : \"b\\u0020\"}\n\n: between\nid: 7\ndata: {\"usage\":{\"total_tokens\":2}}\n\n\
        data: not json\n\ndata: {\"id\":\ndata: \"two lines\"}\n\ndata: {\"id\":\"é\"}\r\rdata: [DONE]\n\ndata: {\"id\":\"cut";
    const EDITED: &str = ": ping\n\ndata: {\"id\":\"ours\", \"choices\":[{\"delta\":{\"id\":\"tool\"}}],\"usage\":null}\r\n\r\n\
        event: x\ndata:{ \"x\" : 1e400 ,\"id\" : \"ours\"}\n\n: between\nid: 7\ndata: {\"usage\":{\"total_tokens\":7}}\n\n\
        data: not json\n\ndata: {\"id\":\ndata: \"two lines\"}\n\ndata: {\"id\":\"ours\"}\r\rdata: [DONE]\n\ndata: {\"id\":\"cut";

    fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut events = AnswerEvents::new(edits());
        let mut all = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&events.read(piece));
        }
        all.extend_from_slice(&events.finish());
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn a_stream_keeps_its_bytes_but_for_id_and_usage() {
        assert_eq!(passed([STREAM.as_bytes()]), EDITED);
        assert_eq!(passed(STREAM.as_bytes().chunks(1)), EDITED);
    }

    #[test]
    fn an_event_is_handed_on_with_its_last_byte() {
        let mut events = AnswerEvents::new(edits());
        assert_eq!(events.read(b"data: {\"id\":\"a\"}\n"), "");
        assert_eq!(events.read(b"\ndata: {"), "data: {\"id\":\"ours\"}\n\n");
        assert_eq!(events.read(b"}\n\n"), "data: {}\n\n");
        assert_eq!(events.read(b": ping\n\n"), ": ping\n\n");
        assert_eq!(events.read(b"data: 1\r\n\r"), "data: 1\r\n\r");
        assert_eq!(events.read(b"\ndata: 2\n\n"), "\ndata: 2\n\n");
    }

    proptest! {
        #[test]
        fn where_it_is_cut_makes_no_difference(cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]);
            prop_assert_eq!(passed(pieces), EDITED);
        }
    }

    #[test]
    fn an_endless_event_is_not_kept() {
        let mut events = AnswerEvents::new(edits());
        let piece = vec![b'x'; LONGEST_EVENT / 2 + 1];
        assert_eq!(events.read(&piece), "");
        assert_eq!(events.read(&piece).len(), 2 * piece.len());
        assert_eq!(events.read(b"\n\ndata: {\"id\":1}\n\n"), "\n\ndata: {\"id\":\"ours\"}\n\n");
    }

    fn applied(reasoning: &str, answer: &str) -> String {
        let edits = Edits { id: None, usage: Some(json!({ "total_tokens": 5 })), reasoning: Some(reasoning.into()) };
        String::from_utf8(edits.apply(&Bytes::copy_from_slice(answer.as_bytes())).to_vec()).expect("text")
    }

    #[test]
    fn a_whole_answer_gets_the_reasoning_and_the_sum() {
        assert_eq!(
            applied("\"A\"", r#"{"x":1e400, "usage": {"total_tokens": 2}, "choices":[{"message": {"content":"C"}}]}"#),
            r#"{"x":1e400, "usage": {"total_tokens":7}, "choices":[{"message": {"reasoning_content":"\"A\"","content":"C"}}]}"#
        );
        assert_eq!(
            applied("A", r#"{"choices":[{"message":{}},{"message":{"reasoning_content":null}}],"usage":null}"#),
            r#"{"choices":[{"message":{"reasoning_content":"A"}},{"message":{"reasoning_content":"A"}}],"usage":null}"#
        );
        assert_eq!(
            applied("A", r#"{"choices":[{"message":{"content":"C","reasoning_content":"B"}}]}"#),
            r#"{"choices":[{"message":{"content":"C","reasoning_content":"A\n\nB"}}]}"#
        );
        for other in ["not json", "[]", "{}", r#"{"choices": 7}"#, r#"{"choices": [7]}"#] {
            assert_eq!(applied("A", other), other);
        }
    }

    #[test]
    fn a_whole_answer_can_be_said_as_a_stream() {
        let answer = json!({
            "id": "theirs", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [{
                "index": 0, "finish_reason": "tool_calls",
                "message": { "role": "assistant", "content": "C", "tool_calls": [{ "id": "call", "function": {} }] },
            }],
            "usage": { "total_tokens": 2 },
        });
        let stream = as_stream(answer.to_string().as_bytes(), &edits(), true).expect("an answer");
        let events: Vec<_> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let [first, usage, "[DONE]"] = events[..] else { panic!("{events:?}") };
        let first: Value = serde_json::from_str(first).expect("JSON");
        assert_eq!((&first["id"], &first["object"]), (&json!("ours"), &json!("chat.completion.chunk")));
        assert_eq!(first["choices"][0]["delta"]["tool_calls"][0], json!({ "id": "call", "function": {}, "index": 0 }));
        assert_eq!(first["choices"][0]["finish_reason"], "tool_calls");
        let usage: Value = serde_json::from_str(usage).expect("JSON");
        assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &json!({ "total_tokens": 7 })));
        assert!(!as_stream(answer.to_string().as_bytes(), &edits(), false).expect("an answer").contains("usage"));
        for other in ["x", "{}", r#"{"choices": []}"#, r#"{"choices": [{}]}"#] {
            assert_eq!(as_stream(other.as_bytes(), &edits(), true), None);
        }
    }
}
