//! The language of the rows: a conversation, line by line.
//!
//! | line | means |
//! |---|---|
//! | `> BYTES` | the client sends |
//! | `< BYTES` | the next packet that the server wrote; `..` at its end is whatever else is in the packet |
//! | `! EVENT` | the next thing that the owner of the connection is told |
//! | `= RESULT` | what came of the `send` or `resend` before |
//! | `closed CAUSE` | the connection has ended, for this cause, and left this will |
//! | `connected` | a CONNECT of client `c` with a clean start, accepted, its CONNACK read |
//! | `limits NAME NUMBER` | first line: a limit of the server |
//! | `accept`, `refuse`, `answer`, `suback`, `unsuback`, `send`, `resend`, `disconnect`, `lost` | what the owner does |
//! | `wait SECONDS` | time passes |
//! | `again` | the next connection, which continues the session |
//!
//! A line that begins with `v5` or `v3` counts in that version alone.
//!
//! BYTES are hexadecimal digits, `"text"` (a string with its length before it), `'text'` (its bytes alone), `78*5` (a byte
//! so many times), `L` (the protocol level), and `{ … }`: the properties of MQTT 5 with their length, which 3.1.1 does not
//! have. The first byte of a packet is followed by a colon, which stands for the remaining length. `+` begins another packet.
//!
//! Whatever happens and is not said in the row is an error. So no line can be left out, which
//! `no_expectation_can_be_left_out` sees to.

use bytes::Bytes;
use dovetail_mqtt_proto::{
    Accept, Cause, Connection, Delivery, Event, Frame, Limits, Outgoing, PacketId, Properties, Qos,
    ReasonCode, Receipt, Sent, Session, Text, Version,
};
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Statements with what they say, and the conversation that shows it.
pub(crate) type Row = (&'static str, &'static str);

/// The versions in which a row is played: those whose statements it names.
pub(crate) fn versions(statements: &str) -> Vec<Version> {
    let mut named = Vec::new();
    let mut before = String::new();
    for part in statements.split_inclusive("[MQTT-") {
        if before.ends_with("[MQTT-") {
            let old = before.trim_end_matches("[MQTT-").trim_end().ends_with("3.1.1");
            named.push(if old { Version::V311 } else { Version::V5 });
        }
        part.clone_into(&mut before);
    }
    [Version::V311, Version::V5].into_iter().filter(|version| named.contains(version)).collect()
}

/// Plays a row.
///
/// # Errors
/// What was not as the row says.
pub(crate) fn play(script: &str, version: Version) -> Result<(), String> {
    let mut play = Play::new(version);
    for line in lines(script, version) {
        play.line(line).map_err(|error| format!("at \"{line}\": {error}"))?;
    }
    play.nothing_is_left()
}

/// The lines of this version.
pub(crate) fn lines(script: &str, version: Version) -> impl Iterator<Item = &str> {
    script.lines().map(str::trim).filter(|line| !line.is_empty()).filter_map(move |line| {
        let (ours, theirs) = if version.is_v5() { ("v5 ", "v3 ") } else { ("v3 ", "v5 ") };
        (!line.starts_with(theirs)).then(|| line.strip_prefix(ours).unwrap_or(line))
    })
}

/// Whether the line says what must happen.
pub(crate) fn expects(line: &str) -> bool {
    ["< ", "! ", "= ", "closed"].iter().any(|start| line.starts_with(start))
}

struct Play {
    version: Version,
    limits: Limits,
    now: Instant,
    server: Connection,
    receipts: Vec<Option<Receipt>>,
    told: VecDeque<String>,
    written: VecDeque<Vec<u8>>,
    results: VecDeque<String>,
    /// The session that a closed connection left.
    left: Option<Session>,
    was_closed: bool,
}

