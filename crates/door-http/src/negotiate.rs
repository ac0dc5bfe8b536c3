//! Which form of an answer a client asks for (RFC 9110 §12.5.1).

use http::{HeaderMap, header};

/// The forms that a read can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// The representation, or a JSON document. What a client gets that names none of the others.
    Plain,
    /// `application/x-ndjson`.
    Ndjson,
    /// `text/event-stream`.
    EventStream,
    /// `text/html`.
    Html,
}

/// What the `Accept` fields ask for. Ranges such as `*/*` mean the plain form; between types of
/// one weight the first wins.
pub(crate) fn wanted(headers: &HeaderMap) -> Wanted {
    let mut best = (Wanted::Plain, 0);
    for value in headers.get_all(header::ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let wanted = match media_type {
                "" => continue,
                _ if media_type.eq_ignore_ascii_case("text/event-stream") => Wanted::EventStream,
                _ if media_type.eq_ignore_ascii_case("application/x-ndjson") => Wanted::Ndjson,
                _ if media_type.eq_ignore_ascii_case("text/html") => Wanted::Html,
                _ => Wanted::Plain,
            };
            let weight = parts.find_map(weight).unwrap_or(1_000);
            if weight > best.1 {
                best = (wanted, weight);
            }
        }
    }
    best.0
}

/// The weight in thousandths that a parameter `q` gives; `None` for other parameters and for what
/// is no weight.
fn weight(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim_end().eq_ignore_ascii_case("q") {
        return None;
    }
    let weight: f32 = value.trim_start().parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1_000.0) as u32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;

    #[test]
    fn accept_fields_as_a_table() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            ("", Wanted::Plain),
            ("*/*", Wanted::Plain),
            ("text/event-stream", Wanted::EventStream),
            ("Text/Event-Stream", Wanted::EventStream),
            ("text/event-stream, */*;q=0.1", Wanted::EventStream),
            ("application/json, text/event-stream", Wanted::Plain),
            ("application/json;q=0.5, text/event-stream", Wanted::EventStream),
            ("text/event-stream;q=0", Wanted::Plain),
            ("application/x-ndjson", Wanted::Ndjson),
            ("application/x-ndjson;q=nonsense", Wanted::Ndjson),
            (browser, Wanted::Html),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(wanted(&headers), expected, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), Wanted::Plain);
    }
}
