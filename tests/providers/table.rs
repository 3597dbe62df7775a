//! Each row of the table: a chat, a stream, the quota, and what happens when nothing is left.

use pointsman::provider::presets::PRESETS;
use serde_json::json;

use crate::{
    rows::{ROWS, Says, row},
    support::{Deployed, Refusing, Reply, Upstream, backend, backends, post_json},
    vendor::Vendor,
};

const OTHER: &str = "other";

/// The configuration of one route, `m`, that goes to the backend of this entry under a condition, and then to another.
fn route(name: &str, entry: String, condition: &str, other: &Upstream) -> String {
    format!(
        "models: [{{ name: m, providers: [{{ provider: {name}, model: theirs, condition: '{condition}' }}, \
         {{ provider: {OTHER} }}] }}]\n{}",
        backends([entry, backend(OTHER, &other.url(""), "")])
    )
}

#[test]
fn every_preset_has_a_row() {
    let presets: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
    let rows: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(rows, presets);
    for (row, preset) in ROWS.iter().zip(&PRESETS) {
        // The path, the form of the key and the place of the quota are the preset's own.
        if let Some(base) = preset.base_url {
            let path = base.parse::<http::Uri>().unwrap().path().trim_end_matches('/').to_owned();
            assert_eq!(path, row.base, "{}", row.name);
        }
        assert_eq!(preset.quota.is_some(), matches!(row.says, Says::Asked { .. }), "{}", row.name);
        assert_eq!(preset.quota_headers.is_empty(), !says_headers(preset.name), "{}", row.name);
        if let (Some(quota), Says::Asked { method, path, .. }) = (&preset.quota, &row.says) {
            assert_eq!(
                (quota.method, quota.url.parse::<http::Uri>().unwrap().path()),
                (*method, *path),
                "{}",
                row.name
            );
        }
    }
}

/// Whether answers of this provider say something in headers, whatever else can be asked.
fn says_headers(name: &str) -> bool {
    matches!(row(name).says, Says::Headers(_)) || ["github-copilot", "huggingface"].contains(&name)
}

#[tokio::test]
async fn a_chat_and_a_stream_reach_every_one() {
    for row in &ROWS {
        let vendor = Vendor::start(row, 9);
        let config = format!("default_backend: {}\n{}", row.name, backends([vendor.entry()]));
        let gateway = Deployed::start(&config);
        let client = [("authorization", "Bearer client"), ("x-api-key", "client"), ("cookie", "a=client")];
        let question = json!({ "model": "theirs", "messages": [] });
        let answer = post_json(gateway.addr(), "/v1/chat/completions", &question, &client).await;
        assert_eq!(answer.status, 200, "{}: {}", row.name, answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], row.name);
        assert_eq!(answer.header("x-pointsman-provider"), Some(row.name));

        let stream = gateway.stream("theirs").await;
        assert_eq!(stream.status, 200, "{}: {}", row.name, stream.text());
        assert!(stream.events()[0].contains(row.name) && stream.events().ends_with(&["[DONE]"]), "{}", stream.text());

        assert_eq!((vendor.asked().len(), vendor.fetches()), (2, 0), "{}: no condition reads the quota", row.name);
        for request in vendor.asked() {
            assert_eq!(request.json()["model"], "theirs", "{}", row.name);
            assert!(!format!("{:?}", request.headers).contains("client"), "{}", row.name);
        }
    }
}

#[tokio::test]
async fn a_condition_reads_the_quota_of_every_one_and_moves_on_when_it_is_used_up() {
    for row in &ROWS {
        let vendor = Vendor::start(row, 2);
        let other = Upstream::always(Reply::chat(OTHER));
        let gateway = Deployed::start(&route(row.name, vendor.entry(), row.condition, &other));
        let mut answered = Vec::new();
        for n in 0..5 {
            let answer = if n % 2 == 0 { gateway.chat("m").await } else { gateway.stream("m").await };
            assert_eq!(answer.status, 200, "{}: {}", row.name, answer.text());
            answered.push(answer.header("x-pointsman-provider").unwrap_or_default().to_owned());
        }
        assert_eq!(answered, [row.name, row.name, OTHER, OTHER, OTHER], "{}", row.condition);
        // Headers say it before anybody is refused. What has to be asked for is known to be out of date by the refusal.
        let expected = match &row.says {
            Says::Headers(_) => (2, 0),
            Says::Asked { .. } => (3, 2),
            Says::Nothing => (3, 0),
        };
        assert_eq!((vendor.asked().len(), vendor.fetches()), expected, "{}", row.name);

        let skipped = gateway.chat("m").await;
        let timing = skipped.headers.all("server-timing").next().unwrap_or_default().to_owned();
        assert!(timing.contains("closed: "), "{}: {timing}", row.name);
    }
}

#[tokio::test]
async fn the_refusal_of_every_one_goes_up_as_it_came() {
    for row in &ROWS {
        let vendor = Vendor::start(row, 0);
        let config = format!("default_backend: {}\n{}", row.name, backends([vendor.entry()]));
        let gateway = Deployed::start(&config);
        let answer = gateway.chat("theirs").await;
        assert_eq!((answer.status, answer.json()), vendor.refusal(), "{}", row.name);
        assert_eq!(gateway.errors(row.name), 1, "{}", row.name);
        vendor.set_left(1);
        assert_eq!(gateway.chat("theirs").await.status, 200, "{}", row.name);
    }
}

