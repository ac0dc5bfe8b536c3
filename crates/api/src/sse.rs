//! Event streams (WHATWG HTML §9.2): how frames are put on one, and how a client reads them.

use std::io::Write as _;

use dovetail_model::Revision;

/// The names of events.
pub mod name {
    /// A `baseline-begin` frame.
    pub const BASELINE: &str = "baseline-begin";
    /// An `item` frame.
    pub const ITEM: &str = "item";
    /// A `baseline-end` frame: from here the stream is live.
    pub const SYNC: &str = "sync";
    /// A `change` frame.
    pub const CHANGE: &str = "change";
    /// A `progress` frame.
    pub const PROGRESS: &str = "progress";
    /// A `reset` frame.
    pub const RESET: &str = "reset";
    /// An `end` frame.
    pub const END: &str = "end";
}

/// What an event does to the position that a browser resumes from (`Last-Event-ID`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// It stays.
    Unchanged,
    /// Everything up to here has been said.
    At(Revision),
    /// There is none: whoever comes back starts with a baseline.
    None,
}

/// Appends one event whose data is the one line that `frame` writes.
pub fn event(out: &mut Vec<u8>, name: &str, position: Position, frame: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    match position {
        Position::Unchanged => {}
        Position::At(revision) => {
            out.extend_from_slice(b"\nid: ");
            revision.append_to(out);
        }
        Position::None => out.extend_from_slice(b"\nid"),
    }
    out.extend_from_slice(b"\ndata: ");
    frame(out);
    out.extend_from_slice(b"\n\n");
}

/// Appends the time after which a browser should come back when the stream ends.
pub fn retry(out: &mut Vec<u8>, delay_ms: u64) {
    let _ = write!(out, "retry: {delay_ms}\n\n");
}

/// One event as a client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its name; `message` if the stream gave none.
    pub name: Box<str>,
    /// The last `id` of the stream up to here; empty if there is none.
    pub last_id: Box<str>,
    /// Its data, lines joined by line feeds.
    pub data: Box<str>,
}

/// A line of the stream was longer than the reader allows, or not UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// Longer than allowed.
    #[error("an event of the stream has more than {0} bytes")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// Reads a stream from pieces of any size. Sans I/O.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    /// The line before ended with a carriage return: a line feed right after it is no line of its
    /// own.
    ended_with_cr: bool,
    is_first_line: bool,
    name: String,
    data: String,
    has_data: bool,
    last_id: Box<str>,
    retry_ms: Option<u64>,
}

impl Parser {
    /// A reader that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            ended_with_cr: false,
            is_first_line: true,
            name: String::new(),
            data: String::new(),
            has_data: false,
            last_id: Box::default(),
            retry_ms: None,
        }
    }

    /// The delay in milliseconds that the stream last asked for.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Takes the next piece and appends the events that it completes.
    ///
    /// # Errors
    /// After an error the reader is of no further use.
    pub fn push(&mut self, mut piece: &[u8], events: &mut Vec<Event>) -> Result<(), StreamError> {
        if self.ended_with_cr && piece.first() == Some(&b'\n') {
            piece = &piece[1..];
            self.ended_with_cr = false;
        }
        while let Some(at) = piece.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.extend_line(&piece[..at])?;
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, events)?;
            self.line = line;
            self.line.clear();
            let is_cr = piece[at] == b'\r';
            let is_pair = is_cr && piece.get(at + 1) == Some(&b'\n');
            self.ended_with_cr = is_cr && at + 1 == piece.len();
            piece = &piece[at + 1 + usize::from(is_pair)..];
        }
        if !piece.is_empty() {
            self.ended_with_cr = false;
        }
        self.extend_line(piece)
    }

    fn extend_line(&mut self, piece: &[u8]) -> Result<(), StreamError> {
        if self.data.len() + self.line.len() + piece.len() > self.limit {
            return Err(StreamError::TooLong(self.limit));
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), StreamError> {
        let mut line = std::str::from_utf8(line).map_err(|_| StreamError::NotUtf8)?;
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.last_id = value.into(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        events.push(Event {
            name: if name.is_empty() { "message".into() } else { name.into() },
            last_id: self.last_id.clone(),
            data: std::mem::take(&mut self.data).into(),
        });
    }
}
