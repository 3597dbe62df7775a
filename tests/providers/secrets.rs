//! A key goes to the servers of its own backend, and nowhere else.

use serde_json::json;

use crate::{
    rows::{ROWS, Says},
    support::{Deployed, Received, Reply, Upstream, backend, backends, post_json},
    vendor::{Vendor, key},
};

const CLIENT: &str = "key-of-the-client-91c2";

/// All that a request brought.
fn text(request: &Received) -> String {
    format!("{} {:?} {}", request.target, request.headers, String::from_utf8_lossy(&request.body))
}

/// Everything that is secret here, the keys of all backends first.
fn secrets(more: &[&str]) -> Vec<String> {
    let keys = ROWS.iter().map(|row| row.name).chain(more.iter().copied()).map(key);
    keys.chain([CLIENT.to_owned(), "token-for-the-quota".to_owned()]).collect()
}

#[tokio::test]
async fn no_server_sees_the_key_of_another_backend() {
    // Nobody has anything left, so that each one's quota is asked for, and each one refuses.
    let vendors: Vec<Vendor> = ROWS.iter().map(|row| Vendor::start(row, 0)).collect();
    let candidates: Vec<String> = ROWS
        .iter()
        .map(|row| {
            // Without what headers say, which lets the first request through as it is.
            let condition = match row.says {
                Says::Asked { .. } => format!("{} or error_count < 99", row.condition),
                _ => "error_count < 99".to_owned(),
            };
            format!("{{ provider: {}, condition: '{condition}' }}", row.name)
        })
        .collect();
    let config = format!(
        "models: [{{ name: m, providers: [{}] }}]\n{}",
        candidates.join(", "),
        backends(vendors.iter().map(Vendor::entry))
    );
    let gateway = Deployed::start(&config);
    let bearer = format!("Bearer {CLIENT}");
    let cookie = format!("session={CLIENT}");
    let client = [
        ("authorization", &*bearer),
        ("x-api-key", CLIENT),
        ("api-key", CLIENT),
        ("x-goog-api-key", CLIENT),
        ("cookie", &cookie),
    ];
    let all = secrets(&[]);
    for path in ["chat/completions", "messages", "responses", "embeddings", "completions", "rerank", "moderations"] {
        for stream in [false, true] {
            let question = json!({ "model": "m", "messages": [], "stream": stream });
            let answer = post_json(gateway.addr(), &format!("/v1/{path}"), &question, &client).await;
            let shown = format!("{:?} {}", answer.headers, answer.text());
            assert!(all.iter().all(|secret| !shown.contains(secret)), "{path}: {shown}");
        }
    }
    for vendor in &vendors {
        let own = key(vendor.row.name);
        let is_own = |secret: &String| {
            *secret == own
                || (secret.starts_with("token")
                    && matches!(vendor.row.says, Says::Asked { wants, .. } if wants.1.contains(&**secret)))
        };
        let requests = vendor.server.requests();
        assert!(vendor.asked().len() >= 14, "{}: each path, plain and as a stream", vendor.row.name);
        assert_eq!(vendor.fetches() > 0, matches!(vendor.row.says, Says::Asked { .. }), "{}", vendor.row.name);
        for request in requests {
            let text = text(&request);
            let foreign: Vec<_> = all.iter().filter(|it| !is_own(it) && text.contains(&**it)).collect();
            assert!(foreign.is_empty(), "{} saw {foreign:?} in {text}", vendor.row.name);
            assert!(vendor.row.wants.is_empty() || text.contains(&own) || text.contains("token-for"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_redirect_takes_no_key_along() {
    let target = Upstream::start(|request| Reply::echo(&request));
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = target.url("/v1/chat/completions");
        let quota = target.url("/quota");
        let server = Upstream::start(move |request| match request.path() {
            "/quota" => Reply::redirect(status, &quota),
            _ => Reply::redirect(status, &elsewhere),
        });
        let entry = backend("moved", &server.url(""), &format!("quota: {{ url: \"{}\" }}", server.url("/quota")));
        let target_entry = backend("target", &target.url(""), "");
        let gateway = Deployed::start(&format!(
            "models: [{{ name: m, providers: [{{ provider: moved, condition: balance > 0 or error_count < 9 }}] }}]\n{}",
            backends([entry, target_entry])
        ));
        let answer = gateway.chat("m").await;
        // It is the answer: where it leads is for the client to decide.
        assert_eq!((answer.status, answer.header("x-pointsman-provider")), (status, Some("moved")));
        assert_eq!(server.requests().len(), 2, "one for the quota, one for the answer");
    }
    assert!(target.requests().is_empty(), "{:?}", target.requests());
}

#[tokio::test]
async fn a_quota_at_another_host_gets_no_key_unless_it_is_told() {
    let server = Upstream::always(Reply::chat("answer"));
    let elsewhere = Upstream::always(Reply::quota(&json!({ "balance": 1 })));
    // Another name is another host, wherever it leads.
    let quota = format!("http://localhost:{}/quota", elsewhere.addr().port());
    for (headers, seen) in [("", None), (", headers: { x-token: \"${api_key}\" }", Some("key-of-a"))] {
        let entry = backend("a", &server.url(""), &format!("quota: {{ url: \"{quota}\"{headers} }}"));
        let route = "models: [{ name: m, providers: [{ provider: a, condition: balance > 0 }] }]";
        let gateway = Deployed::start(&format!("{route}\n{}", backends([entry])));
        assert_eq!(gateway.chat("m").await.status, 200);
        let request = elsewhere.requests().pop().unwrap();
        assert_eq!((request.header("x-token"), request.header("authorization")), (seen, None));
    }
}

#[tokio::test]
async fn one_that_echoes_what_it_was_sent_gives_no_key_away() {
    for row in ROWS.iter().filter(|row| !row.wants.is_empty()) {
        let echo = Upstream::start(|request| {
            let all = format!("{:?}", request.headers).replace(['\n', '\r'], " ");
            Reply::chat("x").header("x-debug", &all).header("x-request-id", "r-1")
        });
        let entry = format!(
            "  {}: {{ base_url: \"{}\", api_key: {}, {} }}\n",
            row.name,
            echo.url(row.base),
            key(row.name),
            if row.config.is_empty() { "models: []" } else { row.config }
        );
        let gateway = Deployed::start(&format!("default_backend: {}\n{}", row.name, backends([entry])));
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let answer = post_json(gateway.addr(), path, &json!({ "model": "m" }), &[]).await;
            assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("r-1")));
            assert!(!format!("{:?}", answer.headers).contains(&key(row.name)), "{} {path}", row.name);
        }
    }
}
