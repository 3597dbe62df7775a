use std::{ops::Range, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::Value;

use super::object::read_object;
use crate::{
    body::ReplayBody,
    condition::{Condition, OnUnknown},
};

/// One candidate of a [`Route`](super::Route).
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) provider: Arc<str>,
    pub(super) model: Arc<str>,
    /// The model as a JSON string, ready to be spliced in.
    model_json: Bytes,
    /// The same for a form.
    model_text: Bytes,
    pub(super) condition: Option<Arc<Condition>>,
    pub(super) on_unknown: OnUnknown,
    parameters: Vec<Parameter>,
}

/// What a candidate makes of one key at the top level of the body.
#[derive(Clone, Debug)]
struct Parameter {
    name: Box<str>,
    value: Value,
    /// The value, ready to be spliced in.
    json: Bytes,
    /// Whether it replaces what the body says.
    is_forced: bool,
}

impl Target {
    /// A provider, and the model to ask it for.
    pub fn new(provider: impl Into<Arc<str>>, model: impl Into<Arc<str>>) -> Self {
        let model = model.into();
        Self {
            provider: provider.into(),
            model_json: json(&*model),
            model_text: Bytes::copy_from_slice(model.as_bytes()),
            model,
            condition: None,
            on_unknown: OnUnknown::default(),
            parameters: Vec::new(),
        }
    }

