//! What a model's answer holds of its reasoning.

use serde_json::Value;

use super::tags::{Piece, Tag, TagReader};

/// More than this of a reasoning is not waited for.
pub(super) const MAX_CHARS: usize = 16_384;

/// Collects the reasoning from the chunks of a chat completion, or from a whole one.
///
/// Reasoning is what comes as `reasoning_content` or `reasoning`, and text between tags. It is over at the closing tag,
/// at the first other text, at a tool call, at a finish reason, and when it is long enough. Text that comes first, from a
/// model that shows no reasoning apart, counts as reasoning.
#[derive(Debug)]
pub(super) struct Reasoning {
    text: String,
    chars: usize,
    max_chars: usize,
    /// How much of the text was handed on.
    handed_on: usize,
    tags: TagReader,
    /// The tag that is open.
    inside: Option<&'static Tag>,
    /// Something set this reasoning apart from an answer.
    is_marked: bool,
    is_over: bool,
    is_finished: bool,
    error: Option<String>,
    usage: Option<Value>,
}

impl Reasoning {
    pub(super) fn new(max_chars: usize) -> Self {
        Self {
            text: String::new(),
            chars: 0,
            max_chars,
            handed_on: 0,
            tags: TagReader::default(),
            inside: None,
            is_marked: false,
            is_over: false,
            is_finished: false,
            error: None,
            usage: None,
        }
    }

