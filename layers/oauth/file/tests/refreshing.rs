use super::*;

const DEAD: &str = "holds a token that has expired, and its refresh token is refused too";

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_refreshed_and_written_back() {
    let login = Login::new();
    login.write(&json!({
        "access_token": "a0", "refresh_token": "r 0/+", "expiry_date": 0, "token_type": "Bearer",
        "mine": {"deep": [1, 2.5, "x", null], "zebra": true}, "big": u64::MAX,
    }));
    let source = login.source_with(login.options(), |_| {
        Ok(json(&json!({
            "access_token": "a1", "refresh_token": "r1", "expires_in": 3600, "token_type": "bearer",
            "resource_url": "portal.qwen.ai", "scope": "not in the file",
        })))
    });
    assert_eq!(token(&source).await.unwrap(), "a1");
    let mut file = login.read();
    let expiry = file["expiry_date"].take().as_i64().unwrap();
    // The two clocks of the machine are not read at quite the same moment.
    assert!((expiry - millis(clock::now()) - 3_600_000).abs() < 5_000);
    assert_eq!(
        file,
        json!({
            "access_token": "a1", "refresh_token": "r1", "expiry_date": null, "token_type": "bearer",
            "resource_url": "portal.qwen.ai", "mine": {"deep": [1, 2.5, "x", null], "zebra": true}, "big": u64::MAX,
        })
    );

    let posts = login.posts.lock().unwrap();
    let post = &posts[0];
    assert_eq!((posts.len(), &*post.url), (1, "https://login.example/token"));
    assert_eq!(post.headers[header::ACCEPT], "application/json");
    assert_eq!(post.headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
    let form = [("grant_type", "refresh_token"), ("refresh_token", "r 0/+"), ("client_id", "me")];
    assert_eq!(post.form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_can_be_sent_as_json_with_fields_of_its_own() {
    let login = Login::expiring_in(-1);
    let grant = RefreshGrant::new("http://127.0.0.1:9/t".parse().unwrap()).unwrap();
    let grant = grant.encoding(GrantEncoding::Json).client_id("me").field("grant_type", "custom").field("scope", "a b");
    let source = login.source_with(login.options().grant(grant), granted);
    assert_eq!(token(&source).await.unwrap(), "a1");
    let posts = login.posts.lock().unwrap();
    assert_eq!(posts[0].headers[header::CONTENT_TYPE], "application/json");
    let sent: Value = serde_json::from_str(&posts[0].body).unwrap();
    assert_eq!(sent, json!({"client_id": "me", "grant_type": "custom", "scope": "a b", "refresh_token": "r0"}));
}

#[test]
fn a_token_endpoint_is_reached_over_tls_or_loopback() {
    for (url, secure) in [
        ("https://login.example/token", true),
        ("http://127.0.0.1:8080/token", true),
        ("http://[::1]/token", true),
        ("http://localhost/token", true),
        ("http://login.example/token", false),
        ("http://127.0.0.1.example/token", false),
        ("ftp://login.example/token", false),
        ("/token", false),
    ] {
        assert_eq!(RefreshGrant::new(url.parse().unwrap()).is_ok(), secure, "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_share_one_refresh() {
    let login = Login::expiring_in(-1);
    let source = login.source();
    let tokens = all((0..1000).map(|_| source.token())).await;
    assert!(tokens.iter().all(|found| found.as_ref().unwrap().token() == "a1"));
    assert_eq!(login.posts(), 1);

    // The same for a token that looks good and is refused.
    let old = source.current().unwrap();
    let tokens = all((0..1000).map(|_| source.refused(&old))).await;
    assert!(tokens.iter().all(|found| found.as_ref().unwrap().as_ref().unwrap().token() == "a2"));
    assert_eq!(login.posts(), 2);
    assert_eq!(source.refused(&old).await.unwrap().unwrap().token(), "a2", "the refusal of an older token is no news");
    assert_eq!(login.posts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_through_the_layer_are_answered() {
    use tower::{Layer as _, ServiceExt as _};
    for expires in [-1, 3600] {
        let login = Login::expiring_in(expires);
        let provider = service_fn(async |request: Request<ReplayBody>| {
            let good = request.headers()[header::AUTHORIZATION] == "Bearer a1";
            tokio::time::sleep(Duration::from_millis(20)).await;
            status(if good { 200 } else { 401 }, "")
        });
        let service = crate::oauth::OAuthLayer::new(login.source()).layer(provider);
        let answers = all((0..1000).map(|_| service.clone().oneshot(Request::default()))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
        assert_eq!((answers.len(), login.posts()), (1000, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_abort_the_refresh() {
    let login = Login::expiring_in(-1);
    let source = login.source();
    let left = tokio::time::timeout(Duration::from_millis(20), source.token()).await;
    assert!(left.is_err());
    assert_eq!((login.posts(), &login.read()["access_token"]), (1, &"a0".into()), "under way");
    source.settle().await;
    assert_eq!(login.read()["access_token"], "a1");
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert_eq!(login.posts(), 1);
    source.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_with_less_than_half_a_minute_left_counts_as_expired() {
    let login = Login::expiring_in(31);
    let source = login.source();
    assert_eq!(token(&source).await.unwrap(), "a0");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(token(&source).await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn a_proactive_source_refreshes_in_the_background() {
    let login = Login::expiring_in(200);
    let source = login.source_with(login.options().mode(Mode::Proactive), granted);
    assert_eq!(token(&source).await.unwrap(), "a0");
    source.settle().await;
    assert_eq!(login.posts(), 0, "it has three minutes");

    tokio::time::sleep(Duration::from_secs(81)).await;
    // The first look after so long is waited for; it finds the old token still good.
    assert_eq!(token(&source).await.unwrap(), "a0");
    assert_eq!(token(&source).await.unwrap(), "a0", "the request goes at once");
    assert_eq!(token(&source).await.unwrap(), "a0", "and so does the next");
    source.settle().await;
    assert_eq!(login.posts(), 1);
    assert_eq!(token(&source).await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn a_good_token_does_not_wait_for_a_refresh_under_way() {
    let login = Login::expiring_in(100);
    let source = login.source_with(login.options().mode(Mode::Proactive), granted);
    assert_eq!(token(&source).await.unwrap(), "a0");
    // The refresh in the background is kept from getting ahead.
    let other = fs::File::create(login.folder.path().join(".oauth_creds.json.pointsman.lock")).unwrap();
    other.try_lock().unwrap();
    assert_eq!(token(&source).await.unwrap(), "a0");
    next_look().await;
    let start = tokio::time::Instant::now();
    assert_eq!(token(&source).await.unwrap(), "a0");
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(other);
    source.settle().await;
    assert_eq!(token(&source).await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leaves_things_out_keeps_the_old_ones() {
    let login = Login::expiring_in(-1);
    let source =
        login.source_with(login.options(), |_| Ok(json(&json!({"access_token": "a1", "refresh_token": null}))));
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert_eq!(
        login.read(),
        json!({"access_token": "a1", "refresh_token": "r0", "resource_url": "portal.qwen.ai"}),
        "but not the old token's expiry"
    );
    assert_eq!(source.status().expires_at, None);
    assert_eq!(source.current().unwrap().endpoint().unwrap().0, "https://portal.qwen.ai/v1");
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_token_is_not_sent_again_until_the_file_changes() {
    for (code, body, shown) in [
        (400, r#"{"error": "invalid_grant", "error_description": "r0 is revoked"}"#, "(status 400, invalid_grant)"),
        (400, r#"{"error": "invalid_request"}"#, "(status 400, invalid_request)"),
        (400, r#"{"error": "r0"}"#, "(status 400)"),
        (400, "<html><body>Bad Request</body></html>", "(status 400)"),
        (401, "", "(status 401)"),
    ] {
        let login = Login::expiring_in(-1);
        let source = login.source_with(login.options(), move |_| status(code, body));
        let expected = format!("the credential file {} {DEAD} {shown}; run `login`", login.path().display());
        for _ in 0..3 {
            assert_eq!(error(&source).await, expected);
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        assert_eq!(login.posts(), 1);
        assert!(!source.status().refreshable);

        // The file is the user's: it is still there. If it goes and comes back, it is the same login.
        let content = fs::read(login.path()).unwrap();
        fs::remove_file(login.path()).unwrap();
        next_look().await;
        assert!(error(&source).await.contains("does not exist"));
        fs::write(login.path(), content).unwrap();
        next_look().await;
        assert_eq!(error(&source).await, expected);
        assert_eq!(login.posts(), 1);

        login.write(&json!({"access_token": "b0", "refresh_token": "s0", "expiry_date": 0}));
        next_look().await;
        assert_eq!(error(&source).await, expected);
        assert_eq!(login.posts(), 2);
        assert_eq!(login.posts.lock().unwrap()[1].form()["refresh_token"], "s0");
    }
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_race_for_the_refresh_token_uses_what_the_winner_wrote() {
    let login = Login::expiring_in(-1);
    let path = login.path();
    let source = login.source_with(login.options(), move |_| {
        fs::write(&path, r#"{"access_token": "theirs", "refresh_token": "s0"}"#).unwrap();
        status(400, r#"{"error": "invalid_grant"}"#)
    });
    assert_eq!(token(&source).await.unwrap(), "theirs");
    assert_eq!(login.posts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_newer_refresh_token_than_the_one_refused_is_tried() {
    let login = Login::expiring_in(-1);
    let path = login.path();
    let source = login.source_with(login.options(), move |number| {
        fs::write(&path, r#"{"access_token": "b0", "refresh_token": "s0", "expiry_date": 0}"#).unwrap();
        if number == 1 { status(400, "") } else { granted(number) }
    });
    assert_eq!(token(&source).await.unwrap(), "a2");
    assert_eq!(login.posts.lock().unwrap()[1].form()["refresh_token"], "s0");
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_asked_every_five_minutes_at_least() {
    let login = Login::expiring_in(-1);
    let source = login.source_with(login.options(), |number| match number {
        ..20 => status(500, ""),
        20 => Ok(Response::builder().status(503).header(header::RETRY_AFTER, "99999999").body("".into()).unwrap()),
        _ => granted(number),
    });
    for number in 1..=20 {
        assert!(token(&source).await.is_err());
        assert_eq!(login.posts(), number);
        tokio::time::sleep(Duration::from_secs(301)).await;
    }
    assert!(token(&source).await.is_err(), "it asked for more time");
    tokio::time::sleep(Duration::from_secs(3600 - 301)).await;
    assert_eq!(token(&source).await.unwrap(), "a21");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_tried_again_later_and_later() {
    let login = Login::expiring_in(-1);
    let source = login.source_with(login.options(), |number| match number {
        1 => status(500, "<html>oops</html>"),
        2 => Err("connection refused".into()),
        3 => status(200, "<html>sign in to this network</html>"),
        4 => status(302, ""),
        5 => Ok(Response::builder().status(429).header(header::RETRY_AFTER, "120").body("".into()).unwrap()),
        6 => Ok(json(&json!({"access_token": ""}))),
        number => granted(number),
    });
    for (wait, reason) in [
        (5, "status 500"),
        (10, "connection refused"),
        (20, "its answer, with status 200, is not a JSON object"),
        (40, "status 302"),
        (120, "status 429"),
        (160, "its answer, with status 200, has no access token"),
    ] {
        let what = "holds a token that has expired, and it cannot be refreshed now";
        let expected = format!("the credential file {} {what} ({reason})", login.path().display());
        let posts = login.posts();
        assert_eq!(error(&source).await, expected);
        assert_eq!(login.posts(), posts + 1);
        tokio::time::sleep(Duration::from_secs(wait) - Duration::from_millis(1)).await;
        assert_eq!(error(&source).await, expected);
        assert_eq!(login.posts(), posts + 1, "held back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(token(&source).await.unwrap(), "a7");
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_as_long_as_it_is_valid() {
    let login = Login::expiring_in(20);
    let source = login.source_with(login.options(), |_| status(503, ""));
    assert_eq!(token(&source).await.unwrap(), "a0");
    assert_eq!(login.posts(), 1);
    let old = source.token().await.unwrap();
    let denied = source.refused(&old).await.unwrap_err();
    assert!(denied.message().contains("holds a token that the provider refuses"), "{denied}");
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(error(&source).await.contains("has expired"));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_given_up_on() {
    let login = Login::expiring_in(-1);
    let client = service_fn(|_: Request<ReplayBody>| std::future::pending::<Result<Response<ReplayBody>, String>>());
    let source = CredentialFile::new(login.options(), client);
    let start = tokio::time::Instant::now();
    assert!(error(&source).await.contains("no answer within 15s"));
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn an_answer_larger_than_a_mebibyte_is_given_up_on() {
    let login = Login::expiring_in(-1);
    let source = login.source_with(login.options(), |_| Ok(Response::new(vec![b' '; (1 << 20) + 1].into())));
    assert!(error(&source).await.contains("its answer is larger than 1 MiB"));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_gone_is_not_refreshed_into_existence() {
    let login = Login::expiring_in(60);
    let source = login.source();
    assert_eq!(token(&source).await.unwrap(), "a0");
    fs::remove_file(login.path()).unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(error(&source).await.contains("does not exist; run `login`"));
    assert!(!login.path().exists());
    assert_eq!(login.posts(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_allowed_fails_even_when_a_refresh_brings_it() {
    let login = Login::expiring_in(-1);
    let source = login.source_with(login.options(), |_| {
        Ok(json(&json!({"access_token": "a1", "resource_url": "https://evil.example"})))
    });
    for _ in 0..2 {
        assert!(error(&source).await.contains("names a host at /resource_url that is not among those allowed"));
        next_look().await;
    }
    assert_eq!((login.posts(), &login.read()["access_token"]), (1, &"a1".into()));
}
