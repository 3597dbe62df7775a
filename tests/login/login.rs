use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    machine::{
        ACCESS, DEVICE, Machine, REFRESH, error, fingerprint, form, granted, millis_from_now, mode, server, shown,
    },
    support::{Received, Refusing, Reply, Signal, Upstream},
};

#[tokio::test]
async fn a_login_shows_the_code_waits_and_writes_the_tokens() {
    let server = server([error(400, "authorization_pending"), granted()]);
    let machine = Machine::new(&server);
    let said = machine.says(&["login", "vendor"]).await;
    let path = machine.path();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "To log in to `vendor`, open this address in a browser, on any device:",
            "",
            "    https://login.example/go?code=WDJB-MJHT",
            "",
            "Check that it shows the code: WDJB-MJHT",
            "",
            lines[6],
            "logged in to `vendor`",
            &format!("  written to {} (mode 0600)", path.display()),
            &format!("  the token, with the fingerprint {}, expires in 6 h", fingerprint()),
            "  it is refreshed when it expires",
        ]
    );
    assert!(lines[6].starts_with("waiting for approval; the code expires in "), "{said}");

    let mut file = machine.read();
    let expiry = file["expiry_date"].take().as_i64().unwrap();
    assert!((expiry - millis_from_now(21_630)).abs() < 60_000, "{expiry}");
    assert_eq!(
        file,
        json!({
            "access_token": ACCESS, "refresh_token": REFRESH, "token_type": "Bearer", "expiry_date": null,
            "resource_url": "portal.vendor.example",
        })
    );
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(!path.with_file_name("creds.lock").exists());

    let requests = server.requests();
    assert_eq!(requests.iter().map(Received::path).collect::<Vec<_>>(), ["/device", "/token", "/token"]);
    assert!(requests.iter().all(|request| request.method == "POST"
        && request.header("content-type") == Some("application/x-www-form-urlencoded")));
    let (code, token) = (form(&requests[0]), form(&requests[2]));
    let verifier = &token["code_verifier"];
    assert!((43..=128).contains(&verifier.len()));
    let expected = [
        ("client_id", "me"),
        ("scope", "openid email"),
        ("code_challenge", &BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))),
        ("code_challenge_method", "S256"),
    ];
    assert_eq!(code, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", DEVICE),
        ("client_id", "me"),
        ("code_verifier", verifier),
    ];
    assert_eq!(token, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    // Nobody can foretell a verifier from another one.
    machine.says(&["login", "vendor"]).await;
    assert_ne!(form(server.requests().last().unwrap())["code_verifier"], *verifier);
}

#[tokio::test]
async fn a_server_in_trouble_does_not_end_a_login() {
    let html = |status| Reply::body(status, "text/html", "<html>Bad gateway</html>");
    let server = server([
        error(400, "authorization_pending"),
        html(500),
        Reply::nothing().reset(),
        error(429, "slow_down").header("retry-after", "1"),
        granted(),
    ]);
    let machine = Machine::new(&server);
    machine.says(&["login", "vendor"]).await;
    assert_eq!(machine.read()["access_token"], ACCESS);
    assert!(server.requests().len() >= 6);
}

#[tokio::test]
async fn a_login_that_comes_to_nothing_writes_nothing() {
    for (reply, says) in [
        (error(400, "access_denied"), "the login was denied"),
        (error(400, "expired_token"), "the code expired before the login was approved"),
        (error(400, "invalid_grant"), "the login at 127.0.0.1 failed: status 400, invalid_grant"),
        (Reply::redirect(302, "/elsewhere"), "the login at 127.0.0.1 failed: status 302"),
    ] {
        let server = server([error(400, "authorization_pending"), reply]);
        let machine = Machine::new(&server);
        let error = machine.fails(&["login", "vendor"]).await;
        assert_eq!(error, format!("error: {says}\n  = help: begin again with `pointsman login vendor`"));
        assert!(!machine.path().parent().unwrap().exists());
    }
    let nobody = Refusing::new();
    let machine = Machine::with(&format!(
        "      refresh: {{ url: 'http://{0}/t', client_id: me }}\n      login: {{ url: 'http://{0}/d' }}",
        nobody.addr()
    ));
    let error = machine.fails(&["login", "vendor"]).await;
    assert!(error.starts_with("error: the login at 127.0.0.1 failed: Connection refused"), "{error}");
}

#[tokio::test]
async fn a_code_that_expires_ends_the_login() {
    let code = json!({
        "device_code": DEVICE, "user_code": "WDJB-MJHT", "verification_uri": "https://login.example/go",
        "expires_in": 0.5, "interval": 0.3,
    });
    let server = Upstream::start(move |request| match request.path() {
        "/device" => Reply::json(200, &code),
        _ => error(400, "authorization_pending"),
    });
    let machine = Machine::new(&server);
    let run = machine.run(&["login", "vendor"]).await;
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stdout.contains("    https://login.example/go\n\nEnter the code: WDJB-MJHT"), "{}", run.stdout);
    assert!(run.stderr.contains("error: the code expired before the login was approved"), "{}", run.stderr);
    assert!(server.requests().len() <= 2);
}

#[tokio::test]
async fn a_login_that_is_interrupted_leaves_nothing() {
    let server = server([error(400, "authorization_pending")]);
    let machine = Machine::new(&server);
    let login = machine.start(&["login", "vendor"]);
    login.line("WDJB-MJHT").await;
    // SIGINT may be ignored here, as by whatever runs in the background of a shell.
    login.signal(Signal::Term).await;
    assert!(!shown(login.finished().await).status.success());
    assert!(!machine.path().parent().unwrap().exists());
}

#[tokio::test]
async fn a_login_keeps_what_else_is_in_the_file_and_follows_a_link() {
    let server = server([granted()]);
    let machine = Machine::new(&server);
    machine.write(&json!({"access_token": "old", "refresh_token": "old", "mine": {"deep": [1, null]}}));
    let real = machine.folder.path().join("real.json");
    fs::rename(machine.path(), &real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&real, machine.path()).unwrap();
    machine.says(&["login", "vendor"]).await;
    let file = machine.read();
    assert_eq!((&file["access_token"], &file["mine"]), (&ACCESS.into(), &json!({"deep": [1, null]})));
    assert!(machine.path().is_symlink() && !real.is_symlink());
    assert_eq!(mode(&real), 0o600);
}

#[tokio::test]
async fn tokens_that_cannot_be_written_or_used_are_told_of() {
    let upstream = server([granted()]);
    let machine = Machine::new(&upstream);
    fs::write(machine.folder.path().join("login"), "a file where the folder should be").unwrap();
    let error = machine.fails(&["login", "vendor"]).await;
    assert!(error.starts_with("error: the tokens could not be written to "), "{error}");

    let upstream = server([Reply::json(200, &json!({"access_token": ACCESS, "resource_url": "elsewhere.example"}))]);
    let machine = Machine::new(&upstream);
    let error = machine.fails(&["login", "vendor"]).await;
    assert!(error.contains("the login is no good") && error.contains("a host at /resource_url"), "{error}");
}
