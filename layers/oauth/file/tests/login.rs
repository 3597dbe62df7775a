use super::*;

fn tokens(answer: Value) -> Tokens {
    Tokens::from_answer(answer).unwrap()
}

fn new_tokens() -> Tokens {
    tokens(json!({
        "access_token": "new", "refresh_token": "r-new", "token_type": "Bearer", "expires_in": 3600,
        "resource_url": "portal.qwen.ai", "status": "success", "scope": "openid",
    }))
}

/// The file, with its expiry left out once it is found to be an hour away.
fn read(login: &Login) -> Value {
    let mut file = login.read();
    let expiry = file.as_object_mut().unwrap().remove("expiry_date").unwrap().as_i64().unwrap();
    assert!((expiry - millis(clock::now()) - 3_600_000).abs() < 5_000);
    file
}

fn written() -> Value {
    json!({"access_token": "new", "refresh_token": "r-new", "token_type": "Bearer", "resource_url": "portal.qwen.ai"})
}

#[cfg(unix)]
fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}

#[tokio::test(start_paused = true)]
async fn a_login_makes_the_file_and_its_folder() {
    let mut login = Login::new();
    let outer = login.folder;
    let path = outer.path().join("deep/er/oauth_creds.json");
    login.folder = tempfile::tempdir().unwrap();
    let options = CredentialFileOptions::new(&path).expiry(Expiry::Millis("/expiry_date".into()));
    let options = options.endpoint("/resource_url").allow_hosts(["portal.qwen.ai"]);
    let source = login.source_with(options.lock(path.with_extension("lock")), granted);
    let status = source.store(&new_tokens()).await.unwrap();
    assert_eq!(status.fingerprint, Some(new_tokens().fingerprint()));
    assert!(status.refreshable && status.problem.is_none(), "{status:?}");
    assert_eq!(token(&source).await.unwrap(), "new");
    let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(file["access_token"], "new");
    assert!(!path.with_extension("lock").exists());
    #[cfg(unix)]
    assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(outer.path().join("deep"))), (0o600, 0o700, 0o700));
}

#[tokio::test(start_paused = true)]
async fn a_login_keeps_what_is_not_of_a_login() {
    let login = Login::new();
    login.write(&json!({
        "access_token": "old", "refresh_token": "r-old", "resource_url": "old.example", "id_token": "i-old",
        "expiry_date": 0, "mine": {"deep": [1, null]},
    }));
    let source = login.source();
    assert_eq!(source.status().fingerprint, None);
    source.store(&new_tokens()).await.unwrap();
    let mut expected = written();
    expected["mine"] = json!({"deep": [1, null]});
    assert_eq!(read(&login), expected);

    // What the new login does not have is not left over from the one before.
    source.store(&tokens(json!({"access_token": "newer", "refresh_token": ""}))).await.unwrap();
    assert_eq!(login.read(), json!({"access_token": "newer", "mine": {"deep": [1, null]}}));
    assert_eq!(token(&source).await.unwrap(), "newer");
    assert!(!source.status().refreshable);
}

