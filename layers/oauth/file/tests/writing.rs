//! Writing a new token back, beside whoever else writes the file.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_login_made_while_a_token_is_refreshed_is_not_overwritten() {
    let login = Login::expiring_in(-1);
    let path = login.path();
    let source = login.source_with(login.options(), move |number| {
        fs::write(&path, r#"{"access_token": "another login", "refresh_token": "s0"}"#).unwrap();
        granted(number)
    });
    assert_eq!(token(&source).await.unwrap(), "another login");
    assert_eq!(login.read(), json!({"access_token": "another login", "refresh_token": "s0"}));
    assert_eq!(login.posts(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_else_is_written_while_a_token_is_refreshed_stays() {
    let login = Login::expiring_in(-1);
    let path = login.path();
    let source = login.source_with(login.options(), move |number| {
        let other = json!({"access_token": "a0", "refresh_token": "r0", "expiry_date": 0, "theirs": "new"});
        fs::write(&path, other.to_string()).unwrap();
        granted(number)
    });
    assert_eq!(token(&source).await.unwrap(), "a1");
    let file = login.read();
    assert_eq!((&file["refresh_token"], &file["theirs"]), (&"r1".into(), &"new".into()));
    assert_eq!(login.posts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_cannot_be_written_is_used_and_written_later() {
    let login = Login::expiring_in(-1);
    // What is in the place of the folder while the answer comes keeps the temporary file from being made.
    let (folder, aside) = (login.folder.path().join("in"), login.folder.path().join("aside"));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("creds.json");
    fs::rename(login.path(), &path).unwrap();
    let options = CredentialFileOptions { path: path.clone(), ..login.options() };
    let (from, to) = (folder.clone(), aside.clone());
    let source = login.source_with(options, move |number| {
        if number == 1 {
            fs::rename(&from, &to).unwrap();
        }
        granted(number)
    });
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert!(source.status().unwritten);
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert!(source.status().problem.unwrap().contains("does not exist"));
    fs::rename(&aside, &folder).unwrap();
    let read = || -> Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
    assert_eq!(read()["access_token"], "a0");

    // The file reappears with the dead token in it; what is in memory is newer.
    next_look().await;
    assert_eq!(token(&source).await.unwrap(), "a1");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert_eq!((&read()["access_token"], &read()["refresh_token"]), (&"a1".into(), &"r1".into()));
    assert!(!source.status().unwritten);
    assert_eq!(login.posts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_could_not_be_written_is_not_lost_when_the_program_stops() {
    let login = Login::expiring_in(-1);
    let (folder, aside) = (login.folder.path().join("in"), login.folder.path().join("aside"));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("creds.json");
    fs::rename(login.path(), &path).unwrap();
    let (from, to) = (folder.clone(), aside.clone());
    let options = CredentialFileOptions { path: path.clone(), ..login.options() };
    let source = login.source_with(options, move |number| {
        fs::rename(&from, &to).unwrap();
        granted(number)
    });
    assert_eq!(token(&source).await.unwrap(), "a1");
    assert!(source.status().unwritten);
    fs::rename(&aside, &folder).unwrap();
    source.settle().await;
    assert!(!source.status().unwritten);
    let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&file["access_token"], &file["refresh_token"]), (&"a1".into(), &"r1".into()));
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn the_file_is_replaced_whole_behind_its_link_and_is_the_owners_alone() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let login = Login::expiring_in(-1);
    let real = login.folder.path().join("real.json");
    fs::rename(login.path(), &real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink("real.json", login.path()).unwrap();
    let before = fs::File::open(&real).unwrap();

    assert_eq!(token(&login.source()).await.unwrap(), "a1");
    assert!(fs::symlink_metadata(login.path()).unwrap().is_symlink());
    let after = fs::metadata(&real).unwrap();
    assert_eq!(after.mode() & 0o777, 0o600);
    assert_ne!(after.ino(), before.metadata().unwrap().ino());
    let old: Value = serde_json::from_reader(before).unwrap();
    assert_eq!(old["access_token"], "a0", "who had it open still reads the old one whole");
    let mut names: Vec<_> =
        fs::read_dir(login.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".real.json.pointsman.lock", "oauth_creds.json", "real.json"]);
}
