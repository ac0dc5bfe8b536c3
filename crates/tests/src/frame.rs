//! What a feed says, whatever protocol it was said in.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use serde_json::Value;

/// A revision: an epoch and a number, compared only within an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history that the number counts in.
    pub epoch: String,
    /// From 1; 0 is the empty journal.
    pub number: u64,
}

/// One item of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The state at `rev` follows.
    BaselineBegin {
        /// Where the state is true.
        rev: Position,
    },
    /// One resource of a baseline.
    Item {
        /// Its path.
        path: String,
        /// When it was last changed.
        rev: Position,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// That was the whole state.
    BaselineEnd {
        /// As in `BaselineBegin`.
        rev: Position,
    },
    /// What happened in `(after, rev]`.
    Change {
        /// Where the item before this one ended.
        after: Position,
        /// Up to where this one tells everything.
        rev: Position,
        /// In the order of their revisions.
        changes: Vec<Change>,
    },
    /// Nothing happened in `(after, rev]`.
    Progress {
        /// As in `Change`.
        after: Position,
        /// As in `Change`.
        rev: Position,
    },
    /// The position cannot be resumed; a baseline follows.
    Reset,
    /// The feed is over.
    End,
}

/// What one commit did to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: String,
    /// The number of the commit.
    pub number: u64,
    /// What it did.
    pub effect: Effect,
}

/// What was done to a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It now has these bytes.
    Put(Vec<u8>),
    /// It is no more.
    Delete,
    /// A message that is not state.
    Event(Vec<u8>),
}

/// Why something received is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no frame of the contract: {reason}: {text}")]
pub struct NotAFrame {
    reason: String,
    text: String,
}

impl Frame {
    /// Reads a frame in its JSON form.
    pub fn of_json(text: &str) -> Result<Self, NotAFrame> {
        let wrong = |reason: &str| NotAFrame { reason: reason.to_owned(), text: text.to_owned() };
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let position = |member: &str| -> Result<Position, NotAFrame> {
            let token = value[member].as_str().ok_or_else(|| wrong(&format!("{member} is missing")))?;
            token.parse().map_err(|error: String| wrong(&error))
        };
        match value["type"].as_str().unwrap_or_default() {
            "baseline-begin" => Ok(Self::BaselineBegin { rev: position("rev")? }),
            "baseline-end" => Ok(Self::BaselineEnd { rev: position("rev")? }),
            "item" => Ok(Self::Item {
                path: path_of(&value).ok_or_else(|| wrong("path is missing"))?,
                rev: position("rev")?,
                bytes: payload(&value).ok_or_else(|| wrong("no payload"))?,
            }),
            "change" => Ok(Self::Change {
                after: position("after")?,
                rev: position("rev")?,
                changes: changes(&value["changes"]).map_err(|reason| wrong(&reason))?,
            }),
            "progress" => Ok(Self::Progress { after: position("after")?, rev: position("rev")? }),
            "reset" => Ok(Self::Reset),
            "end" => Ok(Self::End),
            other => Err(wrong(&format!("type \"{other}\""))),
        }
    }
}

/// Reads the entries of a `changes` array.
pub fn changes(value: &Value) -> Result<Vec<Change>, String> {
    value.as_array().ok_or("changes is no array")?.iter().map(change).collect()
}

fn change(entry: &Value) -> Result<Change, String> {
    let path = path_of(entry).ok_or("an entry has no path")?;
    let rev: Position = entry["rev"].as_str().ok_or("an entry has no rev")?.parse()?;
    let bytes = || payload(entry).ok_or_else(|| format!("no payload for {path}"));
    let effect = match entry["op"].as_str().unwrap_or_default() {
        "put" => Effect::Put(bytes()?),
        "delete" => Effect::Delete,
        "event" => Effect::Event(bytes()?),
        other => return Err(format!("op \"{other}\" of {path}")),
    };
    Ok(Change { path, number: rev.number, effect })
}

fn path_of(entry: &Value) -> Option<String> {
    entry["path"].as_str().map(str::to_owned)
}

/// The exact bytes that an entry stands for: `text` or `base64` where one is there, else the characters of `value`.
/// Writers of these tests put JSON only in its shortest form, so that `value` written again is what it was.
pub fn payload(entry: &Value) -> Option<Vec<u8>> {
    if let Some(text) = entry["text"].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    if let Some(coded) = entry["base64"].as_str() {
        return base64::engine::general_purpose::STANDARD.decode(coded).ok();
    }
    entry.get("value").map(|value| value.to_string().into_bytes())
}

impl Position {
    /// The position `number` in `epoch`.
    pub fn new(epoch: &str, number: u64) -> Self {
        Self { epoch: epoch.to_owned(), number }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl FromStr for Position {
    type Err = String;

    /// Reads `EPOCH.NUMBER`, with or without the quotes of an entity tag.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no revision");
        let (epoch, number) = text.trim_matches('"').split_once('.').ok_or_else(wrong)?;
        Ok(Self { epoch: epoch.to_owned(), number: number.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_from_json() {
        let frame = Frame::of_json(
            r#"{"type":"change","after":"abcdefgh.1","rev":"abcdefgh.3","changes":[
                {"op":"put","path":"a","rev":"abcdefgh.2","text":"x"},
                {"op":"put","path":"b","rev":"abcdefgh.2","base64":"/w=="},
                {"op":"put","path":"c","rev":"abcdefgh.3","value":{"n":1}},
                {"op":"delete","path":"d","rev":"abcdefgh.3"}]}"#,
        );
        let change = |path: &str, number, effect| Change { path: path.to_owned(), number, effect };
        let expected = Frame::Change {
            after: Position::new("abcdefgh", 1),
            rev: Position::new("abcdefgh", 3),
            changes: vec![
                change("a", 2, Effect::Put(b"x".to_vec())),
                change("b", 2, Effect::Put(vec![0xff])),
                change("c", 3, Effect::Put(br#"{"n":1}"#.to_vec())),
                change("d", 3, Effect::Delete),
            ],
        };
        assert_eq!(frame, Ok(expected));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"type":"item","path":"a","rev":"abcdefgh.1"}"#,
            r#"{"type":"change","after":"abcdefgh.1","rev":"nothing","changes":[]}"#,
            r#"{"type":"change","after":"a.1","rev":"a.2","changes":[{"op":"make","path":"a","rev":"a.2"}]}"#,
        ] {
            assert!(Frame::of_json(bad).is_err(), "{bad}");
        }
    }
}
