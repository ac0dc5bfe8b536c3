//! The query of a request.

use std::time::Duration;

use dovetail_calls::pages::Page;
use dovetail_model::{Revision, limits};
use percent_encoding::percent_decode_str;

use crate::problem::{Answer, Failure};

/// The most changes that one catch-up document gives.
pub(crate) const CHANGES_MAX: usize = 10_000;
/// The changes that one catch-up document gives unless asked otherwise.
const CHANGES: usize = 1_000;

/// What a query says, checked. Parameters that the server does not know are left alone.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) since: Option<Revision>,
    pub(crate) every: bool,
    pub(crate) wait: Option<Duration>,
    pub(crate) limit: Option<usize>,
    pub(crate) page: Option<Page>,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub(crate) fn parse(query: Option<&str>) -> Answer<Self> {
        let mut parsed = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !matches!(name, "since" | "every" | "wait" | "limit" | "page") {
                continue;
            }
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| Failure::bad_request(format!("`{name}` is not UTF-8")))?;
            parsed.set(name, &value)?;
        }
        Ok(parsed)
    }

    /// How many changes a catch-up document gives.
    pub(crate) fn changes_limit(&self) -> usize {
        self.limit.unwrap_or(CHANGES).min(CHANGES_MAX)
    }

    fn set(&mut self, name: &str, value: &str) -> Answer<()> {
        let wrong = |what: &str| Failure::bad_request(format!("`{name}` is {what}"));
        match name {
            "since" => {
                let revision =
                    value.parse().map_err(|error| Failure::invalid_revision(format!("since: {error}")))?;
                self.since = Some(revision);
            }
            "every" => {
                self.every = match value {
                    "" | "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(wrong("a switch: leave out its value")),
                };
            }
            "wait" => {
                let wait = duration(value).ok_or_else(|| wrong("a number of seconds, like 30 or 30s"))?;
                self.wait = Some(wait.min(limits::LONG_POLL_WAIT));
            }
            "limit" => {
                let limit = value.parse().ok().filter(|&limit| limit > 0);
                self.limit = Some(limit.ok_or_else(|| wrong("a number above 0"))?);
            }
            "page" => {
                let page = value.parse().map_err(|_| wrong("not one that this server gave"))?;
                self.page = Some(page);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A hundred years: more is as good as a mistake.
const DURATION_MOST_S: u64 = 100 * 365 * 86_400;

/// A duration: a whole number of seconds, or with a unit `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit_s) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3_600),
        b'd' => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit_s)?;
    (seconds <= DURATION_MOST_S).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn durations_as_documented() {
        for (text, seconds) in
            [("30", 30), ("30s", 30), ("5m", 300), ("2h", 7_200), ("7d", 604_800), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1.5", "1w", "1 s", "9999999999999999999", "36501d", "1ms"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_are_checked_and_strangers_left_alone() {
        let query =
            Query::parse(Some("x=%zz&since=k3f9x2ab.7&every&wait=9d&limit=2&page=k3f9x2ab.7%2Fa%2Fb%20c"))
                .unwrap();
        assert_eq!(query.since, Some("k3f9x2ab.7".parse().unwrap()));
        assert!(query.every);
        assert_eq!(query.wait, Some(limits::LONG_POLL_WAIT));
        assert_eq!(query.changes_limit(), 2);
        let page = query.page.unwrap();
        assert_eq!((page.at.to_string(), page.after.to_string()), ("k3f9x2ab.7".into(), "a/b c".into()));
        for wrong in [
            "since=1",
            "since=",
            "every=maybe",
            "wait=soon",
            "limit=0",
            "limit=-1",
            "limit=x",
            "page=1",
            "page=k3f9x2ab.7/%23",
            "wait=%ff",
        ] {
            assert!(Query::parse(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(Query::parse(Some("limit=99999999")).unwrap().changes_limit(), CHANGES_MAX);
        assert_eq!(Query::parse(None).unwrap().changes_limit(), CHANGES);
    }
}
