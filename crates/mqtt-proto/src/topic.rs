//! Topics and topic filters (§4.7), shared subscriptions (§4.8.2).

use crate::error::DecodeError;

/// The two halves of a shared subscription's filter, `$share/{name}/{filter}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared<'a> {
    /// The name of the group.
    pub name: &'a str,
    /// The filter that the group shares.
    pub filter: &'a str,
}

/// Checks a topic to publish to: at least one character `[MQTT-4.7.3-1]`, no wildcard `[MQTT-3.3.2-2]`.
///
/// # Errors
/// [`DecodeError::Topic`].
pub fn check_topic(topic: &str) -> Result<(), DecodeError> {
    if topic.is_empty() || has_wildcard(topic) { Err(DecodeError::Topic) } else { Ok(()) }
}

/// Checks a filter: at least one character, `#` alone in the last level `[MQTT-4.7.1-1]`, `+` alone in its level
/// `[MQTT-4.7.1-2]`, and for a shared subscription a name without wildcard and a filter `[MQTT-4.8.2-1]`,
/// `[MQTT-4.8.2-2]`.
///
/// # Errors
/// [`DecodeError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), DecodeError> {
    let filter = match filter.strip_prefix("$share/") {
        Some(_) => split_shared(filter).ok_or(DecodeError::Filter)?.filter,
        None => filter,
    };
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1;
        if (level.contains('#') && !(alone && levels.peek().is_none())) || (level.contains('+') && !alone) {
            return Err(DecodeError::Filter);
        }
    }
    if filter.is_empty() { Err(DecodeError::Filter) } else { Ok(()) }
}

/// The group and the filter of a shared subscription; `None` for any other filter and for an ill-formed one.
pub fn split_shared(filter: &str) -> Option<Shared<'_>> {
    let (name, filter) = filter.strip_prefix("$share/")?.split_once('/')?;
    (!name.is_empty() && !has_wildcard(name) && !filter.is_empty()).then_some(Shared { name, filter })
}

pub(crate) fn has_wildcard(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}
