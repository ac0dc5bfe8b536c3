//! Names, filters and durations as people type them.

use std::time::Duration;

use dovetail_model::{Filter, FilterError, Topic, TopicError};

/// A name. One leading `/` is taken off, so that the path of a URL works as it is.
pub(crate) fn topic(text: &str) -> Result<Topic, TopicError> {
    Topic::new(text.strip_prefix('/').unwrap_or(text))
}

/// A name or a filter. A trailing `/` stands for everything below, as it does in a URL.
pub(crate) fn filter(text: &str) -> Result<Filter, FilterError> {
    let name = text.strip_prefix('/').unwrap_or(text);
    if name.is_empty() && !text.is_empty() {
        return Ok(Filter::everything());
    }
    match name.strip_suffix('/') {
        Some(parent) => Filter::new(&format!("{parent}/#")),
        None => Filter::new(name),
    }
}

/// A filter, or a name that stands for itself and everything below it.
pub(crate) fn filter_below(text: &str) -> Result<Filter, FilterError> {
    let filter = filter(text)?;
    if filter.is_exact() { Filter::new(&format!("{filter}/#")) } else { Ok(filter) }
}

/// A duration above zero: a number of seconds, or with a unit `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "a duration is a number above 0 with a unit, like 30s, 5m, 2h or 7d";
    let (number, unit_s) = match text.char_indices().last().ok_or(WRONG)? {
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3_600),
        (at, 'd') => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s));
    seconds.filter(|&seconds| seconds > 0).map(Duration::from_secs).ok_or(WRONG)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn names_as_people_type_them() {
        for (text, expected) in [("plant/7", "plant/7"), ("/plant/7", "plant/7"), ("//a", "/a")] {
            assert_eq!(topic(text).unwrap().as_str(), expected);
        }
        assert!(topic("").is_err() && topic("/").is_err() && topic("a/+").is_err());
        for (text, exactly, below) in [
            ("plant", "plant", "plant/#"),
            ("/plant", "plant", "plant/#"),
            ("plant/", "plant/#", "plant/#"),
            ("plant/+/temp", "plant/+/temp", "plant/+/temp"),
            ("plant/#", "plant/#", "plant/#"),
            ("/", "#", "#"),
            ("#", "#", "#"),
        ] {
            assert_eq!(filter(text).unwrap().as_str(), exactly, "{text}");
            assert_eq!(filter_below(text).unwrap().as_str(), below, "{text}");
        }
        assert!(filter("").is_err() && filter("a#").is_err());
    }

    #[test]
    fn durations_as_people_type_them() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("5m", 300), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "s", "-1", "1.5h", "1w", "5ü", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
