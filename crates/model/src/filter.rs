//! The one filter language: MQTT topic filters.

use std::fmt;
use std::sync::Arc;

use crate::Topic;
use crate::topic::{TopicError, check_length_and_depth};

/// An MQTT topic filter: levels, `+` for exactly one level, a last `#` for any number of levels
/// including none ([MQTT-4.7.1-1], [MQTT-4.7.1-2]).
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Filter(Arc<str>);

/// Why a text is not a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// Too long, too deep, empty or with NUL, like a topic.
    #[error("a filter obeys the limits of topics: {0}")]
    Topic(#[from] TopicError),
    /// `#` that is not a whole last level.
    #[error("`#` stands alone and last in a filter, like `a/#`")]
    MultiLevel,
    /// `+` that is not a whole level.
    #[error("`+` stands for a whole level of a filter, like `a/+/b`")]
    SingleLevel,
}

impl Filter {
    /// Checks `text` and makes it a filter.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        check_length_and_depth(text)?;
        if text.contains('\0') {
            return Err(TopicError::Nul.into());
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(FilterError::MultiLevel);
            }
            if level.contains('+') && level != "+" {
                return Err(FilterError::SingleLevel);
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter that matches exactly `topic`.
    pub fn exactly(topic: &Topic) -> Self {
        Self(topic.as_str().into())
    }

    /// The filter that matches every topic that is not reserved: `#`.
    pub fn everything() -> Self {
        Self("#".into())
    }

    /// The text of the filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, in order; `+` and `#` are levels like others here.
    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.0.split('/')
    }

    /// Whether the filter has no wildcard.
    pub fn is_exact(&self) -> bool {
        !self.0.bytes().any(|b| matches!(b, b'+' | b'#'))
    }

    /// The topic that the filter names, if it has no wildcard.
    pub fn as_topic(&self) -> Option<Topic> {
        Topic::new(&self.0).ok()
    }

    /// Whether `topic` matches. A wildcard in the first level never matches a reserved topic
    /// ([MQTT-4.7.2-1]).
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            if level == "#" {
                return true;
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Filter {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn matches_as_the_standard_says() {
        let table = [
            ("sport/tennis/#", "sport/tennis", true),
            ("sport/tennis/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+", "finance", true),
            ("+", "/finance", false),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("a", "a", true),
            ("a", "A", false),
            ("a", "a/", false),
            ("a/+/c", "a//c", true),
        ];
        for (filter, topic, expected) in table {
            let matched = Filter::new(filter).unwrap().matches(&Topic::new(topic).unwrap());
            assert_eq!(matched, expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn refuses_ill_formed_filters() {
        for text in ["a/#/b", "a#", "#/a", "a/b#"] {
            assert_eq!(Filter::new(text), Err(FilterError::MultiLevel), "{text}");
        }
        for text in ["a+", "+a/b", "a/b+/c"] {
            assert_eq!(Filter::new(text), Err(FilterError::SingleLevel), "{text}");
        }
        assert_eq!(Filter::new(""), Err(TopicError::Empty.into()));
        assert_eq!(Filter::new("a\0"), Err(TopicError::Nul.into()));
    }
}
