//! Names as URL paths: the mapping between a path and a topic or filter.
//!
//! The path without its leading `/`, split on raw `/`, each segment percent-decoded once, is the
//! topic. A segment that is `+`, or a last one that is `#` (written `%23`), makes it a filter. A
//! trailing `/` means the collection: `/a/` is the filter `a/#`, and `/` is `#`. Segments `.` and
//! `..` are refused, because clients and intermediaries would resolve them away; `%2F` and NUL are
//! refused, because they would make two names one or one name two.
//!
//! The mapping is injective: no two paths in canonical form mean one name, and every name that has
//! a path comes back from it. A topic that ends in `/`, has a level `.` or `..`, or whose first level
//! is `-` has no path.

use dovetail_model::{Filter, FilterError, Topic, TopicError};

/// What a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Name {
    /// One resource.
    Topic(Topic),
    /// A collection: everything that matches.
    Filter(Filter),
    /// Something of the server's own: the path after `/-/`, decoded.
    Server(Box<str>),
}

/// Why a path names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// It does not start with `/`.
    #[error("a path starts with `/`")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("`%` stands before two hexadecimal digits")]
    Escape,
    /// Not UTF-8 after decoding.
    #[error("a path is UTF-8 after percent-decoding")]
    NotUtf8,
    /// `%2F`.
    #[error("`/` cannot be part of a level")]
    EncodedSlash,
    /// `.` or `..`.
    #[error("`.` and `..` cannot be levels of a path")]
    DotSegment,
    /// Not a topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Has a wildcard, and is no filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// What `path`, the path of a request target without its query, names.
///
/// # Errors
/// See [`NameError`].
pub fn parse(path: &str) -> Result<Name, NameError> {
    let rest = path.strip_prefix('/').ok_or(NameError::NotAbsolute)?;
    let text = decode(rest)?;
    let (first, below) = text.split_once('/').unwrap_or((&text, ""));
    if first == "-" {
        return Ok(Name::Server(below.into()));
    }
    if text.is_empty() {
        return Ok(Name::Filter(Filter::everything()));
    }
    if let Some(parent) = text.strip_suffix('/') {
        return Ok(Name::Filter(Filter::new(&format!("{parent}/#"))?));
    }
    if text.split('/').any(|level| matches!(level, "+" | "#")) {
        return Ok(Name::Filter(Filter::new(&text)?));
    }
    Ok(Name::Topic(Topic::new(&text)?))
}

/// The path of a topic, in canonical form; `None` if it has none.
pub fn path_of(topic: &Topic) -> Option<String> {
    path_of_text(topic.as_str())
}

/// The path of a filter, in canonical form; `None` if it has none.
pub fn path_of_filter(filter: &Filter) -> Option<String> {
    match filter.as_str() {
        "#" => Some("/".to_owned()),
        text => match text.strip_suffix("/#") {
            Some(parent) => path_of_text(&format!("{parent}/x")).map(|mut path| {
                path.truncate(path.len() - 1);
                path
            }),
            None => path_of_text(text),
        },
    }
}

/// A path as a reference for header fields and links: one that starts with `//` would be read as a
/// host, so it gets a dot segment, which clients resolve away (RFC 3986 §5.2.4).
pub fn reference(path: &str) -> String {
    if path.starts_with("//") { format!("/.{path}") } else { path.to_owned() }
}

fn path_of_text(text: &str) -> Option<String> {
    let mut path = String::with_capacity(text.len() + 8);
    for (index, level) in text.split('/').enumerate() {
        if matches!(level, "." | "..") || index == 0 && level == "-" {
            return None;
        }
        path.push('/');
        encode(&mut path, level);
    }
    (!text.ends_with('/')).then_some(path)
}

