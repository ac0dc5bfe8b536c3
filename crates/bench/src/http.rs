//! Answers of HTTP/1.1, put together from pieces of any size, and single requests for what is set up or asked once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wire;

/// How long a single request may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer that is coming, or has come.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    head: String,
    /// The body, without transfer coding.
    pub(crate) body: Vec<u8>,
    stage: Stage,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    /// So many bytes of body, and that is all.
    Body(usize),
    /// A line that says how long the next chunk is.
    Size,
    /// So many bytes of a chunk and of the line end behind it.
    Chunk(usize),
    /// An empty line.
    End,
    Done,
}

const LINE_END: &[u8] = b"\r\n";

impl Answer {
    /// The value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value.trim()))
    }

    /// Whether it is whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Takes what came, and says how much of it; the rest is to be given again, with more behind it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while self.stage != Stage::Done {
            let rest = &bytes[at..];
            let taken = match self.stage {
                Stage::Head => self.take_head(rest)?,
                Stage::Body(left) => {
                    let taken = left.min(rest.len());
                    self.body.extend_from_slice(&rest[..taken]);
                    self.stage = if taken == left { Stage::Done } else { Stage::Body(left - taken) };
                    taken
                }
                Stage::Size => self.take_size(rest)?,
                Stage::Chunk(left) => {
                    let taken = left.min(rest.len());
                    let data = taken.min(left.saturating_sub(LINE_END.len()));
                    self.body.extend_from_slice(&rest[..data]);
                    self.stage = if taken == left { Stage::Size } else { Stage::Chunk(left - taken) };
                    taken
                }
                Stage::End if rest.len() >= LINE_END.len() => {
                    self.stage = Stage::Done;
                    LINE_END.len()
                }
                Stage::End | Stage::Done => 0,
            };
            if taken == 0 && self.stage != Stage::Done {
                break;
            }
            at += taken;
        }
        Ok(at)
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(end) = wire::find(bytes, b"\r\n\r\n") else {
            return Ok(0);
        };
        self.head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = self.head.get(9..12).and_then(|code| code.parse().ok());
        self.status = status.with_context(|| format!("an answer without a status: {}", self.head))?;
        let is_chunked = self.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        self.stage = match length {
            _ if self.status == 304 || self.status == 204 => Stage::Done,
            _ if is_chunked => Stage::Size,
            Some(0) => Stage::Done,
            Some(length) => Stage::Body(length),
            None => bail!("an answer that does not say how long it is: {}", self.head),
        };
        Ok(end + 4)
    }

    fn take_size(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(end) = wire::find(bytes, LINE_END) else {
            return Ok(0);
        };
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|line| line.split(';').next());
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        self.stage = match size.context("a broken chunk")? {
            0 => Stage::End,
            size => Stage::Chunk(size + LINE_END.len()),
        };
        Ok(end + LINE_END.len())
    }
}

/// `GET path`.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Result<Answer> {
    ask(addr, "GET", path, b"")
}

/// `PUT path`; an answer that says no is an error.
pub(crate) fn put(addr: SocketAddr, path: &str, body: &[u8]) -> Result<Answer> {
    let answer = ask(addr, "PUT", path, body)?;
    if !(200..300).contains(&answer.status) {
        bail!("PUT {path} was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer)
}

fn ask(addr: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n");
    if method == "PUT" {
        request += "Content-Type: text/plain\r\nContent-Length: ";
        request += &body.len().to_string();
        request += "\r\n";
    }
    request += "\r\n";
    stream.write_all(&[request.as_bytes(), body].concat())?;
    let (mut answer, mut kept, mut piece) = (Answer::default(), Vec::new(), [0; 4096]);
    while !answer.is_whole() {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the server closed within an answer");
        kept.extend_from_slice(&piece[..read]);
        let taken = answer.take(&kept)?;
        kept.drain(..taken);
    }
    Ok(answer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_pieces_of_any_size() {
        for (bytes, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, ""),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", 304, ""),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n",
                200,
                "abc0123456789",
            ),
        ] {
            let stream = [bytes.as_bytes(), b"HTTP/1.1 200 OK"].concat();
            for piece in 1..stream.len() {
                let (mut answer, mut kept, mut used) = (Answer::default(), Vec::new(), 0);
                for more in stream.chunks(piece) {
                    kept.extend_from_slice(more);
                    let taken = answer.take(&kept).unwrap();
                    kept.drain(..taken);
                    used += taken;
                }
                assert!(answer.is_whole(), "{bytes} in pieces of {piece}");
                assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()));
                assert_eq!(used, bytes.len(), "{bytes} in pieces of {piece}");
            }
        }
        let mut endless = Answer::default();
        assert!(endless.take(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let mut broken = Answer::default();
        assert!(broken.take(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n").is_err());
    }
}
