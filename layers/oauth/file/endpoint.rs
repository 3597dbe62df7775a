//! The base URL that a credential file names.

use std::net::IpAddr;

use http::{Uri, uri::Scheme};

/// A base URL as credential files have it, made whole: as by [`normalize`], and with `/v1` behind.
pub(super) fn with_version(text: &str) -> Option<Uri> {
    let url = normalize(text)?;
    if url.path().ends_with("/v1") {
        return Some(url);
    }
    format!("{}/v1", url.to_string().trim_end_matches('/')).parse().ok()
}

/// A base URL made whole: no `/` at the end, `https://` before a bare host.
///
/// `None` if it is not a URL of a host, or one that could send a token in the clear.
pub(in crate::oauth) fn normalize(text: &str) -> Option<Uri> {
    let text = text.trim();
    let mut url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    url.truncate(url.trim_end_matches('/').len());
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let host = authority.host();
    let secure = uri.scheme() == Some(&Scheme::HTTPS) || uri.scheme() == Some(&Scheme::HTTP) && is_loopback(host);
    let plain = !authority.as_str().contains('@') && uri.query().is_none() && !url.contains('#');
    (secure && plain && !host.is_empty()).then_some(uri)
}

/// Whether a host is matched by a pattern in which `*` stands for any text without a dot. Case does not matter.
pub(in crate::oauth) fn matches_host(pattern: &str, host: &str) -> bool {
    let mut labels = host.split('.');
    // A star that could cross a dot would let in hosts that others can register below the same domain.
    pattern.split('.').all(|pattern| labels.next().is_some_and(|label| matches_label(pattern, label)))
        && labels.next().is_none()
}

fn matches_label(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(label),
        Some((start, rest)) => {
            let Some(tail) = label.get(start.len()..).filter(|_| label[..start.len()].eq_ignore_ascii_case(start))
            else {
                return false;
            };
            tail.char_indices().map(|(at, _)| &tail[at..]).chain([""]).any(|tail| matches_label(rest, tail))
        }
    }
}

/// Whether a host, as a URL has it, is this machine.
pub(in crate::oauth) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_endpoint_is_made_whole() {
        for (text, whole) in [
            ("portal.qwen.ai", Some("https://portal.qwen.ai/v1")),
            ("https://portal.qwen.ai/", Some("https://portal.qwen.ai/v1")),
            (" https://portal.qwen.ai/v1// ", Some("https://portal.qwen.ai/v1")),
            ("https://host/compatible-mode/v1", Some("https://host/compatible-mode/v1")),
            ("https://host:8443/x", Some("https://host:8443/x/v1")),
            ("http://127.0.0.1:9/v1", Some("http://127.0.0.1:9/v1")),
            ("http://[::1]:9", Some("http://[::1]:9/v1")),
            ("http://localhost", Some("http://localhost/v1")),
            ("http://portal.qwen.ai", None),
            ("ftp://portal.qwen.ai", None),
            ("https://portal.qwen.ai@evil.example", None),
            ("https://portal.qwen.ai/?x=1", None),
            ("https://portal.qwen.ai/#", None),
            ("https://", None),
            ("two words", None),
        ] {
            assert_eq!(with_version(text).map(|uri| uri.to_string()).as_deref(), whole, "{text}");
        }
    }

    #[test]
    fn an_endpoint_of_another_kind_stays_as_it_is() {
        for (text, whole) in [
            ("https://api.individual.githubcopilot.com/", "https://api.individual.githubcopilot.com/"),
            ("host/base", "https://host/base"),
        ] {
            assert_eq!(normalize(text).map(|uri| uri.to_string()).as_deref(), Some(whole), "{text}");
        }
    }

    #[test]
    fn a_star_does_not_cross_a_dot() {
        for (pattern, host, matches) in [
            ("portal.qwen.ai", "Portal.Qwen.AI", true),
            ("portal.qwen.ai", "portal.qwen.ai.evil.example", false),
            ("*.qwen.ai", "chat.qwen.ai", true),
            ("*.qwen.ai", "qwen.ai", false),
            ("*.qwen.ai", "a.b.qwen.ai", false),
            ("dashscope*.aliyuncs.com", "dashscope-intl.aliyuncs.com", true),
            ("dashscope*.aliyuncs.com", "dashscope.aliyuncs.com", true),
            ("dashscope*.aliyuncs.com", "dashscope.oss-cn-hangzhou.aliyuncs.com", false),
            ("a*b*c.x", "a1b2b3c.x", true),
            ("a*b*c.x", "a1c.x", false),
            ("*", "localhost", true),
        ] {
            assert_eq!(matches_host(pattern, host), matches, "{pattern} {host}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".*", pattern in "[a-z*.é]{0,9}", host in "[a-z.é]{0,9}") {
            let _ = with_version(&text);
            let _ = matches_host(&pattern, &host);
        }

        #[test]
        fn a_host_matches_itself(host in "[a-z0-9-]{1,9}([.][a-z0-9-]{1,9}){0,3}") {
            prop_assert!(matches_host(&host, &host));
        }
    }
}
