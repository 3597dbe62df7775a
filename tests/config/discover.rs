use std::{fs, path::Path};

use pointsman::config::Config;

#[test]
fn the_first_place_that_has_a_file_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let (work, home) = (root.path().join("work"), root.path().join("home"));
    let environment = |name: &str| (name == "HOME").then(|| home.to_str().unwrap().to_owned());
    let places = [
        work.join("config.yaml"),
        home.join(".config/pointsman/config.yaml"),
        home.join(".config/g4f/cookies/config.yaml"),
        work.join("har_and_cookies/config.yaml"),
    ];
    let missing = Config::discover_in(&work, &environment).unwrap_err();
    assert_eq!(missing.places(), places);
    assert!(places.iter().all(|place| missing.to_string().contains(place.to_str().unwrap())));
    for place in places.iter().rev() {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, "").unwrap();
        assert_eq!(Config::discover_in(&work, &environment).as_ref(), Ok(place));
    }
}

#[test]
fn the_users_own_place_for_configuration_counts() {
    let environment = |name: &str| match name {
        "HOME" => Some("/home/me".to_owned()),
        "XDG_CONFIG_HOME" => Some("/etc/mine".to_owned()),
        _ => None,
    };
    let missing = Config::discover_in(Path::new("/nowhere"), &environment).unwrap_err();
    assert_eq!(missing.places()[1], Path::new("/etc/mine/pointsman/config.yaml"));
    assert_eq!(missing.places()[2], Path::new("/home/me/.config/g4f/cookies/config.yaml"));
}

#[test]
fn without_a_home_the_working_directory_is_left() {
    let missing = Config::discover_in(Path::new("/nowhere"), &|_: &str| None).unwrap_err();
    assert_eq!(missing.places().len(), 2);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/config.yaml")).unwrap_err();
    assert_eq!(error.file(), Some("/nowhere/config.yaml"));
    assert!(error.to_string().contains("/nowhere/config.yaml"), "{error}");
}