    /// Reads a chunk, or a whole completion.
    pub(super) fn read(&mut self, chunk: &Value) {
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(usage.clone());
        }
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").unwrap_or(error);
            self.fail(message.as_str().map_or_else(|| message.to_string(), str::to_owned));
        }
        let Some(choice) = chunk.get("choices").and_then(|choices| choices.get(0)) else { return };
        if let Some(said) = choice.get("delta").or(choice.get("message")).filter(|_| !self.is_over) {
            self.read_message(said);
        }
        if choice.get("finish_reason").is_some_and(Value::is_string) {
            self.is_finished = true;
            self.end();
        }
    }

    fn read_message(&mut self, said: &Value) {
        let text = |key| said.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(reasoning) = text("reasoning_content").or(text("reasoning")) {
            self.is_marked |= !reasoning.trim().is_empty();
            self.push(reasoning);
        }
        if let Some(content) = text("content") {
            let mut tags = std::mem::take(&mut self.tags);
            tags.read(content, |piece| self.read_content(&piece));
            self.tags = tags;
        }
        let calls = |key| said.get(key).is_some_and(|calls| !calls.is_null() && *calls != Value::Array(Vec::new()));
        if calls("tool_calls") || calls("function_call") {
            self.end();
        }
    }

    fn read_content(&mut self, piece: &Piece<'_>) {
        match (piece, self.inside) {
            _ if self.is_over => {}
            (Piece::Tag(tag), Some(open)) if !tag.opens && tag.name == open.name => self.close(),
            (_, Some(_)) => self.push(piece.text()),
            (Piece::Tag(tag), None) if tag.opens => {
                self.inside = Some(tag);
                self.is_marked = true;
            }
            // Opened already in the model's own prompt.
            (Piece::Tag(_), None) => self.close(),
            (Piece::Text(text), None) if self.is_marked => self.is_over = !text.trim().is_empty(),
            (Piece::Text(text), None) => self.push(text),
        }
    }

    /// The end of a tagged reasoning. An empty one is none, as of a model that was told not to reason.
    fn close(&mut self) {
        self.inside = None;
        self.is_marked = false;
        self.is_over = !self.text.is_empty();
    }

    fn push(&mut self, text: &str) {
        let text = if self.text.is_empty() { text.trim_start() } else { text };
        let room = self.max_chars - self.chars;
        match text.char_indices().nth(room) {
            Some((cut, _)) => self.text.push_str(&text[..cut]),
            None => self.text.push_str(text),
        }
        self.chars += text.chars().count().min(room);
        self.is_over |= self.chars == self.max_chars;
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        let held = self.tags.finish();
        if !held.is_empty() {
            self.read_content(&Piece::Text(&held));
        }
        self.is_over = true;
    }

    /// Nothing more comes, and that is not as it should be.
    pub(super) fn fail(&mut self, error: impl Into<String>) {
        self.end();
        self.error.get_or_insert(error.into());
    }

    /// Whether the reasoning is complete.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the model has said that it has said everything.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// What went wrong, if something did.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What the model has used, as far as it was told.
    pub(super) fn usage(&self) -> Option<&Value> {
        self.usage.as_ref()
    }

    /// The reasoning so far, for as much of it as there is.
    pub(super) fn text(&self) -> &str {
        self.text.trim_end()
    }

    /// What came since the last call.
    pub(super) fn take_new(&mut self) -> Option<String> {
        let new = &self.text[self.handed_on..];
        self.handed_on = self.text.len();
        (!new.is_empty()).then(|| new.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delta(delta: &Value) -> Value {
        json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
    }

    /// The reasoning in these deltas, and whether it is over.
    fn collected(deltas: &[Value]) -> (String, bool) {
        let mut reasoning = Reasoning::new(MAX_CHARS);
        let mut handed_on = String::new();
        for said in deltas {
            if !reasoning.is_over() {
                reasoning.read(&delta(said));
                handed_on.extend(reasoning.take_new());
            }
        }
        assert_eq!(handed_on.trim_end(), reasoning.text());
        (reasoning.text().to_owned(), reasoning.is_over())
    }

    fn content(text: &str) -> Value {
        json!({ "content": text })
    }

    #[test]
    fn a_field_of_its_own_holds_it_up_to_the_first_text() {
        for key in ["reasoning_content", "reasoning"] {
            let said = [
                json!({ "role": "assistant", "content": "", key: "" }),
                json!({ key: " First", "content": null }),
                json!({ key: " this.", "content": "" }),
                content("\n\n"),
            ];
            assert_eq!(collected(&said), ("First this.".into(), false));
            let then = [&said[..], &[content("Answer"), json!({ key: "late" })]].concat();
            assert_eq!(collected(&then), ("First this.".into(), true));
        }
        let both = json!({ "reasoning_content": "once", "reasoning": "once", "content": "Answer" });
        assert_eq!(collected(&[both]), ("once".into(), true));
    }

    #[test]
    fn tags_hold_it_wherever_they_are_cut() {
        for name in ["think", "thinking", "reasoning", "reason"] {
            let text = format!("\n<{name}>\nIf a < b, <b> é</think <other></{name}>\n\nAnswer <{name}>");
            let expected = "If a < b, <b> é</think <other>";
            for (cut, _) in text.char_indices() {
                let said = [content(&text[..cut]), content(&text[cut..])];
                assert_eq!(collected(&said), (expected.into(), true), "{cut} in {text}");
            }
            let one_by_one: Vec<_> = text.chars().map(|c| content(&c.to_string())).collect();
            assert_eq!(collected(&one_by_one), (expected.into(), true));
            let open = format!("<{name}>so far</{}", &name[..3]);
            assert_eq!(collected(&[content(&open)]), ("so far".into(), false));
        }
    }

    #[test]
    fn only_the_tag_that_was_opened_closes() {
        let said = [content("<reason>a</think>b<think>c</reasoning>d</reason>e")];
        assert_eq!(collected(&said), ("a</think>b<think>c</reasoning>d".into(), true));
    }

    #[test]
    fn a_tag_that_the_prompt_opened_closes_too() {
        assert_eq!(collected(&[content("I see.</th"), content("ink>Answer")]), ("I see.".into(), true));
    }

    #[test]
    fn an_empty_reasoning_is_none_and_the_answer_counts() {
        let said = [content("<think>\n\n</think>\n\n"), content("The answer"), content(" is 4.")];
        assert_eq!(collected(&said), ("The answer is 4.".into(), false));
    }

    #[test]
    fn what_a_model_says_that_shows_no_reasoning_is_its_reasoning() {
        assert_eq!(collected(&[content("Two and two"), content(" is 4.")]), ("Two and two is 4.".into(), false));
    }

    #[test]
    fn a_tool_call_ends_it() {
        let call = json!({ "tool_calls": [{ "index": 0, "function": { "name": "f" } }] });
        assert_eq!(collected(&[call.clone(), content("x")]), (String::new(), true));
        let reasoned = [json!({ "reasoning_content": "Call f." }), json!({ "tool_calls": [] }), call];
        assert_eq!(collected(&reasoned), ("Call f.".into(), true));
        assert_eq!(collected(&[json!({ "function_call": { "name": "f" } })]), (String::new(), true));
    }

    #[test]
    fn a_finish_reason_ends_it_and_what_may_have_become_a_tag_is_text() {
        let mut reasoning = Reasoning::new(MAX_CHARS);
        reasoning.read(&delta(&content("a <thi")));
        assert_eq!(reasoning.text(), "a");
        reasoning.read(&json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }));
        assert_eq!((reasoning.text(), reasoning.is_over(), reasoning.is_finished()), ("a <thi", true, true));
        reasoning.read(&json!({ "choices": [], "usage": { "total_tokens": 7 } }));
        assert_eq!(reasoning.usage(), Some(&json!({ "total_tokens": 7 })));
    }

    #[test]
    fn enough_is_enough() {
        let mut reasoning = Reasoning::new(10);
        reasoning.read(&delta(&json!({ "reasoning_content": "éééé" })));
        assert!(!reasoning.is_over());
        reasoning.read(&delta(&json!({ "reasoning_content": "0123456789" })));
        assert_eq!((reasoning.text(), reasoning.is_over()), ("éééé012345", true));
        reasoning.read(&delta(&json!({ "reasoning_content": "more" })));
        assert_eq!(reasoning.text(), "éééé012345");
    }

    #[test]
    fn an_error_ends_it() {
        let mut reasoning = Reasoning::new(MAX_CHARS);
        reasoning.read(&json!({ "error": { "message": "overloaded" } }));
        assert_eq!((reasoning.error(), reasoning.is_over()), (Some("overloaded"), true));
    }

    #[test]
    fn a_whole_completion_is_read_as_well() {
        let whole = |message: Value| json!({ "choices": [{ "message": message, "finish_reason": "stop" }] });
        for (message, expected) in [
            (json!({ "reasoning_content": "Think.", "content": "Answer" }), "Think."),
            (json!({ "content": "<think>Think.</think>Answer" }), "Think."),
            (json!({ "content": "Answer" }), "Answer"),
            (json!({ "content": null, "tool_calls": [{}] }), ""),
        ] {
            let mut reasoning = Reasoning::new(MAX_CHARS);
            reasoning.read(&whole(message));
            assert_eq!((reasoning.text(), reasoning.is_over()), (expected, true));
        }
    }
}