    /// Makes the candidate eligible only while `condition` holds. The condition layer in front of the provider
    /// evaluates it.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(Arc::new(condition));
        self
    }

    /// What it means for the condition that no quota could be had.
    #[must_use]
    pub fn on_unknown(mut self, on_unknown: OnUnknown) -> Self {
        self.on_unknown = on_unknown;
        self
    }

    /// Sends this value for a key at the top level of a JSON body, whatever the client sends. A later call for the same
    /// key replaces an earlier one. `model` is no parameter: [`new`](Self::new) says it.
    ///
    /// ```
    /// use pointsman_layers::route::Target;
    ///
    /// let target = Target::new("groq", "llama-3.3-70b").parameter("temperature", 0.2).default_parameter("seed", 7);
    /// let parameters: Vec<_> = target.parameters().collect();
    /// assert_eq!(parameters, [("temperature", &0.2.into(), true), ("seed", &7.into(), false)]);
    /// ```
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.parameters.retain(|parameter| *parameter.name != *name);
        self.push(name, value.into(), true);
        self
    }

    /// Sends this value for a key that the client leaves out and that nothing else sets.
    #[must_use]
    pub fn default_parameter(mut self, name: &str, value: impl Into<Value>) -> Self {
        if self.parameters.iter().all(|parameter| *parameter.name != *name) {
            self.push(name, value.into(), false);
        }
        self
    }

    fn push(&mut self, name: &str, value: Value, is_forced: bool) {
        if name != "model" {
            self.parameters.push(Parameter { name: name.into(), json: json(&value), value, is_forced });
        }
    }

    /// The name of the provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The model to ask it for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What has to hold for it to be asked, and what it means that no quota could be had.
    pub fn gate(&self) -> Option<(&Condition, OnUnknown)> {
        self.condition.as_deref().map(|condition| (condition, self.on_unknown))
    }

    /// The name and value of each parameter, and whether it replaces what the client sends.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Value, bool)> {
        self.parameters.iter().map(|parameter| (&*parameter.name, &parameter.value, parameter.is_forced))
    }

    /// The form for this candidate: its model in place of what stands at `model`.
    pub(super) fn edit_form(&self, body: &ReplayBody, model: &Range<usize>) -> ReplayBody {
        body.splice(model.clone(), self.model_text.clone())
    }

    /// The body for this candidate: its model in place of what stands at `model`, and its parameters. Whatever else the
    /// client wrote stays as it is. Parameters go into JSON objects alone.
    pub(super) fn edit(&self, body: &ReplayBody, model: &Range<usize>) -> ReplayBody {
        if self.parameters.is_empty() {
            return body.splice(model.clone(), self.model_json.clone());
        }
        let mut edits = Vec::new();
        let mut is_there = vec![false; self.parameters.len()];
        let read = read_object(
            &body.to_bytes(),
            |key| self.parameters.iter().position(|parameter| parameter.name.as_bytes() == key),
            |index, span| {
                is_there[index] = true;
                // A key may stand there twice, and readers differ in which one they take.
                if self.parameters[index].is_forced {
                    edits.push((span, self.parameters[index].json.clone()));
                }
            },
        );
        let mut model_json = BytesMut::from(&*self.model_json);
        if read.is_ok() {
            let missing = self.parameters.iter().zip(is_there).filter(|(_, is_there)| !is_there);
            for (parameter, _) in missing {
                model_json.put_u8(b',');
                model_json.put(json(&*parameter.name));
                model_json.put_u8(b':');
                model_json.put(parameter.json.clone());
            }
        } else {
            edits.clear();
        }
        let place = edits.partition_point(|(span, _)| span.start < model.start);
        edits.insert(place, (model.clone(), model_json.freeze()));
        body.splice_all(edits)
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("strings and JSON values always serialize").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::route::ModelField;

    fn edited(target: &Target, body: &str) -> String {
        let model = ModelField::find(body.as_bytes()).expect("a model").span;
        let edited = target.edit(&body.to_owned().into(), &model).to_bytes();
        String::from_utf8(edited.to_vec()).expect("text")
    }

    #[test]
    fn parameters_go_in_and_the_rest_stays() {
        let target = Target::new("p", "m").parameter("temperature", 0.7).default_parameter("seed", 7);
        let rest = r#""x" : {"temperature": 9, "seed":[]}, "big":1e400, "big":1E400"#;
        assert_eq!(
            edited(&target, &format!(r#" {{ {rest},"model" : "a" }} "#)),
            format!(r#" {{ {rest},"model" : "m","temperature":0.7,"seed":7 }} "#),
        );
        assert_eq!(
            edited(&target, &format!(r#"{{"t":0,"temp\u0065rature": {{"a":1}} ,"model":"a",{rest},"seed":null}}"#)),
            format!(r#"{{"t":0,"temp\u0065rature": 0.7 ,"model":"m",{rest},"seed":null}}"#),
        );
        // Twice in the body, set twice.
        assert_eq!(
            edited(&target, r#"{"temperature":1,"model":"a","seed":1,"temperature":2}"#),
            r#"{"temperature":0.7,"model":"m","seed":1,"temperature":0.7}"#,
        );
    }

    #[test]
    fn the_last_word_on_a_parameter_counts_and_a_default_is_no_word() {
        let target = Target::new("p", "m")
            .default_parameter("seed", 1)
            .parameter("seed", 2)
            .default_parameter("seed", 3)
            .parameter("n\"", "four");
        assert_eq!(edited(&target, r#"{"model":"a","seed":0}"#), r#"{"model":"m","n\"":"four","seed":2}"#);
    }

    #[test]
    fn the_model_is_no_parameter() {
        let target = Target::new("p", "m").parameter("model", "other").default_parameter("model", "another");
        assert_eq!(target.parameters().count(), 0);
        assert_eq!(edited(&target.parameter("seed", 1), r#"{"model":"a"}"#), r#"{"model":"m","seed":1}"#);
    }

    #[test]
    fn a_body_that_is_no_json_object_takes_the_model_alone() {
        let target = Target::new("p", "m").parameter("seed", 2);
        let body = ReplayBody::from("--b model=x --b");
        assert_eq!(target.edit(&body, &(10..11)).to_bytes(), "--b model=\"m\" --b");
    }

    proptest! {
        #[test]
        fn every_other_key_keeps_its_bytes(
            keys in prop::collection::vec(("[a-d]", "[1-9][0-9]{0,2}|\"x\"|\\[1, 2\\]|\\{\"a\": 1\\}", "[ \n]{0,2}"), 0..8),
            place in any::<prop::sample::Index>(),
        ) {
            let target = Target::new("p", "m").parameter("a", json!([1])).default_parameter("b", json!({"z": 0}));
            let mut fields: Vec<_> = keys.iter().map(|(key, value, space)| format!("{space}\"{key}\":{space}{value}")).collect();
            fields.insert(place.index(fields.len() + 1), "\"model\":\"q\"".to_owned());
            let body = format!("{{{}}}", fields.join(","));

            let edited = edited(&target, &body);
            let whole: Value = serde_json::from_str(&edited).expect("JSON");
            prop_assert_eq!(&whole["model"], "m");
            prop_assert_eq!(&whole["a"], &json!([1]));
            let has = |wanted: &str| keys.iter().any(|(key, ..)| key == wanted);
            prop_assert_eq!(whole["b"] == json!({"z": 0}), !has("b"));
            // In the model, the same fields at the same places, written out the slow way.
            let mut expected: Vec<_> = keys.iter().map(|(key, value, space)| {
                format!("{space}\"{key}\":{space}{}", if key == "a" { "[1]" } else { value })
            }).collect();
            let mut model = "\"model\":\"m\"".to_owned();
            if !has("a") { model += ",\"a\":[1]"; }
            if !has("b") { model += ",\"b\":{\"z\":0}"; }
            expected.insert(place.index(expected.len() + 1), model);
            prop_assert_eq!(edited, format!("{{{}}}", expected.join(",")));
        }
    }
}
