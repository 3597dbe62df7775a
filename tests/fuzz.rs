//! The fuzz targets, with the corpus and with what comes of it.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "the targets are the library of another package")]
mod targets;

use std::{fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| fs::read(file.expect("a file").path()).expect("it can be read")).collect()
}

/// What may be put into an input: a piece of another one, bytes that mean something somewhere, or any.
fn pieces(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let parts = (prop::sample::select(corpus), any::<prop::sample::Index>(), 0..40_usize);
    let part = parts.prop_map(|(text, at, length)| {
        let at = at.index(text.len() + 1);
        text[at..(at + length).min(text.len())].to_vec()
    });
    prop_oneof![
        3 => part,
        2 => "[\\-:,{}\\[\\]&*!|>'\"%@`#?~ \\r\\n\\t\\\\/=<.$a-f0-9\u{e9}\u{2028}]{0,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn mutated(corpus: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..12_usize, pieces(corpus.to_vec()));
    (prop::sample::select(corpus.to_vec()), prop::collection::vec(change, 1..5)).prop_map(|(mut text, changes)| {
        for (at, length, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece);
        }
        text
    })
}

fn try_out(name: &str) {
    let (_, target) = targets::TARGETS.into_iter().find(|(target, _)| *target == name).expect("there is one");
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "the corpus of {name} is small");
    corpus.iter().for_each(|input| target(input));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let inputs = prop_oneof![5 => mutated(&corpus), 1 => prop::collection::vec(any::<u8>(), 0..100)];
    let tried = runner.run(&inputs, |input| {
        target(&input);
        Ok(())
    });
    if let Err(wrong) = tried {
        panic!("{name}: {wrong}");
    }
}

#[test]
fn every_target_is_tried_out() {
    for (name, _) in targets::TARGETS {
        assert!(!corpus(name).is_empty());
    }
    assert_eq!(targets::TARGETS.len(), 9, "a new target needs a test below");
}

#[test]
fn answer() {
    try_out("answer");
}

#[test]
fn condition() {
    try_out("condition");
}

#[test]
fn config() {
    try_out("config");
}

#[test]
fn credential_file() {
    try_out("credential_file");
}

#[test]
fn hint() {
    try_out("hint");
}

#[test]
fn request() {
    try_out("request");
}

#[test]
fn selector() {
    try_out("selector");
}

#[test]
fn splice() {
    try_out("splice");
}

#[test]
fn sse() {
    try_out("sse");
}
