//! Conditional requests (RFC 9110 §13).

use std::time::UNIX_EPOCH;

use dovetail_api::batch;
use dovetail_calls::write::precondition;
use dovetail_engine::Precondition;
use dovetail_model::{Resource, Revision};
use http::{HeaderMap, HeaderName, header};

use crate::problem::{Answer, Failure};

/// The conditions of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conditions {
    matching: Option<Tags>,
    none_matching: Option<Tags>,
    /// Seconds since 1970. A date that cannot be read is left alone (§13.1.3, §13.1.4).
    modified_since_s: Option<u64>,
    unmodified_since_s: Option<u64>,
}

/// A list of entity tags, or `*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tags {
    Any,
    List(Vec<Tag>),
}

/// One entity tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    is_weak: bool,
    /// `None` for one that this server never gives, and that matches nothing.
    revision: Option<Revision>,
}

/// What the conditions of a read come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

/// What a condition can be about: the revision of the last change, and its time if there is one.
/// Without a time, conditions on dates are left alone (§13.1.3, §13.1.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) modified_s: Option<u64>,
}

impl State {
    pub(crate) fn of(resource: &Resource, revision: Revision) -> Self {
        Self { revision, modified_s: Some(resource.modified_at / 1_000) }
    }
}

impl Conditions {
    /// The conditions of a request.
    ///
    /// # Errors
    /// 400 when a list of entity tags is none.
    pub(crate) fn of(headers: &HeaderMap) -> Answer<Self> {
        Ok(Self {
            matching: tags(headers, &header::IF_MATCH)?,
            none_matching: tags(headers, &header::IF_NONE_MATCH)?,
            modified_since_s: date(headers, &header::IF_MODIFIED_SINCE),
            unmodified_since_s: date(headers, &header::IF_UNMODIFIED_SINCE),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The tags of `If-None-Match`.
    pub(crate) fn if_none_match(&self) -> Option<&Tags> {
        self.none_matching.as_ref()
    }

    /// Whether a write without a precondition of the engine's would do: there is `If-Unmodified-Since`
    /// to compare with the current state.
    pub(crate) fn needs_state(&self) -> bool {
        self.matching.is_none() && self.unmodified_since_s.is_some()
    }

    /// Evaluates the conditions of a GET or HEAD in the order of §13.2.2.
    pub(crate) fn evaluate(&self, current: Option<State>) -> Verdict {
        let precondition_holds = match (&self.matching, self.unmodified_since_s) {
            (Some(tags), _) => tags.match_strongly(current),
            (None, Some(date_s)) => {
                current.is_some_and(|state| state.modified_s.is_none_or(|modified_s| modified_s <= date_s))
            }
            (None, None) => true,
        };
        if !precondition_holds {
            return Verdict::Failed;
        }
        let is_modified = match (&self.none_matching, self.modified_since_s) {
            (Some(tags), _) => !tags.match_weakly(current),
            (None, Some(date_s)) => {
                current.is_none_or(|state| state.modified_s.is_none_or(|modified_s| modified_s > date_s))
            }
            (None, None) => true,
        };
        if is_modified { Verdict::Proceed } else { Verdict::NotModified }
    }

    /// The same for a write, as a precondition that the engine checks at the moment of the write.
    /// `current` is looked at only where there is `If-Unmodified-Since`: the engine then makes sure
    /// that nothing has happened since it was looked at.
    ///
    /// # Errors
    /// 400 for the one combination that cannot be said; 412 where a date fails.
    pub(crate) fn precondition(&self, path: &str, current: Option<State>) -> Answer<Precondition> {
        if let (None, Some(date_s)) = (&self.matching, self.unmodified_since_s) {
            return match current {
                Some(state) if state.modified_s.is_none_or(|modified_s| modified_s <= date_s) => {
                    Ok(Precondition::AnyOf(vec![state.revision]))
                }
                _ => Err(Failure::precondition_failed(path, current.map(|state| state.revision))),
            };
        }
        // Of tags that have to match, only strong ones can; of those that must not, all count (§13.1.1, §13.1.2).
        let matching = self.matching.as_ref().map(|tags| tags.said(strong));
        let none_matching = self.none_matching.as_ref().map(|tags| tags.said(any));
        precondition(matching.as_ref(), none_matching.as_ref()).ok_or_else(|| {
            Failure::bad_request("`If-Match: *` cannot be combined with a list in If-None-Match")
        })
    }
}

fn strong(tag: &Tag) -> Option<Revision> {
    tag.revision.filter(|_| !tag.is_weak)
}

fn any(tag: &Tag) -> Option<Revision> {
    tag.revision
}

impl Tags {
    /// The revisions in the list; none for `*`.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = Revision> {
        let list = match self {
            Self::Any => &[],
            Self::List(list) => list.as_slice(),
        };
        list.iter().filter_map(any)
    }

    /// The same as a batch says it: without quotes, and with the revisions that `of` gives.
    fn said(&self, of: impl Fn(&Tag) -> Option<Revision>) -> batch::Tags {
        match self {
            Self::Any => batch::Tags::Any,
            Self::List(list) => batch::Tags::List(list.iter().filter_map(of).collect()),
        }
    }

    fn match_strongly(&self, current: Option<State>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::List(list) => {
                current.is_some_and(|state| list.iter().filter_map(strong).any(|tag| tag == state.revision))
            }
        }
    }

    fn match_weakly(&self, current: Option<State>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::List(list) => {
                current.is_some_and(|state| list.iter().filter_map(any).any(|tag| tag == state.revision))
            }
        }
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Answer<Option<Tags>> {
    let mut all = None;
    for value in headers.get_all(name) {
        let more = parse_tags(value.as_bytes()).ok_or_else(|| {
            Failure::bad_request(format!("{name} is `*` or a list of entity tags in quotes"))
        })?;
        all = Some(match (all, more) {
            (None, more) => more,
            (Some(Tags::List(mut list)), Tags::List(more)) => {
                list.extend(more);
                Tags::List(list)
            }
            _ => return Err(Failure::bad_request(format!("in {name}, `*` stands alone"))),
        });
    }
    Ok(all)
}

/// `*`, or `[W/]"…"` separated by commas; empty elements are allowed (§5.6.1).
fn parse_tags(text: &[u8]) -> Option<Tags> {
    if text.trim_ascii() == b"*" {
        return Some(Tags::Any);
    }
    let mut list = Vec::new();
    let mut rest = text.trim_ascii_start();
    loop {
        while let [b',', tail @ ..] = rest {
            rest = tail.trim_ascii_start();
        }
        if rest.is_empty() {
            break;
        }
        let (is_weak, quoted) = match rest {
            [b'W', b'/', tail @ ..] => (true, tail),
            other => (false, other),
        };
        let [b'"', opaque @ ..] = quoted else { return None };
        let end = opaque.iter().position(|&b| b == b'"')?;
        if !opaque[..end].iter().all(|&b| b == 0x21 || b >= 0x23 && b != 0x7f) {
            return None;
        }
        let revision = std::str::from_utf8(&opaque[..end]).ok().and_then(|text| text.parse().ok());
        list.push(Tag { is_weak, revision });
        rest = opaque[end + 1..].trim_ascii_start();
        if !matches!(rest, [] | [b',', ..]) {
            return None;
        }
    }
    (!list.is_empty()).then_some(Tags::List(list))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use http::HeaderValue;

    fn conditions(fields: &[(&HeaderName, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers).unwrap()
    }

    fn rev(number: u64) -> Revision {
        format!("k3f9x2ab.{number}").parse().unwrap()
    }

    type Row<'a> = (&'a [(&'a HeaderName, &'a str)], Option<State>, Verdict);

    const DAY_1: &str = "Fri, 02 Jan 1970 00:00:00 GMT";

    #[test]
    fn reads_follow_the_order_of_the_standard() {
        use Verdict::{Failed, NotModified, Proceed};
        let exists = |number, modified_s| Some(State { revision: rev(number), modified_s: Some(modified_s) });
        let now = exists(7, 86_400);
        let (m, n) = (&header::IF_MATCH, &header::IF_NONE_MATCH);
        let (ms, us) = (&header::IF_MODIFIED_SINCE, &header::IF_UNMODIFIED_SINCE);
        let (seven, eight) = ("\"k3f9x2ab.7\"", "\"k3f9x2ab.8\"");
        let table: &[Row<'_>] = &[
            (&[], now, Proceed),
            (&[], None, Proceed),
            (&[(m, "*")], now, Proceed),
            (&[(m, "*")], None, Failed),
            (&[(m, seven)], now, Proceed),
            (&[(m, eight)], now, Failed),
            (&[(m, "\"x\", \"k3f9x2ab.7\"")], now, Proceed),
            (&[(m, "\"x\""), (m, seven)], now, Proceed),
            (&[(m, "W/\"k3f9x2ab.7\"")], now, Failed),
            (&[(m, seven)], None, Failed),
            (&[(n, "*")], now, NotModified),
            (&[(n, "*")], None, Proceed),
            (&[(n, seven)], now, NotModified),
            (&[(n, "W/\"k3f9x2ab.7\"")], now, NotModified),
            (&[(n, ",, \"a,b\" ,\"k3f9x2ab.7\",")], now, NotModified),
            (&[(n, eight)], now, Proceed),
            (&[(n, "\"k3f9x2ac.7\"")], now, Proceed),
            (&[(m, seven), (n, seven)], now, NotModified),
            (&[(m, eight), (n, seven)], now, Failed),
            (&[(us, DAY_1)], now, Proceed),
            (&[(us, DAY_1)], exists(7, 86_401), Failed),
            (&[(m, seven), (us, DAY_1)], exists(7, 86_401), Proceed),
            (&[(ms, DAY_1)], now, NotModified),
            (&[(ms, DAY_1)], exists(7, 86_401), Proceed),
            (&[(n, eight), (ms, DAY_1)], now, Proceed),
            (&[(ms, "yesterday")], now, Proceed),
        ];
        for (fields, current, expected) in table {
            assert_eq!(conditions(fields).evaluate(*current), *expected, "{fields:?} {current:?}");
        }
    }

    #[test]
    fn writes_get_the_precondition_that_says_the_same() {
        use Precondition as P;
        let (m, n) = (&header::IF_MATCH, &header::IF_NONE_MATCH);
        let (seven, both) = ("\"k3f9x2ab.7\"", "\"k3f9x2ab.7\",W/\"k3f9x2ab.8\"");
        let table: &[(&[(&HeaderName, &str)], P)] = &[
            (&[], P::None),
            (&[(m, "*")], P::Exists),
            (&[(n, "*")], P::Absent),
            (&[(m, both)], P::AnyOf(vec![rev(7)])),
            (&[(n, both)], P::NoneOf(vec![rev(7), rev(8)])),
            (&[(m, "\"strange\"")], P::AnyOf(vec![])),
            (&[(m, seven), (n, "*")], P::AnyOf(vec![])),
            (&[(m, both), (n, seven)], P::AnyOf(vec![])),
        ];
        for (fields, expected) in table {
            assert_eq!(conditions(fields).precondition("a", None).unwrap(), *expected, "{fields:?}");
        }
        assert!(conditions(&[(m, "*"), (n, seven)]).precondition("a", None).is_err());
    }

    #[test]
    fn a_date_becomes_the_revision_that_was_looked_at() {
        let unmodified = conditions(&[(&header::IF_UNMODIFIED_SINCE, DAY_1)]);
        let state = |modified_s| Some(State { revision: rev(3), modified_s: Some(modified_s) });
        assert!(unmodified.needs_state());
        assert_eq!(unmodified.precondition("a", state(86_400)).unwrap(), Precondition::AnyOf(vec![rev(3)]));
        assert!(unmodified.precondition("a", state(86_401)).is_err());
        assert!(unmodified.precondition("a", None).is_err());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", ",", "k3f9x2ab.7", "\"a", "\"a\" \"b\"", "w/\"a\"", "\"a b\"", "*, \"a\"", "W/*"] {
            assert_eq!(parse_tags(text.as_bytes()), None, "{text}");
        }
    }
}