#[tokio::test(start_paused = true)]
async fn a_login_is_written_where_the_pointers_lead() {
    let login = Login::new();
    login.write(&json!({"tokens": {"id_token": "i-old", "account": 7}, "mine": 1}));
    let options = CredentialFileOptions::new(login.path())
        .access("/tokens/access_token")
        .refresh("/tokens/refresh~1token")
        .expiry(Expiry::Seconds("/until/s".into()));
    let source = login.source_with(options, granted);
    let answer = json!({"access_token": "a", "refresh_token": "r", "id_token": "i", "expires_in": "60"});
    source.store(&tokens(answer)).await.unwrap();
    let mut file = login.read();
    assert!(file["until"]["s"].take().is_u64());
    let expected = json!({"access_token": "a", "refresh/token": "r", "id_token": "i", "account": 7});
    assert_eq!(file, json!({"tokens": expected, "until": {"s": null}, "mine": 1}));

    assert_eq!(source.remove().await.unwrap(), Removed::Tokens);
    assert_eq!(login.read(), json!({"tokens": {"account": 7}, "mine": 1}));
    assert_eq!(source.remove().await.unwrap(), Removed::Nothing);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_object_is_kept_beside_the_file() {
    let login = Login::new();
    let aside = login.folder.path().join("oauth_creds.json.bak");
    for content in ["", " \n"] {
        fs::write(login.path(), content).unwrap();
        login.source().store(&new_tokens()).await.unwrap();
        assert_eq!(read(&login), written());
        assert!(!aside.exists());
    }
    for content in ["export PATH=/bin", "[1]", "{\"access_token\": \"ol"] {
        fs::write(login.path(), content).unwrap();
        let source = login.source();
        let problem = source.remove().await.unwrap_err();
        assert_eq!(problem.to_string(), "it holds no JSON object");
        source.store(&new_tokens()).await.unwrap();
        assert_eq!(read(&login), written());
        assert_eq!(fs::read_to_string(&aside).unwrap(), content);
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_link_is_followed_even_before_there_is_a_file() {
    let login = Login::new();
    let real = login.folder.path().join("real/creds.json");
    std::os::unix::fs::symlink("links-to", login.path()).unwrap();
    std::os::unix::fs::symlink("real/creds.json", login.folder.path().join("links-to")).unwrap();
    let source = login.source();
    for _ in 0..2 {
        source.store(&new_tokens()).await.unwrap();
        assert_eq!(read(&login), written());
        assert!(login.path().is_symlink());
        assert!(real.is_file() && !real.is_symlink());
        assert_eq!(mode(&real), 0o600);
        // The lock, too, is where the file is.
        assert!(real.with_file_name(".creds.json.pointsman.lock").exists());
        assert_eq!(source.remove().await.unwrap(), Removed::File);
        assert!(login.path().is_symlink() && !real.exists());
    }
    let ring = login.folder.path().join("ring");
    std::os::unix::fs::symlink("ring", &ring).unwrap();
    login.source_with(CredentialFileOptions::new(&ring), granted).store(&new_tokens()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_logout_removes_the_tokens_and_nothing_else() {
    let login = Login::new();
    let source = login.source();
    assert_eq!(source.remove().await.unwrap(), Removed::Nothing, "no file");
    assert_eq!(fs::read_dir(login.folder.path()).unwrap().count(), 0, "and none is left behind");

    login.write(&json!({"mine": 1}));
    assert_eq!(source.remove().await.unwrap(), Removed::Nothing);
    login.write(&json!({
        "access_token": "a", "refresh_token": "r", "resource_url": "x", "expiry_date": 1, "token_type": "Bearer",
        "id_token": "i", "mine": 1,
    }));
    assert_eq!(source.remove().await.unwrap(), Removed::Tokens);
    assert_eq!(login.read(), json!({"mine": 1}));

    source.store(&new_tokens()).await.unwrap();
    fs::write(login.path(), written().to_string()).unwrap();
    assert_eq!(source.remove().await.unwrap(), Removed::File);
    assert!(!login.path().exists());
    assert_eq!(source.remove().await.unwrap(), Removed::Nothing);
    assert!(source.check().await.problem.unwrap().contains("does not exist"));
}

#[tokio::test(start_paused = true)]
async fn a_login_waits_for_a_refresh_of_another_program() {
    let login = Login::expiring_in(3600);
    let source = login.source_with(login.options().lock(login.lock_path()), granted);
    fs::write(login.lock_path(), "the vendor's client").unwrap();
    let vendor = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        login.write(&json!({"access_token": "theirs", "from": "them"}));
        fs::remove_file(login.lock_path()).unwrap();
    };
    let tokens = new_tokens();
    let (stored, ()) = tokio::join!(source.store(&tokens), vendor);
    stored.unwrap();
    assert_eq!((&login.read()["access_token"], &login.read()["from"]), (&"new".into(), &"them".into()));

    let sidecar = fs::File::create(login.folder.path().join(".oauth_creds.json.pointsman.lock")).unwrap();
    sidecar.try_lock().unwrap();
    let error = source.store(&tokens).await.unwrap_err();
    assert_eq!(error.to_string(), "another program is refreshing it, and does not finish");
}

#[test]
fn an_answer_without_a_token_is_none() {
    for answer in [json!({}), json!({"access_token": ""}), json!({"access_token": 7}), json!(["access_token"])] {
        assert!(Tokens::from_answer(answer).is_none());
    }
}

#[test]
fn a_path_without_a_folder_is_in_the_working_directory() {
    let target = disk::target(std::path::Path::new("no-such-login.json")).unwrap();
    assert!(target.parent().unwrap().is_dir(), "{}", target.display());
}
