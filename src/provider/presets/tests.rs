use std::collections::HashSet;

use http::HeaderName;

use super::PRESETS;

#[test]
fn names_are_unambiguous() {
    let mut seen = HashSet::new();
    for preset in &PRESETS {
        // Aliases may differ from their own preset's name by case alone, but not from another's.
        let own: HashSet<_> = preset.names().map(str::to_lowercase).collect();
        for name in own {
            assert!(seen.insert(name.clone()), "{name} is listed twice");
        }
    }
}

#[test]
fn every_value_can_be_used() {
    for preset in &PRESETS {
        if let Some(url) = preset.base_url {
            assert!(url.parse::<http::Uri>().is_ok() && !url.ends_with('/'), "{}: {url}", preset.name);
        }
        for (name, value) in preset.headers {
            assert!(name.parse::<HeaderName>().is_ok() && value.parse::<http::HeaderValue>().is_ok());
        }
        for name in preset.quota_headers {
            assert_eq!(name.to_ascii_lowercase(), *name, "{}", preset.name);
            assert!(name.trim_end_matches('*').parse::<HeaderName>().is_ok(), "{}: {name}", preset.name);
        }
        if let Some(dialect) = &preset.dialect {
            assert!(dialect.path.starts_with("/v1/"), "{}", preset.name);
        }
        if let Some(login) = &preset.login {
            let grant = login.grant.iter().flat_map(|grant| [Some(grant.token_url), grant.device_url]);
            for url in grant.flatten().chain(login.exchange.iter().map(|exchange| exchange.url)) {
                assert_eq!(url.parse::<http::Uri>().unwrap().scheme_str(), Some("https"), "{}", preset.name);
            }
            let exchange = login.exchange.iter();
            let exchange = exchange.flat_map(|it| [Some(it.access), it.endpoint, it.expiry.map(|expiry| expiry.field)]);
            let expiry = login.expiry.map(|expiry| expiry.field);
            let pointers = [Some(login.access), Some(login.refresh), login.endpoint, expiry].into_iter();
            for pointer in pointers.chain(exchange).flatten() {
                assert!(pointer.starts_with('/'), "{}: {pointer}", preset.name);
            }
            assert!(!login.files.is_empty(), "{}", preset.name);
        }
        if let Some(request) = &preset.quota {
            let url: http::Uri = request.url.parse().unwrap();
            assert_eq!(url.scheme_str(), Some("https"), "{}", preset.name);
            assert!(request.method.parse::<http::Method>().is_ok());
            assert!(request.pointer.is_empty() || request.pointer.starts_with('/'));
        }
    }
}
