//! A provider at work.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::{
    rows::{Limited, Row, Says},
    support::{Received, Reply, Upstream},
};

/// A server that behaves as a provider of the table does.
pub(crate) struct Vendor {
    pub(crate) row: &'static Row,
    pub(crate) server: Upstream,
    left: Arc<AtomicU32>,
}

impl Vendor {
    /// Starts it with so many requests left.
    pub(crate) fn start(row: &'static Row, left: u32) -> Self {
        let left = Arc::new(AtomicU32::new(left));
        let counter = Arc::clone(&left);
        let server = Upstream::start(move |request| answer(row, &counter, &request));
        Self { row, server, left }
    }

    pub(crate) fn set_left(&self, left: u32) {
        self.left.store(left, Ordering::SeqCst);
    }

    /// Its entry in `backends`: what differs from the preset is where it is, its key, and what the user has to give.
    pub(crate) fn entry(&self) -> String {
        self.entry_asking(&self.server.url(""))
    }

    /// As [`entry`](Self::entry), with the server at `quota` asked for the quota.
    pub(crate) fn entry_asking(&self, quota: &str) -> String {
        let Row { name, base, config, .. } = self.row;
        let mut keys = vec![format!("base_url: \"{}\"", self.server.url(base)), (*config).to_owned()];
        if !self.row.wants.is_empty() {
            keys.push(format!("api_key: {}", key(name)));
        }
        if let Says::Asked { path, wants, body, .. } = &self.row.says {
            let mut quota = format!("url: \"{quota}{path}\"");
            if !wants.1.contains("KEY") {
                quota += &format!(", headers: {{ {}: \"{}\" }}", wants.0, wants.1);
            }
            if let Some(body) = body {
                quota += &format!(", body: {body}");
            }
            keys.push(format!("quota: {{ {quota} }}"));
        }
        keys.retain(|key| !key.is_empty());
        format!("  {name}: {{ {} }}\n", keys.join(", "))
    }

    /// The requests for an answer, which is all but those for the quota.
    pub(crate) fn asked(&self) -> Vec<Received> {
        self.server.requests().into_iter().filter(|request| !is_for_quota(self.row, request)).collect()
    }

    /// How often its quota was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.server.requests().len() - self.asked().len()
    }

    /// Its answer when nothing is left.
    pub(crate) fn refusal(&self) -> (u16, Value) {
        let (status, body, _) = refusal(self.row.limited);
        (status, body)
    }
}

/// The key of a backend.
pub(crate) fn key(name: &str) -> String {
    format!("key-of-{name}-7f3a")
}

fn is_for_quota(row: &Row, request: &Received) -> bool {
    matches!(&row.says, Says::Asked { path, .. } if request.path() == *path)
}

fn answer(row: &Row, left: &AtomicU32, request: &Received) -> Reply {
    let has = |(name, value): &(&str, &str)| request.header(name) == Some(&value.replace("KEY", &key(row.name)));
    match &row.says {
        Says::Asked { method, wants, body, answer, .. } if is_for_quota(row, request) => {
            let body_is_right = body.is_none_or(|body| *request.body == *body.as_bytes());
            if request.method != *method || !has(wants) || !body_is_right {
                return Reply::error(401, "unauthorized", "not a request for the quota");
            }
            return Reply::quota(&answer(left.load(Ordering::SeqCst)));
        }
        _ => {}
    }
    if request.method != "POST" || request.path() != format!("{}/chat/completions", row.base) {
        return Reply::error(404, "not_found", "no such path");
    }
    let sent_a_key =
        ["authorization", "x-api-key", "api-key", "cookie"].iter().any(|name| request.header(name).is_some());
    if !row.wants.iter().all(has) || (row.wants.is_empty() && sent_a_key) {
        return Reply::error(401, "invalid_api_key", "the key is not in the form that is wanted");
    }
    let taken = left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    let reply = match taken {
        Err(_) => limited(row.limited),
        Ok(_) if request.json()["stream"] == true => Reply::chat_stream([row.name, "!"]),
        Ok(_) => Reply::chat(row.name),
    };
    let Says::Headers(headers) = &row.says else { return reply };
    let left = left.load(Ordering::SeqCst).to_string();
    headers.iter().fold(reply, |reply, (name, value)| reply.header(name, &value.replace("LEFT", &left)))
}

fn limited(limited: Limited) -> Reply {
    let (status, body, retry_after) = refusal(limited);
    let reply = Reply::json(status, &body);
    if retry_after { reply.header("retry-after", "17") } else { reply }
}

/// The status, the body, and whether there is a `Retry-After`.
fn refusal(limited: Limited) -> (u16, Value, bool) {
    let text = "Rate limit reached for this model.";
    match limited {
        Limited::OpenAi => {
            let error = json!({ "message": text, "type": "requests", "param": null, "code": "rate_limit_exceeded" });
            (429, json!({ "error": error }), true)
        }
        Limited::Anthropic => {
            (429, json!({ "type": "error", "error": { "type": "rate_limit_error", "message": text } }), true)
        }
        Limited::Google => {
            let details = json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s" }]);
            let error = json!({ "code": 429, "message": text, "status": "RESOURCE_EXHAUSTED", "details": details });
            (429, json!([{ "error": error }]), false)
        }
        Limited::GitHub => (429, json!({ "message": "rate limit exceeded", "documentation_url": "https://x" }), true),
        Limited::DashScope => {
            let error = json!({ "message": text, "type": "limit_requests", "code": "limit_requests" });
            (429, json!({ "error": error, "request_id": "r" }), false)
        }
        Limited::DeepInfra => (429, json!({ "detail": { "error": "Model busy, retry later" } }), false),
        Limited::Busy => (503, json!({ "error": { "message": "server busy, please try again." } }), false),
    }
}