impl Play {
    fn new(version: Version) -> Self {
        let now = Instant::now();
        let limits = Limits::default();
        Self {
            version,
            server: Connection::new(limits.clone(), now),
            limits,
            now,
            receipts: Vec::new(),
            told: VecDeque::new(),
            written: VecDeque::new(),
            results: VecDeque::new(),
            left: None,
            was_closed: false,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if self.was_closed && verb != "again" {
            return Err("the connection was closed".to_owned());
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        match verb {
            ">" => self.receive(&packets(rest, self.version)?.concat()),
            "<" => return self.expect_packet(rest),
            "!" => return expect(&mut self.told, rest),
            "=" => return expect(&mut self.results, rest),
            "closed" => return self.expect_closed(rest),
            "connected" => return self.connect(),
            "limits" => self.limit(words[0], number(words[1])?)?,
            "again" => self.again()?,
            "wait" => {
                let seconds: f64 = rest.parse().map_err(|_| "no seconds".to_owned())?;
                self.now += Duration::from_secs_f64(seconds);
                self.server.handle_timeout(self.now);
            }
            "accept" => self.accept(&words)?,
            "lost" => self.server.lost(),
            "refuse" => self.server.refuse(code(words[0])?, &words[1..].join(" ")),
            "disconnect" => self.server.disconnect(code(words[0])?, &words[1..].join(" ")),
            "answer" => {
                let index = usize::from(number(words[0])?) - 1;
                let receipt = self.receipts.get_mut(index).and_then(Option::take).ok_or("no such message")?;
                self.server.answer_publish(receipt, code(words[1])?, &words[2..].join(" "));
            }
            "suback" => {
                let (codes_given, text) = rest.split_once(" | ").unwrap_or((rest, ""));
                let words: Vec<&str> = codes_given.split_whitespace().collect();
                self.server.answer_subscribe(id(words[0])?, codes(&words[1..])?, text);
            }
            "unsuback" => self.server.answer_unsubscribe(id(words[0])?, codes(&words[1..])?),
            "send" => self.send(&words)?,
            "resend" => {
                let bytes = frame(self.version, &words[1..])?;
                let frame = Frame::new(self.version, &bytes).ok_or("no frame")?;
                let written = self.server.resend(id(words[0])?, &frame, false, &[]);
                self.results.push_back(written.to_string());
            }
            _ => return Err("unknown verb".to_owned()),
        }
        self.receive(&[]);
        Ok(())
    }

    fn limit(&mut self, name: &str, value: u16) -> Result<(), String> {
        match name {
            "receive-maximum" => self.limits.receive_maximum = value,
            "packet-size" => self.limits.packet_size = value.into(),
            "topic-alias-maximum" => self.limits.topic_alias_maximum = value,
            _ => return Err("unknown limit".to_owned()),
        }
        self.server = Connection::new(self.limits.clone(), self.now);
        Ok(())
    }

    fn connect(&mut self) -> Result<(), String> {
        self.line("> 10: \"MQTT\" L 02 0000 {} \"c\"")?;
        self.line("! connect c clean")?;
        self.line("accept")?;
        self.line("< 20: 00 00 ..")
    }

    fn accept(&mut self, words: &[&str]) -> Result<(), String> {
        let mut accept = Accept {
            session: self.left.take().unwrap_or_default(),
            shared_subscriptions: true,
            ..Accept::default()
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "present" => accept.session_present = true,
                "assigned" => {
                    accept.assigned_client_id = Some(Text::new(words.next().unwrap_or(&"")).unwrap());
                }
                "keep-alive" => {
                    accept.server_keep_alive = Some(number(words.next().unwrap_or(&""))?);
                }
                _ => return Err("unknown word".to_owned()),
            }
        }
        self.server.accept(accept, self.now);
        Ok(())
    }

    fn again(&mut self) -> Result<(), String> {
        let followed = std::mem::take(&mut self.was_closed) && self.left.is_some();
        if followed { Ok(()) } else { Err("no connection with a session has ended".to_owned()) }
    }

    /// `send QOS TAG [PAYLOAD [TOPIC]]`
    fn send(&mut self, words: &[&str]) -> Result<(), String> {
        let qos = Qos::from_bits(number(words[0])? as u8).ok_or("no QoS")?;
        let bytes = frame(self.version, &words[2..])?;
        let frame = Frame::new(self.version, &bytes).ok_or("no frame")?;
        let outgoing = Outgoing { qos, retain: false, extra: &[], tag: number(words[1])?.into() };
        let result = match self.server.send(&frame, &outgoing) {
            Sent::Written(Some(id)) => format!("written {}", id.get()),
            Sent::Written(None) => "written".to_owned(),
            Sent::WindowFull => "window full".to_owned(),
            Sent::TooLarge => "too large".to_owned(),
            Sent::NotConnected => "not connected".to_owned(),
        };
        self.results.push_back(result);
        Ok(())
    }

    /// Gives bytes to the connection and collects what comes of them.
    fn receive(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while let Some(event) = self.server.next_event(&mut input, self.now) {
            let told = self.tell(event);
            self.told.push_back(told);
        }
        self.server.keep(input);
        let mut bytes = Vec::new();
        while !self.server.output().is_empty() {
            let front = self.server.output().front().to_vec();
            self.server.output().consume(front.len());
            bytes.extend_from_slice(&front);
        }
        let mut rest = bytes.as_slice();
        while let Some(size) = size_of_packet(rest) {
            let (packet, after) = rest.split_at(size);
            self.written.push_back(packet.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            self.written.push_back(rest.to_vec());
        }
    }

    fn tell(&mut self, event: Event) -> String {
        let mut text = String::new();
        match event {
            Event::Connect(connect) => {
                let _ = write!(text, "connect {}", connect.client_id);
                if connect.clean_start {
                    text.push_str(" clean");
                }
                if let Some(will) = connect.will {
                    let _ =
                        write!(text, " will {}", message(&will.topic, &will.payload, will.qos, will.retain));
                }
                if let Some(user) = connect.user_name {
                    let _ = write!(text, " user {user}");
                }
                if let Some(password) = connect.password {
                    let _ = write!(text, " password {}", String::from_utf8_lossy(&password.0));
                }
            }
            Event::Publish(publish, receipt) => {
                self.receipts.push(receipt);
                let qos = publish.delivery.qos();
                let _ = write!(
                    text,
                    "publish {}{}{}",
                    message(&publish.topic, &publish.payload, qos, publish.retain),
                    if publish.dup { " dup" } else { "" },
                    shown(&publish.properties)
                );
                debug_assert!(publish.delivery == Delivery::AtMostOnce || publish.delivery.id().is_some());
            }
            Event::Subscribe(subscribe) => {
                let _ = write!(text, "subscribe {}", subscribe.id.get());
                for subscription in subscribe.subscriptions {
                    let options = subscription.options;
                    let _ = write!(
                        text,
                        " {}:{}{}{}{}",
                        subscription.filter,
                        options.qos.bits(),
                        if options.no_local { "n" } else { "" },
                        if options.retain_as_published { "p" } else { "" },
                        ["", "h1", "h2"][options.retain_handling as usize]
                    );
                }
                text.push_str(&shown(&subscribe.properties));
            }
            Event::Unsubscribe(unsubscribe) => {
                let _ = write!(text, "unsubscribe {}", unsubscribe.id.get());
                for filter in unsubscribe.filters {
                    let _ = write!(text, " {filter}");
                }
            }
            Event::Delivered { id, tag, reason } => {
                let _ = write!(text, "delivered {} {tag} {:02x}", id.get(), reason.code());
            }
            // The steps of `QoS` 2 are told to sessions that outlive their connection only.
            Event::Received { tag } => {
                let _ = write!(text, "received {tag}");
            }
            Event::Released(id) => {
                let _ = write!(text, "released {}", id.get());
            }
        }
        text
    }

    fn expect_packet(&mut self, expected: &str) -> Result<(), String> {
        let written = self.written.pop_front().ok_or("nothing was written")?;
        let (expected, open) = match expected.strip_suffix("..") {
            Some(expected) => (expected, true),
            None => (expected, false),
        };
        let head = expected.split_once(':').map(|(first, _)| first);
        let wanted = packets(expected, self.version)?.concat();
        let fits = match (open, head) {
            // The remaining length is that of the packet that came.
            (true, Some(_)) => {
                let (body, start) = (header_size(&wanted), header_size(&written));
                written[0] == wanted[0] && written[start..].starts_with(&wanted[body..])
            }
            (true, None) => written.starts_with(&wanted),
            (false, _) => written == wanted,
        };
        if fits { Ok(()) } else { Err(format!("{written:02x?} was written, not {wanted:02x?}")) }
    }

    fn expect_closed(&mut self, expected: &str) -> Result<(), String> {
        if !self.server.is_closed() {
            return Err("the connection is open".to_owned());
        }
        let next = Connection::new(self.limits.clone(), self.now);
        let closed = std::mem::replace(&mut self.server, next).into_closed().ok_or("not closed")?;
        self.was_closed = true;
        let mut text = match closed.cause {
            Cause::Client(reason) => format!("by the client {:02x}", reason.code()),
            Cause::Violation(violation) => format!("violation {:02x}", violation.reason().code()),
            Cause::KeepAlive => "keep-alive".to_owned(),
            Cause::ConnectTimeout => "connect timeout".to_owned(),
            Cause::Refused(reason) => format!("refused {:02x}", reason.code()),
            Cause::Server(reason) => format!("by the server {:02x}", reason.code()),
            Cause::Lost => "lost".to_owned(),
        };
        if let Some(will) = closed.will {
            let _ = write!(text, ", will {}", message(&will.topic, &will.payload, will.qos, will.retain));
        }
        self.left = closed.session;
        let mut texts = VecDeque::from([text]);
        expect(&mut texts, expected)
    }

    fn nothing_is_left(&self) -> Result<(), String> {
        if let Some(told) = self.told.front() {
            return Err(format!("\"{told}\" is not in the row"));
        }
        if let Some(written) = self.written.front() {
            return Err(format!("{written:02x?} is not in the row"));
        }
        if let Some(result) = self.results.front() {
            return Err(format!("\"{result}\" is not in the row"));
        }
        if self.server.is_closed() { Err("the connection is closed".to_owned()) } else { Ok(()) }
    }
}

fn expect(queue: &mut VecDeque<String>, expected: &str) -> Result<(), String> {
    match queue.pop_front() {
        Some(text) if text == expected => Ok(()),
        other => Err(format!("it is {other:?}")),
    }
}

fn message(topic: &Text, payload: &Bytes, qos: Qos, retain: bool) -> String {
    let retain = if retain { " retained" } else { "" };
    format!("{topic} {:?} qos{}{retain}", String::from_utf8_lossy(payload), qos.bits())
}

fn shown(properties: &Properties) -> String {
    properties.iter().fold(String::new(), |mut text, property| {
        let _ = write!(text, " {property:?}");
        text
    })
}

/// `[PAYLOAD [TOPIC]]`; `x` to `a/b` by default.
fn frame(version: Version, words: &[&str]) -> Result<Bytes, String> {
    let payload = words.first().copied().unwrap_or("x");
    let topic = words.get(1).copied().unwrap_or("a/b");
    Frame::encode(version, topic, &Properties::NONE, payload.as_bytes()).map_err(|error| error.to_string())
}

fn number(word: &str) -> Result<u16, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn id(word: &str) -> Result<PacketId, String> {
    PacketId::new(number(word)?).ok_or_else(|| "no packet id".to_owned())
}

fn code(word: &str) -> Result<ReasonCode, String> {
    let code = u8::from_str_radix(word, 16).ok().and_then(ReasonCode::from_u8);
    code.ok_or_else(|| format!("{word} is no reason code"))
}

fn codes(words: &[&str]) -> Result<Vec<ReasonCode>, String> {
    words.iter().map(|word| code(word)).collect()
}

/// The packets that BYTES mean.
fn packets(text: &str, version: Version) -> Result<Vec<Vec<u8>>, String> {
    let mut packets = Vec::new();
    let mut packet = Building::default();
    for token in tokens(text) {
        if token == "+" {
            packets.push(std::mem::take(&mut packet).finish()?);
        } else {
            packet.push(&token, version)?;
        }
    }
    packets.push(packet.finish()?);
    Ok(packets)
}

/// A packet in the making.
#[derive(Default)]
struct Building {
    first: Option<u8>,
    body: Vec<u8>,
    /// Where the properties begin, while they are read.
    properties: Option<usize>,
}

impl Building {
    fn push(&mut self, token: &str, version: Version) -> Result<(), String> {
        if let Some(first) = token.strip_suffix(':').filter(|_| !token.starts_with(['"', '\''])) {
            self.first = Some(hex(first)?[0]);
        } else if token == "{" {
            self.properties = Some(self.body.len());
        } else if token == "}" {
            let start = self.properties.take().ok_or("} without {")?;
            let properties = self.body.split_off(start);
            if version.is_v5() {
                self.body.extend(varint(properties.len()));
                self.body.extend(properties);
            }
        } else if token == "L" {
            self.body.push(version.level());
        } else if let Some(text) = token.strip_prefix('"') {
            let length = u16::try_from(text.len()).map_err(|_| "too long")?;
            self.body.extend(length.to_be_bytes());
            self.body.extend(text.as_bytes());
        } else if let Some(text) = token.strip_prefix('\'') {
            self.body.extend(text.as_bytes());
        } else if let Some((byte, count)) = token.split_once('*') {
            let count = count.parse().map_err(|_| "no count")?;
            self.body.extend(hex(byte)?.repeat(count));
        } else {
            self.body.extend(hex(token)?);
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        if self.properties.is_some() {
            return Err("{ without }".to_owned());
        }
        let Some(first) = self.first else { return Ok(self.body) };
        let mut packet = vec![first];
        packet.extend(varint(self.body.len()));
        packet.extend(self.body);
        Ok(packet)
    }
}

/// Words; a quoted one keeps its opening quote and its spaces.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' => rest[1..].find(first).map_or(rest.len(), |end| end + 1),
            '{' | '}' => 1,
            _ => rest.find([' ', '{', '}']).unwrap_or(rest.len()),
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].strip_prefix(['"', '\'']).unwrap_or(&rest[end..]).trim_start();
    }
    tokens
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("{digits} are no bytes");
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(bad());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| bad()))
        .collect()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// Bytes of the fixed header.
fn header_size(packet: &[u8]) -> usize {
    1 + packet[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1
}

/// Bytes of the packet at the front; `None` when there is none.
fn size_of_packet(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, &byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let size = index + 2 + length;
            return (size <= bytes.len()).then_some(size);
        }
    }
    None
}
