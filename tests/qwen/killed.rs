use std::fs;

use serde_json::{Value, json};

use crate::{
    Login, NEW, OLD, OPEN, REFRESH, question,
    support::{Binary, Client, Gate, Reply, Upstream, post_json},
    takes,
};

/// What the file may hold at any time: the old tokens or the new ones, whole.
fn is_valid(file: &Value) -> bool {
    let tokens = (&file["access_token"], &file["refresh_token"]);
    let known = [(&json!(OLD), &json!(REFRESH)), (&json!(NEW), &json!("canary-next"))].contains(&tokens);
    known && file["mine"] == json!({ "kept": true })
}

#[tokio::test]
async fn leaves_a_whole_file_at_every_step_of_a_renewal() {
    for round in 0..6 {
        let gate = Gate::new();
        let held = gate.clone();
        let granted = json!({ "access_token": NEW, "refresh_token": "canary-next", "expires_in": 3600 });
        let tokens = Upstream::start(move |_| Reply::json(200, &granted).held_by(&held));
        let login = Login::with_tokens(takes(NEW), tokens);
        login.write(-5);
        // The lock of a process that was killed is stale soon.
        let stale =
            format!("lock: {{ path: \"{}\", stale: 0.2 }}, allow_hosts", login.path().with_extension("lock").display());
        let config = login.config("").replace("allow_hosts", &stale);
        let serve = || Binary::new(["--port", "0", "-c", "c.yaml", OPEN]).file("c.yaml", &config).start();

        let killed = serve();
        let addr = killed.listening().await;
        let mut client = Client::connect(addr).await;
        client.post("/v1/chat/completions", &question("qwen-plus"), &[]).await;
        login.tokens.wait_for(1).await;
        if round > 0 {
            // The answer is on its way, and the process is killed a little later each time.
            gate.open();
            let writes = || fs::read_dir(login.folder.path()).expect("a folder").count();
            for _ in 0..(round - 1) * 80 {
                writes();
                tokio::task::yield_now().await;
            }
        }
        drop(killed);
        assert!(is_valid(&login.file()), "round {round}: {}", login.file());

        gate.open();
        let again = serve();
        let answer = post_json(again.listening().await, "/v1/chat/completions", &question("qwen-plus"), &[]).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        assert_eq!(login.file()["access_token"], NEW);
    }
}
