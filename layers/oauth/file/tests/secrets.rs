use std::fmt::{self, Write as _};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::*;

/// What was logged by all tests of this process.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Log;

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LOGGED.lock().unwrap().push_str(&format!("{} {}\n", event.metadata().level(), line.0));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

const CANARY: &str = "canary-5e3a";

#[tokio::test(start_paused = true)]
async fn a_token_is_nowhere_but_where_it_belongs() {
    // Files are read on other threads, so a subscriber of this thread would not do.
    tracing::subscriber::set_global_default(Log).unwrap();
    let token_of = |number: usize| json!({"access_token": format!("{CANARY}-a{number}"), "refresh_token": format!("{CANARY}-r{number}"), "expiry_date": 0});
    let mut shown = String::new();
    for (content, answer) in [
        (token_of(0).to_string(), json!({"access_token": format!("{CANARY}-new"), "expires_in": 1})),
        (token_of(0).to_string(), json!({"error": CANARY, "error_description": CANARY})),
        (token_of(0).to_string(), json!({"access_token": {CANARY: CANARY}})),
        (token_of(0).to_string(), json!({"access_token": CANARY, "resource_url": format!("https://{CANARY}.example")})),
        (format!("{{\"access_token\": {CANARY}}}"), json!({})),
        (format!("{{\"access_token\": \"{CANARY}"), json!({})),
        (json!({"access_token": CANARY, "resource_url": CANARY}).to_string(), json!({})),
        (json!([CANARY]).to_string(), json!({})),
    ] {
        for code in [200, 400, 500] {
            let login = Login::new();
            fs::write(login.path(), &content).unwrap();
            let body = answer.clone();
            let options = login.options().lock(login.lock_path());
            let source = login.source_with(options.clone(), move |_| {
                Ok(Response::builder().status(code).body(body.to_string().into()).unwrap())
            });
            if let Ok(credential) = source.token().await {
                write!(shown, "{credential:?} {:?}", source.refused(&credential).await).unwrap();
            }
            match source.token().await {
                Ok(credential) => write!(shown, "{credential:?}").unwrap(),
                Err(error) => write!(shown, "{error} {error:?} {}", error.message()).unwrap(),
            }
            write!(shown, "{source:?} {:?} {options:?}", source.status()).unwrap();
        }
    }
    let logged = LOGGED.lock().unwrap().clone();
    for text in [&shown, &logged] {
        assert!(!text.contains(CANARY), "{text}");
    }
    let fingerprint = Fingerprint::of(format!("{CANARY}-new").as_bytes()).to_string();
    assert!(logged.contains("refreshed the token") && logged.contains(&fingerprint), "{logged}");
    assert!(shown.contains(&fingerprint));
    #[cfg(unix)]
    assert!(logged.contains("the credential file can be read by others than its owner"), "{logged}");
}
