//! The name of a resource.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::limits::{TOPIC_BYTES, TOPIC_LEVELS};

/// The one name of a resource: its MQTT topic, and its URL path without the leading `/`.
///
/// Valid by construction: 1 to 4,096 bytes of UTF-8, at most 200 levels, no NUL, no wildcard
/// characters ([MQTT-4.7.3-1], [MQTT-4.7.3-2]). Case-sensitive and never normalised; empty levels
/// are legal. Cloning is cheap.
///
/// The order is *tree order*: a topic, then everything below it, then its next sibling. It is the
/// byte order with `/` sorting below every other byte, so that every subtree is one contiguous
/// range of an ordered map.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is not a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicError {
    /// No characters at all.
    #[error("a topic has at least one character")]
    Empty,
    /// More than [`TOPIC_BYTES`].
    #[error("a topic has at most {TOPIC_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// More than [`TOPIC_LEVELS`].
    #[error("a topic has at most {TOPIC_LEVELS} levels, this one has {0}")]
    TooDeep(usize),
    /// `+` or `#` in a name.
    #[error("`{0}` is a wildcard and cannot be part of a topic")]
    Wildcard(char),
    /// A NUL or another control character that the name must not carry.
    #[error("U+0000 cannot be part of a topic")]
    Nul,
}

impl Topic {
    /// Checks `text` and makes it a topic.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_length_and_depth(text)?;
        if let Some(bad) = text.bytes().find(|b| matches!(b, b'+' | b'#' | 0)) {
            return Err(if bad == 0 { TopicError::Nul } else { TopicError::Wildcard(char::from(bad)) });
        }
        Ok(Self(text.into()))
    }

    /// The text of the topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, in order; at least one, possibly empty.
    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.0.split('/')
    }

    /// Whether the topic belongs to the server: its first level starts with `$`
    /// ([MQTT-4.7.2-1]). Wildcards in the first level of a filter never match it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// Orders two names in tree order (see [`Topic`]). Also right for prefixes of names, which need not be
/// topics themselves.
pub fn tree_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let shared = a.len().min(b.len());
    let mut at = 0;
    // Equal words are skipped eight bytes at a time: names that meet in a map share long prefixes.
    while at + 8 <= shared && a[at..at + 8] == b[at..at + 8] {
        at += 8;
    }
    while at < shared {
        let (x, y) = (a[at], b[at]);
        if x != y {
            return match (x, y) {
                (b'/', _) => Ordering::Less,
                (_, b'/') => Ordering::Greater,
                _ => x.cmp(&y),
            };
        }
        at += 1;
    }
    a.len().cmp(&b.len())
}

pub(crate) fn check_length_and_depth(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    let levels = text.bytes().filter(|&b| b == b'/').count() + 1;
    if levels > TOPIC_LEVELS {
        return Err(TopicError::TooDeep(levels));
    }
    Ok(())
}

impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        tree_order(&self.0, &other.0)
    }
}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_mqtt_allows() {
        for text in ["a", "/", "a//b", "/a", "a/", "plant/7/temp", "$internal/x", "Ä/ü", " ", "a b"] {
            assert_eq!(Topic::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        assert_eq!(Topic::new(""), Err(TopicError::Empty));
        assert_eq!(Topic::new("a/+"), Err(TopicError::Wildcard('+')));
        assert_eq!(Topic::new("a#"), Err(TopicError::Wildcard('#')));
        assert_eq!(Topic::new("a\0b"), Err(TopicError::Nul));
        assert!(Topic::new(&"x".repeat(4_096)).is_ok());
        assert_eq!(Topic::new(&"x".repeat(4_097)), Err(TopicError::TooLong(4_097)));
        assert!(Topic::new(&"/".repeat(199)).is_ok());
        assert_eq!(Topic::new(&"/".repeat(200)), Err(TopicError::TooDeep(201)));
    }

    proptest! {
        #[test]
        fn tree_order_keeps_subtrees_together(names in prop::collection::vec("[a!/0-]{1,6}", 1..40), root in "[a!/0-]{1,3}") {
            let mut topics: Vec<Topic> = names.iter().map(|n| Topic::new(n).unwrap()).collect();
            topics.sort();
            let below = |t: &Topic| t.as_str() == root || t.as_str().starts_with(&format!("{root}/"));
            let runs = topics.chunk_by(|a, b| below(a) == below(b)).filter(|run| below(&run[0])).count();
            prop_assert!(runs <= 1, "{root} is split in {topics:?}");
        }

        #[test]
        fn tree_order_is_the_order_of_the_levels(a in "[a!/0-]{1,24}", b in "[a!/0-]{1,24}") {
            let (x, y) = (Topic::new(&a).unwrap(), Topic::new(&b).unwrap());
            prop_assert_eq!(x.cmp(&y), x.levels().cmp(y.levels()));
        }
    }
}
