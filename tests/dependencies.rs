//! What `deny.toml` says of the dependencies, as far as it can be checked without a network.

use std::{fs, path::Path};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The packages of a lock file: name, version, source.
fn packages(lock: &str) -> Vec<(String, Vec<u64>, Option<String>)> {
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"').to_owned())
        };
        let version = value("version").expect("a version");
        let numbers = version.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect();
        (value("name").expect("a name"), numbers, value("source"))
    });
    packages.collect()
}

#[test]
fn they_come_from_one_registry() {
    let deny = read("deny.toml");
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let packages = packages(&read(lock));
        assert!(packages.len() > 100, "{lock}");
        for (name, _, source) in packages {
            match source {
                None => assert!(name.starts_with("pointsman"), "{name} has no source"),
                Some(source) => {
                    let registry = source.strip_prefix("registry+").unwrap_or_else(|| panic!("{name}: {source}"));
                    assert!(deny.contains(&format!("\"{registry}\"")), "{name}: {registry}");
                }
            }
        }
    }
}

#[test]
fn none_is_banned() {
    let deny = read("deny.toml");
    let banned = deny.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next());
    let banned: Vec<_> = banned.map(|ban| ban.split_once("@<").unwrap_or((ban, ""))).collect();
    assert!(banned.len() >= 6 && banned.contains(&("hyper", "1.11")), "{banned:?}");
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        for (name, version, _) in packages(&read(lock)) {
            for (ban, below) in banned.iter().filter(|(ban, _)| *ban == name) {
                let least: Vec<u64> = below.split('.').filter_map(|number| number.parse().ok()).collect();
                assert!(!least.is_empty() && version >= least, "{ban} {version:?} is banned");
            }
        }
    }
}
