use super::*;

fn lock(login: &Login, id: &str, age: Duration) {
    fs::write(login.lock_path(), id).unwrap();
    let file = fs::File::options().write(true).open(login.lock_path()).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_vendors_lock_is_held_while_refreshing() {
    let login = Login::expiring_in(-1);
    let path = login.lock_path();
    let source = login.source_with(login.options().lock(login.lock_path()), move |number| {
        assert!(!fs::read(&path).unwrap().is_empty(), "it has an id");
        granted(number)
    });
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert!(!login.lock_path().exists(), "given back");
}

#[tokio::test(start_paused = true)]
async fn a_stale_lock_is_broken() {
    let login = Login::expiring_in(-1);
    lock(&login, "someone who crashed", Duration::from_secs(36));
    let source = login.source_with(login.options().lock(login.lock_path()), granted);
    let start = tokio::time::Instant::now();
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(!login.lock_path().exists());
    assert!(fs::read_dir(login.folder.path()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name();
        name == "oauth_creds.json" || name == ".oauth_creds.json.pointsman.lock"
    }));
}

#[tokio::test(start_paused = true)]
async fn a_lock_from_the_future_is_broken_like_a_stale_one() {
    let login = Login::expiring_in(-1);
    lock(&login, "someone whose clock was wrong", Duration::ZERO);
    let file = fs::File::options().write(true).open(login.lock_path()).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    let source = login.source_with(login.options().lock(login.lock_path()), granted);
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert!(!login.lock_path().exists());
}

#[tokio::test(start_paused = true)]
async fn a_live_lock_is_respected_and_its_holders_token_is_used() {
    let login = Login::expiring_in(-1);
    lock(&login, "the vendor's client", Duration::ZERO);
    let source = login.source_with(login.options().lock(login.lock_path()), granted);
    let vendor = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(fs::read_to_string(login.lock_path()).unwrap(), "the vendor's client");
        login.write(&json!({"access_token": "theirs"}));
        fs::remove_file(login.lock_path()).unwrap();
    };
    let (found, ()) = tokio::join!(token(&source), vendor);
    assert_eq!(found.unwrap(), "theirs");
    assert_eq!(login.posts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_goes_stale_while_it_is_waited_for_is_broken() {
    let login = Login::expiring_in(-1);
    lock(&login, "someone who crashes", Duration::ZERO);
    let source = login.source_with(login.options().lock(login.lock_path()).lock_stale(Duration::from_secs(7)), granted);
    let start = tokio::time::Instant::now();
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_became_someone_elses_is_left_alone() {
    let login = Login::expiring_in(-1);
    let path = login.lock_path();
    let source = login.source_with(login.options().lock(login.lock_path()), move |number| {
        fs::write(&path, "someone who found it stale").unwrap();
        granted(number)
    });
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert_eq!(fs::read_to_string(login.lock_path()).unwrap(), "someone who found it stale");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_made_is_done_without() {
    let login = Login::expiring_in(-1);
    let source = login.source_with(login.options().lock("/nowhere/at/all.lock"), granted);
    assert_eq!(token(&source).await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_never_given_back_ends_in_an_error() {
    let login = Login::expiring_in(-1);
    let source = login.source();
    let sidecar = fs::File::create(login.folder.path().join(".oauth_creds.json.pointsman.lock")).unwrap();
    sidecar.try_lock().unwrap();
    assert!(error(&source).await.contains("is being refreshed by another program, which does not finish"));
    assert_eq!(login.posts(), 0);
    drop(sidecar);
    assert_eq!(token(&source).await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn sources_that_share_a_file_of_one_time_refresh_tokens_both_keep_working() {
    let login = Login::expiring_in(-1);
    let endpoint = || {
        let posts = Arc::clone(&login.posts);
        move |number: usize| {
            // Each refresh token is good once: the n-th POST has to bring that of the one before.
            let sent = posts.lock().unwrap()[number - 1].form()["refresh_token"].clone();
            if sent == format!("r{}", number - 1) { granted(number) } else { status(400, "{}") }
        }
    };
    let options = || login.options().lock(login.lock_path());
    let sources = [login.source_with(options(), endpoint()), login.source_with(options(), endpoint())];
    for number in 1..=50 {
        let wanted = format!("a{number}");
        let tokens = all((0..10).map(|request| {
            let source = sources[request % 2].clone();
            async move { token(&source).await }
        }));
        assert!(tokens.await.into_iter().all(|found| found.unwrap() == wanted));
        assert_eq!(login.posts(), number);
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}
