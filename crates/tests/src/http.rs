//! A small blocking HTTP/1.1 client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<TcpStream>,
}

/// An answer, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The content, with the transfer coding taken off.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field with this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The content as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON: {error}: {}", self.text()))
    }
}

/// How much content follows the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Http {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The connection itself, for whoever wants to misbehave on it.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// The connection and what came on it, for another protocol.
    pub fn into_stream(self) -> BufReader<TcpStream> {
        self.stream
    }

    /// Sends a request and reads its answer. The connection can be used again unless the server says `close`.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        self.send(method, target, headers, body)?;
        let (mut answer, framing) = self.head(method == "HEAD")?;
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                answer.body = vec![0; length];
                self.stream.read_exact(&mut answer.body)?;
            }
            Framing::Chunked => while self.chunk(&mut answer.body)? {},
            Framing::UntilClose => {
                self.stream.read_to_end(&mut answer.body)?;
            }
        }
        Ok(answer)
    }

    /// `GET`.
    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.request("GET", target, &[], None)
    }

    /// `PUT` of text.
    pub fn put(&mut self, target: &str, text: &str) -> io::Result<Answer> {
        self.request("PUT", target, &[("content-type", "text/plain")], Some(text.as_bytes()))
    }

    /// Opens an event stream, with the position to resume at if there is one.
    ///
    /// # Errors
    /// When the answer is not an event stream; the answer's content is in the error.
    pub fn events(mut self, target: &str, last_event_id: Option<&str>) -> io::Result<Events> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        self.send("GET", target, &headers, None)?;
        let (answer, framing) = self.head(false)?;
        if answer.status != 200
            || answer.header("content-type").is_none_or(|kind| !kind.starts_with("text/event-stream"))
        {
            return Err(io::Error::other(format!("no event stream: {} {:?}", answer.status, answer.headers)));
        }
        Ok(Events { http: self, framing, waiting: Vec::new() })
    }

    fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<()> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: dovetail.test\r\n").into_bytes();
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        if let Some(body) = body {
            write!(request, "content-length: {}\r\n\r\n", body.len())?;
            request.extend_from_slice(body);
        } else {
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)
    }

    /// Reads the status line and the header fields.
    fn head(&mut self, of_head: bool) -> io::Result<(Answer, Framing)> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| malformed(&status_line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let answer = Answer { status, headers, body: Vec::new() };
        let framing = if of_head || matches!(status, 100..=199 | 204 | 304) {
            Framing::None
        } else if answer.header("transfer-encoding") == Some("chunked") {
            Framing::Chunked
        } else if let Some(length) = answer.header("content-length") {
            Framing::Length(length.parse().map_err(|_| malformed(length))?)
        } else {
            Framing::UntilClose
        };
        Ok((answer, framing))
    }

    /// Appends the next chunk; false after the last.
    fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed(&line))?;
        let start = body.len();
        body.resize(start + size, 0);
        self.stream.read_exact(&mut body[start..])?;
        self.line()?;
        Ok(size > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty when it has none.
    pub name: String,
    /// Its `id` field, if it has one.
    pub id: Option<String>,
    /// Its data, lines joined.
    pub data: String,
}

/// An open event stream.
#[derive(Debug)]
pub struct Events {
    http: Http,
    framing: Framing,
    /// Content that came and does not yet make an event.
    waiting: Vec<u8>,
}

impl Events {
    /// The next event; comments and `retry` are skipped.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` when none comes in time, `UnexpectedEof` when the server ended the stream.
    pub fn next_event(&mut self) -> io::Result<Event> {
        loop {
            while let Some(end) = first_event(&self.waiting) {
                let block: Vec<u8> = self.waiting.drain(..end).collect();
                let event = parse(&block);
                if event != Event::default() {
                    return Ok(event);
                }
            }
            let more = match self.framing {
                Framing::Chunked => self.http.chunk(&mut self.waiting)?,
                _ => self.some()?,
            };
            if !more {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sets how long [`Self::next_event`] waits.
    pub fn patience(&self, patience: Duration) -> io::Result<()> {
        self.http.socket().set_read_timeout(Some(patience))
    }

    /// The connection, so that another thread can end the stream.
    pub fn socket(&self) -> &TcpStream {
        self.http.socket()
    }

    fn some(&mut self) -> io::Result<bool> {
        let bytes = self.http.stream.fill_buf()?;
        let count = bytes.len();
        self.waiting.extend_from_slice(bytes);
        self.http.stream.consume(count);
        Ok(count > 0)
    }
}

/// How long the first event is, with the blank line that ends it.
fn first_event(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (line, next) = line(&bytes[at..])?;
        at += next;
        if line.is_empty() {
            return Some(at);
        }
    }
}

/// The first line and where the next one begins. Lines end as in a browser: with CR, with LF or with both.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let next = match bytes[end..] {
        [b'\r', b'\n', ..] => end + 2,
        // An LF may follow.
        [b'\r'] => return None,
        _ => end + 1,
    };
    Some((&bytes[..end], next))
}

fn parse(mut block: &[u8]) -> Event {
    let mut event = Event::default();
    let mut data = Vec::new();
    while let Some((text, next)) = line(block) {
        block = &block[next..];
        let text = String::from_utf8_lossy(text);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" => event.id = Some(value.to_owned()),
            "data" => data.push(value.to_owned()),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed answer: {text}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that says `script` to whoever connects, whatever the request.
    fn scripted(script: &'static str) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(script.as_bytes()).unwrap();
            // Until the client is done.
            io::copy(&mut stream, &mut io::sink()).ok();
        });
        Http::connect(address).unwrap()
    }

    #[test]
    fn answers_are_read_in_every_framing() {
        let mut http = scripted(
            "HTTP/1.1 200 OK\r\nETag: \"e.1\"\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 204 No Content\r\n\r\n\
             HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        );
        let first = http.get("/").unwrap();
        assert_eq!((first.status, first.header("etag"), first.text().as_str()), (200, Some("\"e.1\""), "ab"));
        assert_eq!(http.get("/").unwrap().status, 204);
        assert_eq!(http.get("/").unwrap().text(), "abcde");
    }

    #[test]
    fn events_are_cut_where_blank_lines_are_and_not_where_chunks_are() {
        let http = scripted(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
             7\r\n: hi\n\ne\r\n26\r\nvent: sync\r\nid: e.1\rdata: a\ndata: b\r\n\n\r\n0\r\n\r\n",
        );
        let mut events = http.events("/", None).unwrap();
        let event = Event { name: "sync".to_owned(), id: Some("e.1".to_owned()), data: "a\nb".to_owned() };
        assert_eq!(events.next_event().unwrap(), event);
        assert_eq!(events.next_event().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