#[tokio::test]
async fn a_quota_that_cannot_be_had_counts_as_nothing() {
    for row in ROWS.iter().filter(|row| matches!(row.says, Says::Asked { .. })) {
        let vendor = Vendor::start(row, 9);
        let other = Upstream::always(Reply::chat(OTHER));
        let nobody = Refusing::new();
        let config = route(row.name, vendor.entry_asking(&nobody.url("")), row.condition, &other);
        let answer = Deployed::start(&config).chat("m").await;
        assert_eq!(answer.header("x-pointsman-provider"), Some(OTHER), "{}", row.name);
        assert!(vendor.asked().is_empty(), "{}", row.name);
    }
}

#[tokio::test]
async fn copilot_s_snapshot_headers_are_read_without_a_request_of_their_own() {
    let row = row("github-copilot");
    let snapshot = |left: u32| {
        Reply::chat("copilot").header(
            "x-quota-snapshot-premium_interactions",
            &format!("ent=300&ov=0.0&ovPerm=false&rem={left}.5&rst=2099-01-01T00%3A00%3A00Z"),
        )
    };
    let vendor = Upstream::script([snapshot(2), snapshot(1)]);
    let other = Upstream::always(Reply::chat(OTHER));
    let entry = format!(
        "  github-copilot: {{ base_url: \"{0}\", api_key: k, {1}, quota: {{ url: \"{0}/copilot_internal/user\" }} }}\n",
        vendor.url(""),
        row.config
    );
    let condition = "quota.headers.x-quota-snapshot-premium_interactions.rem > 2";
    let gateway = Deployed::start(&route("GithubCopilot", entry, condition, &other));
    for expected in ["github-copilot", "github-copilot", OTHER, OTHER] {
        assert_eq!(gateway.chat("m").await.header("x-pointsman-provider"), Some(expected));
    }
    assert!(vendor.requests().iter().all(|request| request.path() == "/chat/completions"));
}

#[tokio::test]
async fn anthropic_s_own_api_gets_its_own_form_of_the_key() {
    let server = Upstream::start(|request| Reply::echo(&request));
    let entry = format!("  anthropic: {{ base_url: \"{}\", api_key: k-1 }}\n", server.url("/v1"));
    let gateway = Deployed::start(&format!("default_backend: anthropic\n{}", backends([entry])));
    let question = json!({ "model": "claude", "max_tokens": 1, "messages": [] });
    let client = [("x-api-key", "client"), ("anthropic-version", "2024-10-22"), ("anthropic-beta", "b")];
    for (path, headers) in [
        ("/v1/messages", &[][..]),
        ("/v1/messages/count_tokens", &[]),
        ("/v1/messages", &client),
        ("/v1/chat/completions", &client),
    ] {
        assert_eq!(post_json(gateway.addr(), path, &question, headers).await.status, 200);
    }
    let seen: Vec<_> = server
        .requests()
        .iter()
        .map(|it| ["x-api-key", "authorization", "anthropic-version"].map(|name| it.header(name).map(str::to_owned)))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            [some("k-1"), None, some("2023-06-01")],
            [some("k-1"), None, some("2023-06-01")],
            // The client speaks a version of its own.
            [some("k-1"), None, some("2024-10-22")],
            [None, some("Bearer k-1"), some("2024-10-22")],
        ]
    );
}

mod others_logins {
    use super::*;
    use crate::support::Binary;

    fn config(vendor: &Vendor, accept: &str) -> String {
        let entry = vendor.entry().replace("accept_terms: true", accept);
        format!("default_backend: GithubCopilot\n{}", backends([entry]))
    }

    #[tokio::test]
    async fn are_closed_until_their_terms_are_accepted() {
        let vendor = Vendor::start(row("github-copilot"), 9);
        for closed in ["accept_terms: ~", "accept_terms: false"] {
            let answer = Deployed::start(&config(&vendor, closed)).chat("gpt-4o").await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("backend_disabled")));
            assert!(answer.text().contains("backends.github-copilot.accept_terms"), "{}", answer.text());
        }
        assert!(vendor.server.requests().is_empty());
        assert_eq!(Deployed::start(&config(&vendor, "accept_terms: true")).chat("gpt-4o").await.status, 200);
    }

    #[tokio::test]
    async fn say_their_notice_once_at_start() {
        let vendor = Vendor::start(row("github-copilot"), 9);
        let serve = ["--port", "0", "-c", "c.yaml"];
        let open = Binary::new(serve).file("c.yaml", config(&vendor, "accept_terms: true")).start();
        let question = json!({ "model": "m", "messages": [] });
        let answer = post_json(open.listening().await, "/v1/chat/completions", &question, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(open.stderr().matches("keeping GitHub's terms is up to you").count(), 1, "{}", open.stderr());

        let closed = Binary::new(serve).file("c.yaml", config(&vendor, "accept_terms: ~")).start();
        closed.listening().await;
        assert!(!closed.stderr().contains("keeping GitHub's terms"), "{}", closed.stderr());
    }

    #[tokio::test]
    async fn are_for_this_machine_alone() {
        let vendor = Vendor::start(row("github-copilot"), 9);
        let serve = ["--port", "0", "-c", "c.yaml", "--host", "0.0.0.0"];
        let config = config(&vendor, "accept_terms: true");
        let refused = Binary::new(serve).env("POINTSMAN_API_KEYS", "k").file("c.yaml", config).run().await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stderr.contains("for this machine alone"), "{}", refused.stderr);
    }
}