/// Appends `text` percent-encoded, so that it is one segment of a path (RFC 3986 §3.3).
fn encode(path: &mut String, text: &str) {
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            path.push('%');
            path.push(char::from(HEX[usize::from(byte >> 4)]));
            path.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Decodes a path whose separators are raw, and refuses the levels that no path may have.
fn decode(raw: &str) -> Result<std::borrow::Cow<'_, str>, NameError> {
    let has_escapes = raw.contains('%');
    if raw.split('/').any(|level| matches!(level, "." | "..")) {
        return Err(NameError::DotSegment);
    }
    if !has_escapes {
        return Ok(raw.into());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(NameError::Escape) };
        rest = tail;
        match (hex(*high), hex(*low)) {
            (Some(2), Some(15)) => return Err(NameError::EncodedSlash),
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(NameError::Escape),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
    // No escape gave a `/`, so the levels are those of the raw path, decoded.
    if text.split('/').any(|level| matches!(level, "." | "..")) {
        return Err(NameError::DotSegment);
    }
    Ok(text.into())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use proptest::prelude::*;

    #[derive(PartialEq, Debug)]
    enum Is {
        Topic(&'static str),
        Filter(&'static str),
        Server(&'static str),
        Refused,
    }

    #[test]
    fn paths_mean_what_the_contract_says() {
        for (path, expected) in [
            ("/a", Is::Topic("a")),
            ("/plant/7/temp", Is::Topic("plant/7/temp")),
            ("/A", Is::Topic("A")),
            ("//a", Is::Topic("/a")),
            ("/a//b", Is::Topic("a//b")),
            ("/a%20b", Is::Topic("a b")),
            ("/%C3%84", Is::Topic("Ä")),
            ("/%c3%84", Is::Topic("Ä")),
            ("/a%2520", Is::Topic("a%20")),
            ("/a.b/.c/...", Is::Topic("a.b/.c/...")),
            ("/$SYS/x", Is::Topic("$SYS/x")),
            ("/a-/-", Is::Topic("a-/-")),
            ("/", Is::Filter("#")),
            ("/a/", Is::Filter("a/#")),
            ("//", Is::Filter("/#")),
            ("/a//", Is::Filter("a//#")),
            ("/+", Is::Filter("+")),
            ("/a/+/temp", Is::Filter("a/+/temp")),
            ("/a/%2B/temp", Is::Filter("a/+/temp")),
            ("/a/+/", Is::Filter("a/+/#")),
            ("/a/%23", Is::Filter("a/#")),
            ("/%23", Is::Filter("#")),
            ("/-", Is::Server("")),
            ("/-/", Is::Server("")),
            ("/-/health", Is::Server("health")),
            ("/%2D/health", Is::Server("health")),
            ("/-/publish/a/b", Is::Server("publish/a/b")),
            ("", Is::Refused),
            ("a", Is::Refused),
            ("/a/%23/b", Is::Refused),
            ("/a/%23/", Is::Refused),
            ("/a+b", Is::Refused),
            ("/a%23", Is::Refused),
            ("/a%2Fb", Is::Refused),
            ("/a%2fb", Is::Refused),
            ("/a%00", Is::Refused),
            ("/%ff", Is::Refused),
            ("/%C3", Is::Refused),
            ("/a%", Is::Refused),
            ("/a%4", Is::Refused),
            ("/a%zz", Is::Refused),
            ("/a%+1", Is::Refused),
            ("/.", Is::Refused),
            ("/a/../b", Is::Refused),
            ("/a/%2e%2E", Is::Refused),
            ("/a/.%2e/b", Is::Refused),
            ("/./a", Is::Refused),
        ] {
            let result = parse(path);
            let got = match &result {
                Ok(Name::Topic(topic)) => Is::Topic(leak(topic.as_str())),
                Ok(Name::Filter(filter)) => Is::Filter(leak(filter.as_str())),
                Ok(Name::Server(rest)) => Is::Server(leak(rest)),
                Err(_) => Is::Refused,
            };
            assert_eq!(got, expected, "{path}: {result:?}");
        }
        assert!(parse(&format!("/{}", "x".repeat(4_096))).is_ok());
        assert!(parse(&format!("/{}", "x".repeat(4_097))).is_err());
        assert!(parse(&format!("/{}x", "x/".repeat(199))).is_ok());
        assert!(parse(&format!("/{}x", "x/".repeat(200))).is_err());
    }

    fn leak(text: &str) -> &'static str {
        Box::leak(text.into())
    }

    #[test]
    fn some_topics_have_no_path() {
        for text in ["a/", "/", "a/./b", "..", "-", "-/a"] {
            assert_eq!(path_of(&Topic::new(text).unwrap()), None, "{text}");
        }
        for text in ["a/./#", "-/#", "-/+", "a/+/"] {
            assert_eq!(path_of_filter(&Filter::new(text).unwrap()), None, "{text}");
        }
        assert_eq!(reference("//evil.example/a"), "/.//evil.example/a");
        assert_eq!(reference("/a//b"), "/a//b");
    }

    proptest! {
        #[test]
        fn every_topic_with_a_path_comes_back_from_it(text in "([a-c/.$ %?Ä-]|\\PC|\\n){1,12}") {
            let Ok(topic) = Topic::new(&text) else { return Ok(()) };
            if let Some(path) = path_of(&topic) {
                    let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b));
                    prop_assert!(is_plain, "not a path of a request: {}", path);
                    prop_assert_eq!(parse(&path), Ok(Name::Topic(topic)));
            } else {
                    let has_dots = topic.levels().any(|level| matches!(level, "." | ".."));
                    prop_assert!(text.ends_with('/') || has_dots || topic.levels().next() == Some("-"));
            }
        }

        #[test]
        fn every_path_means_one_name_whose_path_means_the_same(path in "/([a-b/.+-]|%2[BbDdEeFf0-9]|%23|%[0-9a-fA-F]{2}|%|Ä|\\PC){0,8}") {
            let Ok(name) = parse(&path) else { return Ok(()) };
            let canonical = match &name {
                Name::Topic(topic) => path_of(topic),
                Name::Filter(filter) => path_of_filter(filter),
                Name::Server(_) => return Ok(()),
            };
            let canonical = canonical.unwrap();
            prop_assert_eq!(parse(&canonical), Ok(name));
        }

        #[test]
        fn no_two_topics_have_one_path(a in "[ab/.%2F ]{1,6}", b in "[ab/.%2F ]{1,6}") {
            let (x, y) = (Topic::new(&a).unwrap(), Topic::new(&b).unwrap());
            if let (Some(p), Some(q)) = (path_of(&x), path_of(&y)) {
                prop_assert_eq!(p == q, x == y);
            }
        }
    }
}
