//! The recorder's log: what writers meant to do, on disk before they did it, and what came of it.
//!
//! A line is a JSON object: `intent` with the number of the attempt, its writer and its acts, and later `ok` with the
//! revision where it was said, `refused` or `unknown` with the same number. An intent is synced before anything is sent, so
//! what has none was never tried. A verdict may be lost with the recorder: what has none is unknown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Condvar, Mutex};

use serde_json::{Value, json};

use crate::frame::Effect;
use crate::load::{Act, Verdict};

/// A log that several writers append to.
#[derive(Debug)]
pub struct Record {
    file: File,
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Debug, Default)]
struct State {
    attempts: u64,
    lines_written: u64,
    lines_synced: u64,
    is_syncing: bool,
}

impl Record {
    /// A new log at `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        Ok(Self { file, state: Mutex::default(), synced: Condvar::new() })
    }

    /// Notes what `writer` is about to do, on disk when this returns. Gives the number of the attempt.
    pub fn intend(&self, writer: &str, acts: &[Act]) -> io::Result<u64> {
        let acts: Vec<Value> = acts
            .iter()
            .map(|act| match &act.effect {
                Effect::Put(bytes) | Effect::Event(bytes) => {
                    json!({ "path": act.path, "put": String::from_utf8_lossy(bytes) })
                }
                Effect::Delete => json!({ "path": act.path }),
            })
            .collect();
        let (number, line) = {
            let mut state = self.state.lock().unwrap();
            state.attempts += 1;
            let number = state.attempts;
            (number, self.append(&mut state, &json!({ "intent": number, "writer": writer, "acts": acts }))?)
        };
        self.sync(line)?;
        Ok(number)
    }

    /// Notes what came of an attempt.
    pub fn settle(&self, number: u64, verdict: Verdict) -> io::Result<()> {
        let line = match verdict {
            Verdict::Done(revision) => json!({ "ok": number, "rev": revision }),
            Verdict::Refused => json!({ "refused": number }),
            Verdict::Unknown => json!({ "unknown": number }),
        };
        self.append(&mut self.state.lock().unwrap(), &line).map(drop)
    }

    fn append(&self, state: &mut State, line: &Value) -> io::Result<u64> {
        (&self.file).write_all(format!("{line}\n").as_bytes())?;
        state.lines_written += 1;
        Ok(state.lines_written)
    }

    /// Waits until so many lines are on disk. One writer syncs for all that wait.
    fn sync(&self, lines: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        while state.lines_synced < lines {
            if state.is_syncing {
                state = self.synced.wait(state).unwrap();
                continue;
            }
            state.is_syncing = true;
            let written = state.lines_written;
            drop(state);
            let result = self.file.sync_data();
            state = self.state.lock().unwrap();
            state.is_syncing = false;
            self.synced.notify_all();
            result?;
            state.lines_synced = written;
        }
        Ok(())
    }
}

/// What each writer did according to the log at `path`, in its order.
///
/// # Errors
/// When it cannot be read; a last line that is not complete is left out.
pub fn read(path: &Path) -> io::Result<Vec<Vec<Act>>> {
    histories(&fs::read_to_string(path)?)
}

fn histories(text: &str) -> io::Result<Vec<Vec<Act>>> {
    let wrong = |line: &str| io::Error::other(format!("not a line of a record: {line}"));
    let mut writers: BTreeMap<String, Vec<Act>> = BTreeMap::new();
    // Attempt, to its writer and where its acts are in that one's history.
    let mut attempts = BTreeMap::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let value: Value = serde_json::from_str(line).map_err(|_| wrong(line))?;
        if let Some(number) = value["intent"].as_u64() {
            let writer = value["writer"].as_str().ok_or_else(|| wrong(line))?;
            let acts = value["acts"].as_array().ok_or_else(|| wrong(line))?;
            let history = writers.entry(writer.to_owned()).or_default();
            attempts.insert(number, (writer.to_owned(), history.len()..history.len() + acts.len()));
            for act in acts {
                let path = act["path"].as_str().ok_or_else(|| wrong(line))?.to_owned();
                let effect =
                    act["put"].as_str().map_or(Effect::Delete, |text| Effect::Put(text.as_bytes().to_vec()));
                history.push(Act { path, effect, verdict: Verdict::Unknown });
            }
            continue;
        }
        let verdicts = [
            ("ok", Verdict::Done(value["rev"].as_u64())),
            ("refused", Verdict::Refused),
            ("unknown", Verdict::Unknown),
        ];
        let settled = verdicts.iter().find_map(|(word, verdict)| Some((value[word].as_u64()?, *verdict)));
        let (number, verdict) = settled.ok_or_else(|| wrong(line))?;
        let (writer, acts) = attempts.remove(&number).ok_or_else(|| wrong(line))?;
        let history = writers.get_mut(&writer).ok_or_else(|| wrong(line))?;
        history[acts].iter_mut().for_each(|act| act.verdict = verdict);
    }
    Ok(writers.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(path: &str, value: Option<&str>, verdict: Verdict) -> Act {
        let effect = value.map_or(Effect::Delete, |value| Effect::Put(value.as_bytes().to_vec()));
        Act { path: path.to_owned(), effect, verdict }
    }

    #[test]
    fn what_is_recorded_is_read_again_with_what_came_of_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("record");
        let record = Record::create(&path).unwrap();
        let a = [act("a", Some("1"), Verdict::Unknown), act("b", None, Verdict::Unknown)];
        let b = [act("c", Some("\"2\"\n"), Verdict::Unknown)];
        let first = record.intend("w0", &a).unwrap();
        let second = record.intend("w1", &b).unwrap();
        record.settle(second, Verdict::Refused).unwrap();
        record.settle(first, Verdict::Done(Some(7))).unwrap();
        let third = record.intend("w1", &b).unwrap();
        assert_eq!(third, 3);
        let expected = vec![
            vec![act("a", Some("1"), Verdict::Done(Some(7))), act("b", None, Verdict::Done(Some(7)))],
            vec![act("c", Some("\"2\"\n"), Verdict::Refused), act("c", Some("\"2\"\n"), Verdict::Unknown)],
        ];
        assert_eq!(read(&path).unwrap(), expected);
    }

    #[test]
    fn a_line_that_was_cut_is_not_there_and_one_that_says_nothing_is_an_error() {
        let whole = "{\"intent\":1,\"writer\":\"w\",\"acts\":[{\"path\":\"a\",\"put\":\"1\"}]}\n";
        let cut = format!("{whole}{{\"ok\":1");
        assert_eq!(histories(&cut).unwrap(), [[act("a", Some("1"), Verdict::Unknown)]]);
        for wrong in ["{}\n", "{\"ok\":1}\n", "nothing\n"] {
            assert!(histories(wrong).is_err(), "{wrong}");
        }
    }
}
