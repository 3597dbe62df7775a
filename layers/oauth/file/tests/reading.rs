use super::*;

fn access(token: &str) -> Value {
    json!({"access_token": token})
}

#[tokio::test(start_paused = true)]
async fn a_file_that_appears_later_is_picked_up() {
    let login = Login::new();
    let source = login.source();
    let expected = format!("the credential file {} does not exist; run `login`", login.path().display());
    assert_eq!(error(&source).await, expected);
    assert_eq!(source.status().problem, Some(expected));

    login.write(&access("late"));
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "late");
    assert_eq!(source.status().problem, None);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_read_again() {
    let login = Login::new();
    login.write(&access("first"));
    let source = login.source();
    assert_eq!(token(&source).await.unwrap(), "first");

    // Of the same length, in place, and within the file system's resolution of time.
    let written = fs::metadata(login.path()).unwrap().modified().unwrap();
    login.write(&access("secnd"));
    fs::File::options().write(true).open(login.path()).unwrap().set_modified(written).unwrap();
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "secnd");

    // By rename, with an older time.
    let other = login.folder.path().join("other");
    fs::write(&other, access("third").to_string()).unwrap();
    fs::File::open(&other).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::rename(&other, login.path()).unwrap();
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "third");
}

#[tokio::test(start_paused = true)]
async fn the_file_is_looked_at_once_a_second_at_the_most() {
    let login = Login::new();
    login.write(&access("first"));
    let source = login.source();
    assert_eq!(token(&source).await.unwrap(), "first");
    login.write(&access("second"));
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(source.current().is_some(), "at hand, without a look");
    assert_eq!(token(&source).await.unwrap(), "first");
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert!(source.current().is_none(), "a look is due");
    assert_eq!(token(&source).await.unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_file_caught_half_written_is_looked_at_again_at_once() {
    for half in ["", "  ", r#"{"access_to"#] {
        let login = Login::new();
        fs::write(login.path(), half).unwrap();
        let source = login.source();
        let (path, done) = (login.path(), access("whole").to_string());
        let writer = async {
            tokio::time::sleep(Duration::from_millis(120)).await;
            fs::write(path, done).unwrap();
        };
        let start = tokio::time::Instant::now();
        let (found, ()) = tokio::join!(token(&source), writer);
        assert_eq!(found.unwrap(), "whole");
        assert!(start.elapsed() <= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_stays_in_use_while_the_file_is_unfinished_missing_or_unreadable() {
    let login = Login::new();
    login.write(&access("first"));
    let source = login.source();
    assert_eq!(token(&source).await.unwrap(), "first");

    for (spoil, problem) in [
        (Box::new(|path: &PathBuf| fs::write(path, "").unwrap()) as Box<dyn Fn(&PathBuf)>, "is empty"),
        (Box::new(|path| fs::write(path, "{\"access_token\": \"").unwrap()), "ends in the middle of its JSON"),
        (Box::new(|path| fs::remove_file(path).unwrap()), "does not exist"),
        // Rights do not keep root out, a folder does.
        (Box::new(|path| fs::create_dir(path).unwrap()), "cannot be read: it is not a regular file"),
    ] {
        spoil(&login.path());
        next_look().await;
        assert_eq!(token(&source).await.unwrap(), "first", "{problem}");
        let told = source.status().problem.unwrap();
        assert!(told.contains(problem), "{told}");
    }

    fs::remove_dir(login.path()).unwrap();
    login.write(&access("second"));
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_holds_something_else_is_an_error_until_it_is_mended() {
    let login = Login::new();
    login.write(&access("first"));
    let source = login.source();
    assert_eq!(token(&source).await.unwrap(), "first");
    for (content, what) in [
        ("secret", "is not JSON (line 1, column 1)"),
        ("{\"access_token\":\n 'secret'}", "is not JSON (line 2, column 2)"),
        ("[\"secret\"]", "does not hold a JSON object"),
        ("\"secret\"", "does not hold a JSON object"),
        (r#"{"token": "secret"}"#, "has no text at /access_token"),
        (r#"{"access_token": 7}"#, "has no text at /access_token"),
        (r#"{"access_token": ""}"#, "has no text at /access_token"),
        (
            r#"{"access_token": "t", "resource_url": "https://secret.example"}"#,
            "names a host at /resource_url that is not among those allowed",
        ),
        (r#"{"access_token": "t", "resource_url": "http://portal.qwen.ai"}"#, "has no https URL at /resource_url"),
    ] {
        fs::write(login.path(), content).unwrap();
        next_look().await;
        let expected = format!("the credential file {} {what}; run `login`", login.path().display());
        assert_eq!(error(&source).await, expected);
        assert_eq!(source.status().problem, Some(expected));
    }
    fs::write(login.path(), [0xff, 0xfe]).unwrap();
    next_look().await;
    assert!(error(&source).await.contains("is not JSON"));

    login.write(&access("mended"));
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "mended");
}

#[tokio::test(start_paused = true)]
async fn a_file_too_large_for_a_credential_is_not_read() {
    let login = Login::new();
    fs::write(login.path(), vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(error(&login.source()).await.contains("it is larger than 1 MiB"));
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_comes_along() {
    let login = Login::expiring_in(3600);
    let source = login.source();
    let credential = source.token().await.unwrap();
    assert_eq!(credential.endpoint().unwrap().0, "https://portal.qwen.ai/v1");
}

#[tokio::test(start_paused = true)]
async fn a_check_looks_at_the_file_and_refreshes_nothing() {
    let login = Login::expiring_in(-5);
    let source = login.source();
    let status = source.check().await;
    assert_eq!(status.fingerprint, Some(Fingerprint::of(b"a0")));
    assert!(status.expires_at.unwrap() < clock::now());
    assert!(status.refreshable && !status.unwritten && status.problem.is_none());

    login.write(&access("new"));
    assert_eq!(source.check().await.fingerprint, Some(Fingerprint::of(b"new")), "within a second, too");
    assert_eq!(login.posts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_only_read_is_never_refreshed() {
    let login = Login::expiring_in(20);
    let source = login.source_with(login.options().mode(Mode::ReadOnly), granted);
    assert_eq!(token(&source).await.unwrap(), "a0", "it still has a moment");

    let credential = source.token().await.unwrap();
    assert!(source.refused(&credential).await.unwrap().is_none(), "the provider's own refusal goes up");

    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(error(&source).await.contains("holds a token that has expired; run `login`"));

    // The vendor's own client refreshes it.
    login.write(&access("theirs"));
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "theirs");
    assert_eq!(source.refused(&credential).await.unwrap().unwrap().token(), "theirs");
    assert_eq!(login.posts(), 0);
}
