//! What both models have used.

use serde_json::{Map, Value};

/// The sum of two reports, number by number, also those within. What only one of them has is kept.
pub(super) fn sum(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let whole = one.as_i64().zip(other.as_i64()).and_then(|(one, other)| one.checked_add(other));
            whole.map_or_else(|| (one.as_f64().unwrap_or(0.0) + other.as_f64().unwrap_or(0.0)).into(), Value::from)
        }
        (Value::Object(one), Value::Object(other)) => {
            let mut all: Map<String, Value> = one.clone();
            for (key, value) in other {
                let value = one.get(key).map_or_else(|| value.clone(), |one| sum(one, value));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (one, Value::Null) => one.clone(),
        (_, other) => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_add_up_at_every_depth() {
        let one = json!({
            "prompt_tokens": 5, "total_tokens": 12, "cost": 0.5, "tier": "a",
            "completion_tokens_details": { "reasoning_tokens": 7, "audio_tokens": null },
        });
        let other = json!({
            "prompt_tokens": 10, "total_tokens": 30, "cost": 1, "tier": "b", "completion_tokens_details": null,
            "prompt_tokens_details": { "cached_tokens": 3 },
        });
        let both = json!({
            "prompt_tokens": 15, "total_tokens": 42, "cost": 1.5, "tier": "b",
            "completion_tokens_details": { "reasoning_tokens": 7, "audio_tokens": null },
            "prompt_tokens_details": { "cached_tokens": 3 },
        });
        assert_eq!(sum(&one, &other), both);
        assert_eq!(sum(&json!({ "n": i64::MAX }), &json!({ "n": 1 })), json!({ "n": 9_223_372_036_854_775_808_f64 }));
    }
}
