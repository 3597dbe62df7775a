//! Keeps credentials out of the lines that a diagnostic shows.

use std::ops::Range;

/// A name with one of these in it names a credential.
const SECRET_WORDS: [&str; 7] = ["key", "token", "secret", "password", "authorization", "cookie", "credential"];

/// The text with `*` for every byte of a value that could be a credential, and the rest as it is.
///
/// This works on the lines and not on the tree, because a text that is no YAML has none, and blots out rather too much
/// than too little: what follows a telling name, to the end of its entry, with the deeper lines below; and users,
/// passwords and telling parameters in URLs. References such as `${GROQ_API_KEY}` stay.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // The column of the telling name that the lines before belong to: what is deeper belongs to it too.
    let mut owner: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start_matches([' ', '-']);
        let column = line.len() - content.len();
        let is_item = line.trim_start().starts_with('-');
        let owned = owner.is_some_and(|owner| column > owner || (is_item && column >= owner));
        if owned || (owner.is_some() && content.trim().is_empty()) {
            blot(line, std::iter::once(column..line.len()), &mut masked);
            continue;
        }
        let values = secret_values(line);
        owner = values.last().is_some_and(|last| last.end == line.len()).then_some(column);
        blot(line, values.into_iter().chain(secrets_in_urls(line)), &mut masked);
    }
    masked
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // What a header of one's own is called says nothing of what is in it.
    name == "headers" || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Where the values of telling names are in a line.
fn secret_values(line: &str) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    let mut from = 0;
    while let Some(colon) = line[from..].find(':').map(|at| at + from) {
        from = colon + 1;
        let before = line[..colon].trim_end().trim_end_matches(['"', '\'']);
        let name = before.rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).next();
        let ends_a_key = line[from..].chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '['));
        if ends_a_key && name.is_some_and(is_telling) {
            let in_flow = before.matches('{').count() > before.matches('}').count();
            let end = if in_flow { from + flow_value_end(&line[from..]) } else { line.len() };
            values.push(from..end);
            from = end;
        }
    }
    values
}

/// Where a value inside braces ends: at a `,` or `}` outside of quotes, brackets and references.
fn flow_value_end(text: &str) -> usize {
    let mut quote = None;
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ',' | ']' | '}') if depth == 0 => return at,
            (None, ']' | '}') => depth -= 1,
            (None, _) => {}
        }
    }
    text.len()
}

/// Where the URLs of a line have a user, a password or a telling parameter.
fn secrets_in_urls(line: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    for (scheme, _) in line.match_indices("://") {
        let start = scheme + 3;
        let length =
            line[start..].find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).unwrap_or(line.len() - start);
        let url = &line[start..start + length];
        let authority = &url[..url.find(['/', '?']).unwrap_or(url.len())];
        if let Some(at) = authority.rfind('@') {
            secrets.push(start..start + at);
        }
        let Some(query) = url.find('?') else { continue };
        let mut parameter = start + query + 1;
        for pair in url[query + 1..].split('&') {
            if let Some((name, value)) = pair.split_once('=')
                && is_telling(name)
            {
                let value_start = parameter + name.len() + 1;
                secrets.push(value_start..value_start + value.len());
            }
            parameter += pair.len() + 1;
        }
    }
    secrets
}

/// Appends the line with `*` in these ranges, but for what keeps it readable: blanks, quotes, brackets, references.
fn blot(line: &str, ranges: impl Iterator<Item = Range<usize>>, masked: &mut String) {
    let ranges: Vec<_> = ranges.collect();
    let mut reference_end = 0;
    for (at, character) in line.char_indices() {
        if line[at..].starts_with("${") {
            let reference = line[at..].split_inclusive('}').next().unwrap_or_default();
            // A default may itself be a credential.
            if reference.ends_with('}') && !reference.contains(":-") {
                reference_end = at + reference.len();
            }
        }
        let kept = at < reference_end
            || character.is_whitespace()
            || matches!(character, '"' | '\'' | '[' | ']' | ',')
            || !ranges.iter().any(|range| range.contains(&at));
        if kept {
            masked.push(character);
        } else {
            masked.extend(std::iter::repeat_n('*', character.len_utf8()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mask;

    #[test]
    fn credentials_are_blotted_out() {
        for (text, masked) in [
            ("api_key: sk-1", "api_key: ****"),
            ("- api_key: \"sk-1\" # mine\n  model: m", "- api_key: \"****\" * ****\n  model: m"),
            ("apikey: a,b", "apikey: *,*"),
            ("x: { api_key: sk-1, modles: [a] }", "x: { api_key: ****, modles: [a] }"),
            ("x: { 'api_key': \"s\\\",k\", b: c }", "x: { 'api_key': \"**\",*\", b: c }"),
            ("api_keys:\n- sk-1\n\n- sk-2\nhost: h", "api_keys:\n- ****\n\n- ****\nhost: h"),
            ("a:\n  token: |\n    one\n    two: 2\n  b: c", "a:\n  token: *\n    ***\n    **** *\n  b: c"),
            ("api_keys: [\"${A}\", sk-2]", "api_keys: [\"${A}\", ****]"),
            ("api_key: ${A:-sk-1}", "api_key: **********"),
            ("api_key: ${file:/run/x}", "api_key: ${file:/run/x}"),
            ("api_key: é", "api_key: **"),
            ("header: {authorization: Bearer x, a: b}", "header: {authorization: ****** *, a: b}"),
            ("{ headers: { x-own: abc }, a: b }", "{ headers: * ****** *** *, a: b }"),
            ("base_url: http://me:pw@host/v1", "base_url: http://*****@host/v1"),
            ("url: \"https://h/u?a=b&api_key=sk&c=d\"", "url: \"https://h/u?a=b&api_key=**&c=d\""),
            ("name: keys: not\nmodel: a", "name: keys: ***\nmodel: a"),
            ("condition: quota.tokens == 3", "condition: quota.tokens == 3"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    proptest! {
        #[test]
        fn bytes_stay_where_they_are(text in "([a-z]{0,3}key: ?[\"{\\[]?|[ \\-]{0,3}|[^a-z]{0,3}|\\$\\{|\\}|,|://|\n){0,12}") {
            let masked = mask(&text);
            prop_assert_eq!(masked.len(), text.len());
            for (at, _) in text.char_indices() {
                prop_assert!(masked.is_char_boundary(at));
            }
        }
    }
}
