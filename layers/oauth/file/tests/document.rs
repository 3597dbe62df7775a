use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::{
    super::document::{Document, merge},
    *,
};

fn at(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn expires(expiry: Expiry, tree: Value) -> Option<SystemTime> {
    Document::read(tree.into(), &CredentialFileOptions::new("f").expiry(expiry)).unwrap().expires
}

#[test]
fn an_expiry_is_read_in_its_unit() {
    let e = || "/e".to_owned();
    let table = [
        (Expiry::Millis(e()), json!(1_700_000_000_000_u64), at(1_700_000_000)),
        (Expiry::Millis(e()), json!(1.7e12), at(1_700_000_000)),
        (Expiry::Millis(e()), json!("1700000000000"), None),
        (Expiry::Millis(e()), json!(null), None),
        (Expiry::Millis(e()), json!(-5), at(0)),
        (Expiry::Millis(e()), json!(1e300), None),
        (Expiry::Seconds(e()), json!(1_700_000_000), at(1_700_000_000)),
        (Expiry::Seconds("/deep/e".into()), json!(1_700_000_000), None),
        (Expiry::Rfc3339(e()), json!("2023-11-14T22:13:20Z"), at(1_700_000_000)),
        (Expiry::Rfc3339(e()), json!("2023-11-15T00:13:20.000+02:00"), at(1_700_000_000)),
        (Expiry::Rfc3339(e()), json!("tomorrow"), None),
        (Expiry::Rfc3339(e()), json!(1_700_000_000), None),
        (Expiry::None, json!(0), None),
        (Expiry::Jwt, json!(0), None),
    ];
    for (expiry, value, expected) in table {
        let what = format!("{expiry:?} {value}");
        assert_eq!(expires(expiry, json!({"access_token": "t", "e": value})), expected, "{what}");
    }
    let token = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
    for (token, expected) in [
        (token(r#"{"exp": 1700000000, "sub": "ü"}"#), at(1_700_000_000)),
        (token(r#"{"sub": "x"}"#), None),
        (token("nonsense"), None),
        ("e30.%%%.sig".into(), None),
        ("opaque".into(), None),
    ] {
        assert_eq!(expires(Expiry::Jwt, json!({"access_token": token})), expected, "{token}");
    }
}

#[test]
fn an_answer_is_written_where_the_file_has_its_fields() {
    let options = CredentialFileOptions::new("f")
        .access("/tokens/access")
        .refresh("/tokens/re~1fresh")
        .endpoint("/where/url")
        .expiry(Expiry::Rfc3339("/tokens/until".into()));
    let mut tree = json!({"tokens": {"access": "a0", "id_token": "i0", "account": 7}, "id_token": "elsewhere"});
    let answer = json!({
        "access_token": "a1", "refresh_token": "r1", "id_token": "i1", "url": "https://x", "expires_in": "60", "more": 1,
        "access": "not this", "until": "nor this",
    });
    merge(&mut tree, answer.as_object().unwrap(), &options, at(1_700_000_000).unwrap());
    assert_eq!(
        tree,
        json!({
            "tokens": {
                "access": "a1", "re/fresh": "r1", "until": "2023-11-14T22:14:20Z", "id_token": "i1", "account": 7,
            },
            "where": {"url": "https://x"}, "id_token": "elsewhere",
        })
    );
}

#[test]
fn an_answer_is_written_wherever_the_file_can_be_read() {
    let answer = json!({"access_token": "a1", "refresh_token": "r1", "expires_in": 60});
    let options = CredentialFileOptions::new("f")
        .access("/accounts/1/access")
        .refresh("/accounts/1/refresh")
        .expiry(Expiry::Seconds("/accounts/1/until".into()));
    let mut tree = json!({"accounts": [{}, {"access": "a0", "refresh": "r0"}]});
    merge(&mut tree, answer.as_object().unwrap(), &options, at(1_700_000_000).unwrap());
    assert_eq!(tree, json!({"accounts": [{}, {"access": "a1", "refresh": "r1", "until": 1_700_000_060}]}));

    let options = CredentialFileOptions::new("f").access("/0").refresh("/1");
    let mut tree = json!(["a0", "r0"]);
    merge(&mut tree, answer.as_object().unwrap(), &options, at(0).unwrap());
    assert_eq!(tree, json!(["a1", "r1"]));

    // As a program may leave it that has logged out.
    let options = CredentialFileOptions::new("f").access("/tokens/access").refresh("/tokens/refresh");
    let mut tree = json!({"tokens": null});
    merge(&mut tree, answer.as_object().unwrap(), &options, at(0).unwrap());
    assert_eq!(tree, json!({"tokens": {"access": "a1", "refresh": "r1"}}));
}

#[test]
fn a_lifetime_that_is_none_leaves_no_expiry() {
    let options = CredentialFileOptions::new("f").expiry(Expiry::Seconds("/until".into()));
    for lifetime in [json!(0), json!(-5), json!(null), json!("soon"), json!(1e300)] {
        let mut tree = json!({"access_token": "a0", "until": 5});
        let answer = json!({"access_token": "a1", "expires_in": lifetime});
        merge(&mut tree, answer.as_object().unwrap(), &options, at(1_700_000_000).unwrap());
        assert_eq!(tree, json!({"access_token": "a1"}), "{lifetime}");
    }
}

proptest! {
    #[test]
    fn no_content_panics(content in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..90) {
        let options = CredentialFileOptions::new("f").endpoint("/e").expiry(Expiry::Jwt);
        let _ = Document::parse(&content, &options);
        let whole = br#"{"access_token": "a.eyJleHAiOjF9.c", "e": "https://x.example", "refresh_token": "r"}"#;
        let _ = Document::parse(&whole[..cut.min(whole.len())], &options);
    }

    #[test]
    fn a_written_expiry_reads_the_same(lifetime in 1_u32..=u32::MAX, start in 0_u64..4_000_000_000) {
        for expiry in [Expiry::Millis("/e".into()), Expiry::Seconds("/e".into()), Expiry::Rfc3339("/e".into())] {
            let options = CredentialFileOptions::new("f").expiry(expiry.clone());
            let mut tree = json!({"access_token": "t"});
            let answer = json!({"access_token": "t", "expires_in": lifetime});
            merge(&mut tree, answer.as_object().unwrap(), &options, at(start).unwrap());
            prop_assert_eq!(expires(expiry, tree), at(start + u64::from(lifetime)));
        }
    }
}
