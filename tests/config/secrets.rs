use pointsman::Gateway;

use crate::support::load;

/// A credential wherever one can stand.
const SECRETS: &str = "
server: { api_keys: [canary-1, canary-2], admin_keys: [canary-3] }
backends:
  a:
    type: openai
    base_url: \"http://127.0.0.1:1/v1\"
    api_key: canary-4
    headers: { x-extra: canary-5, authorization: Bearer canary-6 }
    quota: { url: \"http://127.0.0.1:1/q?key=canary-7\", headers: { x-key: canary-8 } }
  b:
    type: openai
    base_url: \"http://127.0.0.1:1/v1\"
    oauth:
      path: gone.json
      refresh: { url: \"http://127.0.0.1:1/t\", client_id: x, fields: { client_secret: canary-9 } }
      headers: { x-other: canary-10 }
models: [{ name: m, providers: [{ provider: a }, { provider: b }] }]
";

#[tokio::test]
async fn are_in_no_debug_output() {
    let loaded = load(SECRETS).unwrap_or_else(|wrong| panic!("{wrong}"));
    let shown = format!("{:?} {:#?}", loaded, loaded.config);
    assert!(shown.contains("api_keys") && !shown.contains("canary"), "{shown}");
    let gateway = Gateway::from_config(loaded.config);
    let shown = format!("{gateway:?} {:?} {:?}", gateway.error_counts(), gateway.quotas());
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn are_in_no_diagnostic() {
    for (good, bad, seen) in [
        ("api_key: canary-4", "api_key: [canary-4]", None),
        // Under a name that nobody knows there may be anything.
        ("headers: { x-extra", "hoaders: { x-extra", Some(5)),
        ("headers: { x-extra: canary-5", "headers: { x-extra: canary-5, \"a b\": canary-5", None),
        ("headers: { x-extra: canary-5", "oops: 1, headers: { x-extra: canary-5", None),
        ("client_id: x", "client_id: [x]", None),
    ] {
        let wrong = load(&SECRETS.replacen(good, bad, 1)).expect_err("it is wrong");
        let shown = format!("{wrong} {wrong:?} {}", wrong.render(true));
        for number in (1..=10).filter(|number| Some(*number) != seen) {
            let canary = format!("canary-{number}");
            let is_shown = shown.match_indices(&canary).any(|(at, _)| !shown[at + canary.len()..].starts_with('0'));
            assert!(!is_shown, "{number}: {shown}");
        }
    }
}
