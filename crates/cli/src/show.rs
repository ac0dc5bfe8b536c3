//! What results look like.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use dovetail_api::encode;
use dovetail_client::Item;
use dovetail_model::{Change, DeleteCause, Epoch, Representation, Resource, Revision};

const NAME: Style = AnsiColor::Cyan.on_default();
const PUT: Style = AnsiColor::Green.on_default();
const DELETE: Style = AnsiColor::Red.on_default();
const EVENT: Style = AnsiColor::Yellow.on_default();
const STATE: Style = Style::new().dimmed();

/// Characters of contents that are shown on a line.
const PREVIEW_CHARS: usize = 100;

/// A resource on a line.
pub(crate) fn resource(resource: &Resource) -> String {
    format!("{NAME}{}{NAME:#}  {}", plain(resource.topic.as_str()), preview(&resource.representation))
}

/// A resource as a JSON object.
pub(crate) fn resource_json(epoch: Epoch, resource: &Resource) -> String {
    json(|out| encode::resource(out, epoch, resource))
}

/// An item of a feed for people, with its line breaks; nothing for what only programs need.
pub(crate) fn item(item: &Item) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match item {
        Item::Resource(shown) => writeln!(text, "{PUT}is{PUT:#}      {}", resource(shown)),
        Item::BaselineEnd(rev) => writeln!(text, "{STATE}-- live from {rev} --{STATE:#}"),
        Item::Change { rev, changes, .. } => changes
            .iter()
            .try_for_each(|entry| writeln!(text, "{}", change(&entry.change, rev.epoch.at(entry.number)))),
        Item::Reset { reason, .. } => {
            writeln!(text, "{STATE}-- the position cannot be resumed ({reason}): the state again --{STATE:#}")
        }
        Item::BaselineBegin(_) | Item::Progress { .. } | Item::Interrupted(_) => Ok(()),
    };
    text
}

/// An item of a feed as the contract has it; `None` for what is not the server's.
pub(crate) fn item_json(item: &Item, epoch: Epoch) -> Option<String> {
    Some(json(|out| match item {
        Item::BaselineBegin(rev) => encode::baseline_begin(out, *rev),
        Item::Resource(resource) => encode::item(out, epoch, resource),
        Item::BaselineEnd(rev) => encode::baseline_end(out, *rev),
        Item::Change { after, rev, changes } => {
            encode::change(out, *after, *rev, changes.iter().map(|entry| (entry.number, &entry.change)));
        }
        Item::Progress { after, rev } => encode::progress(out, *after, *rev),
        Item::Reset { reason, rev } => encode::reset(out, *rev, reason),
        Item::Interrupted(_) => {}
    }))
    .filter(|line| !line.is_empty())
}

fn change(change: &Change, rev: Revision) -> String {
    match change {
        Change::Put(put) => format!("{PUT}put{PUT:#}     {}  {STATE}{rev}{STATE:#}", resource(put)),
        Change::Delete(gone) => {
            let cause = if gone.cause == DeleteCause::Expiry { "  expired" } else { "" };
            let name = plain(gone.topic.as_str());
            format!("{DELETE}delete{DELETE:#}  {NAME}{name}{NAME:#}{cause}  {STATE}{rev}{STATE:#}")
        }
        Change::Event(event) => {
            let (name, contents) = (plain(event.topic.as_str()), preview(&event.representation));
            format!("{EVENT}event{EVENT:#}   {NAME}{name}{NAME:#}  {contents}")
        }
    }
}

/// The first line of text, or how many bytes there are.
fn preview(representation: &Representation) -> String {
    let payload = &representation.payload;
    let Ok(text) = std::str::from_utf8(payload) else { return format!("({} bytes)", payload.len()) };
    let mut shown = plain(&text.chars().take(PREVIEW_CHARS).collect::<String>());
    if text.chars().nth(PREVIEW_CHARS).is_some() {
        let _ = write!(shown, "… ({} bytes)", payload.len());
    }
    shown
}

/// Text without anything that a terminal would obey.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

fn json(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use std::sync::Arc;

    use dovetail_client::Entry;
    use dovetail_model::{Event, Qos, Tombstone, Topic};

    use super::*;

    fn at(number: u64) -> Revision {
        Epoch::from_random(7).at(number)
    }

    fn temperature(payload: &[u8]) -> Resource {
        Resource {
            topic: Topic::new("plant/7").unwrap(),
            revision: 3,
            modified_at: 0,
            expires_at: None,
            representation: Representation::copied(payload, Some("application/json".into())),
        }
    }

    fn stripped(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn items_for_people_and_for_programs() {
        let topic = Topic::new("plant/7").unwrap();
        let tombstone = Tombstone {
            topic: topic.clone(),
            revision: 5,
            deleted_at: 0,
            cause: DeleteCause::Expiry,
            qos: Qos::default(),
        };
        let event = Event {
            topic,
            published_at: 0,
            expires_at: None,
            representation: Representation::copied(b"hot", None),
        };
        let changes = vec![
            Entry { number: 4, change: Change::Put(Arc::new(temperature(b"21.5"))) },
            Entry { number: 5, change: Change::Delete(Arc::new(tombstone)) },
            Entry { number: 5, change: Change::Event(Arc::new(event)) },
        ];
        let table = [
            (Item::BaselineBegin(at(3)), "", r#"{"type":"baseline-begin","rev":"00000007.3"}"#),
            (
                Item::Resource(Arc::new(temperature(b"21.5"))),
                "is      plant/7  21.5\n",
                r#"{"type":"item","path":"plant/7","rev":"00000007.3","modified":"1970-01-01T00:00:00.000Z","contentType":"application/json","value":21.5}"#,
            ),
            (
                Item::BaselineEnd(at(3)),
                "-- live from 00000007.3 --\n",
                r#"{"type":"baseline-end","rev":"00000007.3"}"#,
            ),
            (
                Item::Progress { after: at(3), rev: at(4) },
                "",
                r#"{"type":"progress","after":"00000007.3","rev":"00000007.4"}"#,
            ),
            (
                Item::Reset { reason: "epoch".into(), rev: at(9) },
                "-- the position cannot be resumed (epoch): the state again --\n",
                r#"{"type":"reset","rev":"00000007.9","reason":"epoch"}"#,
            ),
        ];
        for (shown, text, json) in table {
            assert_eq!(stripped(&item(&shown)), text);
            assert_eq!(item_json(&shown, at(0).epoch).as_deref(), Some(json));
        }
        let change = Item::Change { after: at(3), rev: at(5), changes };
        let expected = "put     plant/7  21.5  00000007.4\n\
                        delete  plant/7  expired  00000007.5\n\
                        event   plant/7  hot\n";
        assert_eq!(stripped(&item(&change)), expected);
    }

    #[test]
    fn contents_cannot_command_a_terminal() {
        let mut hostile = temperature(b"\x1b[2J\x07x\ny");
        hostile.topic = Topic::new("a\u{1b}]0;b").unwrap();
        let shown = stripped(&resource(&hostile));
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
        let long = temperature("ä".repeat(101).as_bytes());
        assert_eq!(stripped(&resource(&long)), format!("plant/7  {}… (202 bytes)", "ä".repeat(100)));
        assert_eq!(stripped(&resource(&temperature(b"\xff"))), "plant/7  (1 bytes)");
    }
}
