//! Every message in both protocols, byte for byte where the specification gives bytes, and what is no message.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use dovetail_signalr_proto::{Decoder, Message, Outcome, Protocol, ProtocolError, Value, encode};

const LIMIT: usize = 4096;

fn value(text: &str) -> Value {
    Value::new(text).unwrap()
}

fn invocation(id: Option<&str>, arguments: &[&str], streams: &[&str]) -> Message {
    Message::Invocation {
        id: id.map(Into::into),
        target: "method".into(),
        arguments: arguments.iter().map(|text| value(text)).collect(),
        streams: streams.iter().map(|&id| id.into()).collect(),
    }
}

fn completion(result: Outcome) -> Message {
    Message::Completion { id: "xyz".into(), result }
}

fn close(error: Option<&str>, allow_reconnect: bool) -> Message {
    Message::Close { error: error.map(str::to_owned), allow_reconnect }
}

/// Each message with its record and its array, as they are written.
fn table() -> Vec<(Message, &'static str, &'static [u8])> {
    vec![
        (
            invocation(Some("xyz"), &["42"], &[]),
            r#"{"type":1,"invocationId":"xyz","target":"method","arguments":[42]}"#,
            b"\x96\x01\x80\xa3xyz\xa6method\x91\x2a\x90",
        ),
        (
            invocation(None, &["42"], &[]),
            r#"{"type":1,"target":"method","arguments":[42]}"#,
            b"\x96\x01\x80\xc0\xa6method\x91\x2a\x90",
        ),
        (
            invocation(Some("xyz"), &[], &["1", "two"]),
            r#"{"type":1,"invocationId":"xyz","target":"method","arguments":[],"streamIds":["1","two"]}"#,
            b"\x96\x01\x80\xa3xyz\xa6method\x90\x92\xa11\xa3two",
        ),
        (
            Message::StreamInvocation {
                id: "xyz".into(),
                target: "method".into(),
                arguments: vec![value("42"), value(r#""a\"b""#)],
                streams: Vec::new(),
            },
            r#"{"type":4,"invocationId":"xyz","target":"method","arguments":[42,"a\"b"]}"#,
            b"\x96\x04\x80\xa3xyz\xa6method\x92\x2a\xa3a\"b\x90",
        ),
        (
            Message::StreamItem { id: "xyz".into(), item: value("42") },
            r#"{"type":2,"invocationId":"xyz","item":42}"#,
            b"\x94\x02\x80\xa3xyz\x2a",
        ),
        (
            Message::StreamItem { id: "xyz".into(), item: value("null") },
            r#"{"type":2,"invocationId":"xyz","item":null}"#,
            b"\x94\x02\x80\xa3xyz\xc0",
        ),
        (
            completion(Outcome::Error("Error".to_owned())),
            r#"{"type":3,"invocationId":"xyz","error":"Error"}"#,
            b"\x95\x03\x80\xa3xyz\x01\xa5Error",
        ),
        (completion(Outcome::Void), r#"{"type":3,"invocationId":"xyz"}"#, b"\x94\x03\x80\xa3xyz\x02"),
        (
            completion(Outcome::Value(value("42"))),
            r#"{"type":3,"invocationId":"xyz","result":42}"#,
            b"\x95\x03\x80\xa3xyz\x03\x2a",
        ),
        (
            completion(Outcome::Value(value("null"))),
            r#"{"type":3,"invocationId":"xyz","result":null}"#,
            b"\x95\x03\x80\xa3xyz\x03\xc0",
        ),
        (
            Message::CancelInvocation { id: "xyz".into() },
            r#"{"type":5,"invocationId":"xyz"}"#,
            b"\x93\x05\x80\xa3xyz",
        ),
        (Message::Ping, r#"{"type":6}"#, b"\x91\x06"),
        (close(None, false), r#"{"type":7}"#, b"\x93\x07\xc0\xc2"),
        (close(Some("x\u{1}\n"), false), r#"{"type":7,"error":"x\u0001\n"}"#, b"\x93\x07\xa3x\x01\n\xc2"),
        (
            close(Some("xyz"), true),
            r#"{"type":7,"error":"xyz","allowReconnect":true}"#,
            b"\x93\x07\xa3xyz\xc3",
        ),
        (Message::Ack { sequence: 1394 }, r#"{"type":8,"sequenceId":1394}"#, b"\x92\x08\xcd\x05\x72"),
        (Message::Sequence { sequence: 19 }, r#"{"type":9,"sequenceId":19}"#, b"\x92\x09\x13"),
    ]
}

fn framed(protocol: Protocol, message: &[u8]) -> Vec<u8> {
    match protocol {
        Protocol::Json => [message, b"\x1e"].concat(),
        Protocol::MessagePack => {
            let short = u8::try_from(message.len()).ok().filter(|&length| length < 0x80).unwrap();
            [&[short], message].concat()
        }
    }
}

fn decode(protocol: Protocol, message: &[u8]) -> Result<Option<Message>, ProtocolError> {
    let mut decoder = Decoder::new(protocol, LIMIT);
    decoder.push(&framed(protocol, message));
    decoder.next()
}

#[test]
fn every_message_is_written_and_read() {
    for (message, json, pack) in table() {
        for (protocol, bytes) in [(Protocol::Json, json.as_bytes()), (Protocol::MessagePack, pack)] {
            let mut out = Vec::new();
            encode::message(protocol, &mut out, &message);
            assert_eq!(out, framed(protocol, bytes), "{message:?} in {}", protocol.name());
            assert_eq!(decode(protocol, bytes), Ok(Some(message.clone())), "{}", protocol.name());
        }
    }
}

#[test]
fn every_split_of_the_stream_gives_the_same_messages() {
    for protocol in [Protocol::Json, Protocol::MessagePack] {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (message, json, pack) in table() {
            let bytes = if protocol == Protocol::Json { json.as_bytes() } else { pack };
            stream.extend(framed(protocol, bytes));
            expected.push(message);
        }
        for size in 1..=stream.len() {
            let mut decoder = Decoder::new(protocol, LIMIT);
            let mut messages = Vec::new();
            for piece in stream.chunks(size) {
                decoder.push(piece);
                while let Some(message) = decoder.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, expected, "pieces of {size} bytes, {}", protocol.name());
            assert!(decoder.is_empty());
        }
    }
}

/// What other encoders write for the same messages.
#[test]
fn other_spellings_are_read() {
    let plain = invocation(Some("xyz"), &["42"], &[]);
    let json = [
        (r#"{"arguments":[42],"target":"method","invocationId":"xyz","type":1}"#, plain.clone()),
        (
            "\r\n { \"streamIds\" : null , \"type\":1, \"arguments\": [ 42 ],\n\t\"target\":\"method\",\"invocationId\":\"xyz\" } ",
            plain.clone(),
        ),
        (
            r#"{"type":1,"headers":{"Foo":"Bar"},"target":"m\u0065thod","arguments":[42],"invocationId":"xyz","later":[{}]}"#,
            plain.clone(),
        ),
        (r#"{"type":1,"invocationId":null,"target":"method","arguments":[]}"#, invocation(None, &[], &[])),
        (r#"{"type":1,"invocationId":"","target":"method","arguments":[]}"#, invocation(None, &[], &[])),
        (r#"{"type":3,"invocationId":"xyz","error":null}"#, completion(Outcome::Void)),
        (r#"{"type":7,"error":null,"allowReconnect":false}"#, close(None, false)),
        (
            r#"{"type":2,"item":{"b":[1, 2],"a":1e400},"invocationId":"xyz"}"#,
            Message::StreamItem { id: "xyz".into(), item: value(r#"{"b":[1, 2],"a":1e400}"#) },
        ),
    ];
    for (text, message) in json {
        assert_eq!(decode(Protocol::Json, text.as_bytes()), Ok(Some(message)), "{text}");
    }
    let pack: [(&[u8], Message); 11] = [
        // Clients leave empty stream ids out, or send nil.
        (b"\x95\x01\x80\xa3xyz\xa6method\x91\x2a", plain.clone()),
        (b"\x96\x01\x80\xa3xyz\xa6method\x91\x2a\xc0", plain.clone()),
        // Headers, and fields of later versions.
        (b"\x96\x01\x82\xa1x\xa1y\xa1z\xa1z\xa3xyz\xa6method\x91\x2a\x90", plain.clone()),
        (b"\x98\x01\x80\xa3xyz\xa6method\x91\x2a\x90\x92\x01\x81\xc0\x91\xc2\xd6\x05abcd", plain.clone()),
        // Lengths and numbers in longer formats.
        (b"\xdd\0\0\0\x06\xd1\0\x01\xde\0\0\xd9\x03xyz\xda\0\x06method\xdc\0\x01\xce\0\0\0\x2a\x90", plain),
        (b"\x96\x01\x80\xa0\xa6method\x90\x90", invocation(None, &[], &[])),
        (b"\x92\x06\x80", Message::Ping),
        (b"\x92\x07\xa3xyz", close(Some("xyz"), false)),
        (b"\x93\x07\xc0\xc0", close(None, false)),
        (b"\x92\x08\xcc\x24", Message::Ack { sequence: 36 }),
        (b"\x92\x09\xd3\0\0\0\0\0\0\0\x13", Message::Sequence { sequence: 19 }),
    ];
    for (bytes, message) in pack {
        let read = decode(Protocol::MessagePack, bytes);
        assert_eq!(read, Ok(Some(message)), "{bytes:x?}");
    }
}

#[test]
fn unknown_types_are_passed_over() {
    let mut json = Decoder::new(Protocol::Json, LIMIT);
    json.push(b"{\"type\":10,\"arguments\":7,\"target\":{}}\x1e{\"type\":-3}\x1e{\"type\":6}\x1e");
    assert_eq!(json.next(), Ok(Some(Message::Ping)));
    assert_eq!(json.next(), Ok(None));
    let mut pack = Decoder::new(Protocol::MessagePack, LIMIT);
    pack.push(b"\x03\x92\x0a\xc0\x02\x91\xff\x02\x91\x06");
    assert_eq!(pack.next(), Ok(Some(Message::Ping)));
    assert_eq!(pack.next(), Ok(None));
}

#[test]
fn what_is_no_message_says_why() {
    let json = [
        ("", "message is not a JSON object"),
        ("[1,\"2\"]", "message is not a JSON object"),
        ("{\"type\":6", "message is not a JSON object"),
        ("{\"type\":6}{}", "message is not a JSON object"),
        ("{\"type\":6,\"type\":6}", "message is not a JSON object"),
        ("{}", "message without type"),
        ("{\"type\":\"1\"}", "type is not an integer"),
        ("{\"type\":1.5}", "type is not an integer"),
        ("{\"type\":1,\"arguments\":[]}", "message without target"),
        ("{\"type\":1,\"target\":7,\"arguments\":[]}", "target is not a string"),
        ("{\"type\":1,\"target\":\"x\"}", "message without arguments"),
        ("{\"type\":1,\"target\":\"x\",\"arguments\":{}}", "arguments is not an array"),
        (
            "{\"type\":1,\"target\":\"x\",\"arguments\":[],\"streamIds\":[1]}",
            "streamIds is not an array of strings",
        ),
        ("{\"type\":1,\"target\":\"x\",\"arguments\":[],\"invocationId\":1}", "invocationId is not a string"),
        ("{\"type\":4,\"target\":\"x\",\"arguments\":[]}", "message without invocationId"),
        (
            "{\"type\":4,\"invocationId\":\"\",\"target\":\"x\",\"arguments\":[]}",
            "message without invocationId",
        ),
        ("{\"type\":2,\"invocationId\":\"x\"}", "message without item"),
        (
            "{\"type\":3,\"invocationId\":\"x\",\"result\":null,\"error\":\"\"}",
            "completion with a result and an error",
        ),
        ("{\"type\":5}", "message without invocationId"),
        ("{\"type\":7,\"allowReconnect\":1}", "allowReconnect is not a boolean"),
        ("{\"type\":8}", "message without sequenceId"),
        ("{\"type\":9,\"sequenceId\":-1}", "sequenceId is not an unsigned integer"),
    ];
    for (text, why) in json {
        let error = decode(Protocol::Json, text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), why, "{text}");
    }
    assert_eq!(decode(Protocol::Json, b"{\"type\":6,\"x\":\"\xff\"}"), Err(ProtocolError::NotJson));
    let pack: [(&[u8], &str); 22] = [
        (b"", "message is not a MessagePack array with a type"),
        (b"\x90", "message is not a MessagePack array with a type"),
        (b"\x81\x06\x06", "message is not a MessagePack array with a type"),
        (b"\x91\xa16", "type is not an integer"),
        (b"\x91\x06\xc0", "bytes after the message"),
        (b"\x91\x01", "message without headers"),
        (b"\x96\x01\xc0\xc0\xa1x\x90\x90", "headers is not a map of strings"),
        (b"\x96\x01\x81\xa1x\x01\xc0\xa1x\x90\x90", "headers is not a map of strings"),
        (b"\x96\x01\x80\x01\xa1x\x90\x90", "invocationId is not a string"),
        (b"\x96\x01\x80\xc0\xc0\x90\x90", "message without target"),
        (b"\x94\x01\x80\xc0\xa1x", "message without arguments"),
        (b"\x96\x01\x80\xc0\xa1x\x80\x90", "arguments is not an array"),
        (b"\x96\x01\x80\xc0\xa1x\x90\x91\x01", "streamIds is not an array of strings"),
        (b"\x96\x04\x80\xc0\xa1x\x90\x90", "message without invocationId"),
        (b"\x93\x02\x80\xa1x", "message without item"),
        (b"\x94\x03\x80\xa1x\x04", "kind of result is not 1, 2 or 3"),
        (b"\x94\x03\x80\xa1x\x03", "message without result"),
        (b"\x95\x03\x80\xa1x\x01\xc0", "message without error"),
        (b"\x93\x07\xc0\x01", "allowReconnect is not a boolean"),
        (b"\x92\x08\xff", "sequenceId is not an unsigned integer"),
        (b"\x94\x02\x80\xa1x\xc1", "malformed value: MessagePack byte 0xc1"),
        (b"\x94\x02\x80\xa1x\xd4\x05\x00", "malformed value: MessagePack extension 5"),
    ];
    for (bytes, why) in pack {
        let error = decode(Protocol::MessagePack, bytes).unwrap_err();
        assert_eq!(error.to_string(), why, "{bytes:x?}");
    }
}
