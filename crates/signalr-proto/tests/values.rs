//! Values between JSON and MessagePack, and what a message may not make the receiver do.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use dovetail_signalr_proto::{
    Decoder, MAX_ARGUMENTS, MAX_DEPTH, MAX_ID_BYTES, Message, Protocol, ProtocolError, Value, ValueError,
    encode, to_messagepack,
};
use proptest::prelude::*;
use rmpv::Value as Pack;

fn pack(json: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = b"before".to_vec();
    let packed = to_messagepack(json.as_bytes(), &mut out);
    assert!(out.starts_with(b"before"));
    packed.inspect_err(|_| assert_eq!(out, b"before", "an error leaves nothing behind"))?;
    Ok(out.split_off(6))
}

/// Reads a value as the item of a stream.
fn unpack(value: &[u8]) -> Result<String, ProtocolError> {
    let mut message = Vec::new();
    encode::stream_item(Protocol::MessagePack, &mut message, "1", value);
    let mut decoder = Decoder::new(Protocol::MessagePack, 1 << 20);
    decoder.push(&message);
    match decoder.next()?.unwrap() {
        Message::StreamItem { item, .. } => Ok(item.as_str().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_are_exact_and_as_short_as_can_be() {
    let table: [(&str, &[u8]); 20] = [
        ("0", b"\x00"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("255", b"\xcc\xff"),
        ("256", b"\xcd\x01\x00"),
        ("65536", b"\xce\x00\x01\x00\x00"),
        ("4294967296", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("-1", b"\xff"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        ("-128", b"\xd0\x80"),
        ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"),
        ("-2147483649", b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        ("-9223372036854775808", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("1.5", b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ("-0.0", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("0.1", b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
        ("1e300", b"\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"),
    ];
    for (json, bytes) in table {
        assert_eq!(pack(json).unwrap(), bytes, "{json}");
        assert_eq!(unpack(bytes).unwrap(), json);
    }
    // What 64 bits do not hold.
    assert_eq!(unpack(&pack("18446744073709551616").unwrap()).unwrap(), "1.8446744073709552e19");
}

/// What JSON can write and nobody can hold, but may have been stored.
#[test]
fn all_valid_json_has_a_form() {
    for (json, back) in [
        (r#""\ud800""#, "\"\u{fffd}\""),
        (r#""a\udc00\ud83d\u0041\ud83d""#, "\"a\u{fffd}\u{fffd}A\u{fffd}\""),
        (r#""\ud83d\uDE00\/\b\f\n\r\t\"\\\\u""#, "\"\u{1f600}/\\u0008\\u000c\\n\\r\\t\\\"\\\\\\\\u\""),
        ("1e400", "null"),
        ("-0", "-0.0"),
        (" [ 1 , { } , [ ] , { \"a\" : [ ] } ] ", r#"[1,{},[],{"a":[]}]"#),
    ] {
        assert_eq!(unpack(&pack(json).unwrap()).unwrap(), back, "{json}");
    }
    assert_eq!(pack("1e400").unwrap(), b"\xcb\x7f\xf0\0\0\0\0\0\0");
    // As deep and wide as a payload can be, in time that grows with its size alone.
    let level = format!("[{}", "0,".repeat(16));
    let levels = 30_000;
    let deep = format!("{}0{}", level.repeat(levels), "]".repeat(levels));
    assert_eq!(pack(&deep).unwrap().len(), levels * (3 + 16) + 1);
}

/// What MessagePack has and JSON has not.
#[test]
fn other_types_become_the_nearest_json() {
    let table: [(&[u8], &str); 17] = [
        (b"\xca\x3d\xcc\xcc\xcd", "0.1"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xca\xff\x80\x00\x00", "null"),
        (b"\xc4\x00", r#""""#),
        (b"\xc4\x03\x00\xff\xfe", r#""AP/+""#),
        (b"\xc5\x00\x01\x41", r#""QQ==""#),
        (b"\x83\x01\xc0\xff\x01\xa1\"\x90", r#"{"1":null,"-1":1,"\"":[]}"#),
        (b"\xd6\xff\x00\x00\x00\x00", r#""1970-01-01T00:00:00Z""#),
        (b"\xd6\xff\xff\xff\xff\xff", r#""2106-02-07T06:28:15Z""#),
        // 2024-02-29, with 500 ms.
        (b"\xd7\xff\x77\x35\x94\x00\x65\xdf\xe5\x00", r#""2024-02-29T01:59:28.5Z""#),
        (b"\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x00", r#""1970-01-01T00:00:00.000000001Z""#),
        (
            b"\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff",
            r#""1969-12-31T23:59:59.000000001Z""#,
        ),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x86\x8b\x84\x00", r#""0000-01-01T00:00:00Z""#),
        (
            b"\xc7\x0c\xff\x3b\x9a\xc9\xff\x00\x00\x00\x3a\xff\xf4\x41\x7f",
            r#""9999-12-31T23:59:59.999999999Z""#,
        ),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\x7c\xa1\xf8\x80", r#""1900-02-28T00:00:00Z""#),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\x7c\xa3\x4a\x00", r#""1900-03-01T00:00:00Z""#),
        (b"\xd6\xff\x38\xbc\x5d\x80", r#""2000-03-01T00:00:00Z""#),
    ];
    for (bytes, json) in table {
        assert_eq!(unpack(bytes).unwrap(), json, "{bytes:x?}");
    }
}

#[test]
fn what_has_no_form_is_refused() {
    let too_late = b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x3a\xff\xf4\x41\x80";
    let too_early = b"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xf1\x86\x8b\x83\xff";
    let table: [(&[u8], ValueError); 12] = [
        (b"\xc1", ValueError::Reserved),
        (b"\x81\xc0\x01", ValueError::Key),
        (b"\x81\xcb\x00\x00\x00\x00\x00\x00\x00\x00\x01", ValueError::Key),
        (b"\x81\x90\x01", ValueError::Key),
        (b"\xa2\xc3\x28", ValueError::Utf8),
        (b"\xa3\xed\xa0\x80", ValueError::Utf8),
        (b"\xd4\x01\x00", ValueError::Extension(1)),
        (b"\xd4\xff\x00", ValueError::Timestamp),
        (b"\xd7\xff\xff\xff\xff\xfc\x00\x00\x00\x00", ValueError::Timestamp),
        (too_late, ValueError::Timestamp),
        (too_early, ValueError::Timestamp),
        (b"\xcd\x00", ValueError::Truncated),
    ];
    for (bytes, error) in table {
        assert_eq!(unpack(bytes), Err(ProtocolError::Value(error)), "{bytes:x?}");
    }
    for json in ["", "1 2", "[1,]", "{\"a\"}", "nul", "01", "\"\u{1}\"", r#""\u12g4""#] {
        assert_eq!(pack(json), Err(ValueError::Json), "{json}");
    }
    assert_eq!(to_messagepack(b"\"\xff\"", &mut Vec::new()), Err(ValueError::Utf8));
}

/// Each announces far more than the message holds. Memory for what is announced would end the process.
#[test]
fn announced_lengths_are_not_believed() {
    let bombs: [&[u8]; 9] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\x7f\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\xff",
        b"\xdc\xff\xff\x91\x91",
        b"\xde\x00\x02\x01\x01\x01",
        b"\x9f\xdd\xff\xff\xff\xff",
        b"\x93\x91\x91",
    ];
    for bomb in bombs {
        assert_eq!(unpack(bomb), Err(ProtocolError::Value(ValueError::Truncated)), "{bomb:x?}");
        for place in [&b"\x94\x01\x80\xc0"[..], b"\x96\x01\x80\xc0\xa1x", b"\x92\x01", b"\x97\x06", b""] {
            let body = [place, bomb].concat();
            let message = [&[body.len() as u8][..], &body].concat();
            let mut decoder = Decoder::new(Protocol::MessagePack, 4096);
            decoder.push(&message);
            assert!(decoder.next().is_err(), "{message:x?}");
        }
    }
}

#[test]
fn depth_is_limited_in_both_protocols() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| format!("{}\"[{{\\\"[\"{}", open.repeat(depth), close.repeat(depth));
        let deepest = nested(MAX_DEPTH);
        assert_eq!(unpack(&pack(&deepest).unwrap()).unwrap(), deepest);
        assert_eq!(Value::new(&deepest).unwrap().as_str(), deepest);
        let too_deep = nested(MAX_DEPTH + 1);
        assert_eq!(Value::new(&too_deep), Err(ValueError::Depth));
    }
    let arrays = vec![0x91; MAX_DEPTH + 1];
    assert_eq!(unpack(&arrays), Err(ProtocolError::Value(ValueError::Truncated)));
    let arrays = [arrays, vec![0xc0]].concat();
    assert_eq!(unpack(&arrays), Err(ProtocolError::Value(ValueError::Depth)));
    let mut decoder = Decoder::new(Protocol::Json, 1 << 20);
    decoder.push(
        format!(
            "{{\"type\":2,\"invocationId\":\"1\",\"item\":{}1{}}}\u{1e}",
            "[".repeat(9999),
            "]".repeat(9999)
        )
        .as_bytes(),
    );
    assert_eq!(decoder.next(), Err(ProtocolError::Value(ValueError::Depth)));
    // What is passed over may be as deep as it likes.
    let mut decoder = Decoder::new(Protocol::MessagePack, 1 << 20);
    let body = [&b"\x92\x06"[..], &[0x91; 100][..], &[0xc0]].concat();
    decoder.push(&[&[body.len() as u8][..], &body].concat());
    assert_eq!(decoder.next(), Ok(Some(Message::Ping)));
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    for protocol in [Protocol::Json, Protocol::MessagePack] {
        let read = |id: usize, arguments: usize, streams: usize| {
            let message = Message::Invocation {
                id: Some("i".repeat(id).into()),
                target: "t".into(),
                arguments: vec![Value::new("1").unwrap(); arguments],
                streams: vec!["s".into(); streams],
            };
            let mut out = Vec::new();
            encode::message(protocol, &mut out, &message);
            let mut decoder = Decoder::new(protocol, 1 << 20);
            decoder.push(&out);
            decoder.next().map(|read| assert_eq!(read, Some(message))).map_err(|error| error.to_string())
        };
        assert_eq!(read(MAX_ID_BYTES, MAX_ARGUMENTS, MAX_ARGUMENTS), Ok(()));
        assert_eq!(read(MAX_ID_BYTES + 1, 0, 0), Err("invocationId is more than 128".to_owned()));
        assert_eq!(read(1, MAX_ARGUMENTS + 1, 0), Err("arguments is more than 256".to_owned()));
        assert_eq!(read(1, 0, MAX_ARGUMENTS + 1), Err("streamIds is more than 256".to_owned()));
    }
}

#[test]
fn messages_are_limited_by_their_bytes() {
    for protocol in [Protocol::Json, Protocol::MessagePack] {
        for size in [0, 100, 128, 16_383, 16_384, 70_000] {
            let text = format!("\"{}\"", "x".repeat(size));
            let message = Message::StreamItem { id: "1".into(), item: Value::new(&text).unwrap() };
            let mut out = Vec::new();
            encode::message(protocol, &mut out, &message);
            let frame = match protocol {
                Protocol::Json => 1,
                Protocol::MessagePack => out.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1,
            };
            let limit = out.len() - frame;
            let mut decoder = Decoder::new(protocol, limit);
            decoder.push(&out);
            assert_eq!(decoder.next(), Ok(Some(message)));
            let mut decoder = Decoder::new(protocol, limit - 1);
            // Refused as soon as it is known, not when all of it is there.
            decoder.push(&out[..if protocol == Protocol::Json { limit } else { frame }]);
            assert_eq!(decoder.next(), Err(ProtocolError::TooLarge { limit: limit - 1 }));
        }
    }
    for (length, error) in [
        (&b"\xff\xff\xff\xff\x07"[..], ProtocolError::TooLarge { limit: 9 }),
        (b"\xff\xff\xff\xff\x08", ProtocolError::Length),
        (b"\x80\x80\x80\x80\x80", ProtocolError::Length),
    ] {
        let mut decoder = Decoder::new(Protocol::MessagePack, 9);
        decoder.push(&length[..4]);
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(&length[4..]);
        assert_eq!(decoder.next(), Err(error));
    }
}

fn json_values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-200_i64..200).prop_map(Into::into),
        proptest::num::f64::NORMAL.prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        "[a-z]{0,300}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..20)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// What our JSON of a MessagePack value should be, by another way.
fn as_json(value: &Pack) -> serde_json::Value {
    match value {
        Pack::Nil => serde_json::Value::Null,
        Pack::Boolean(value) => (*value).into(),
        Pack::Integer(value) => value.as_u64().map_or_else(|| value.as_i64().into(), Into::into),
        Pack::F32(value) => f64::from(*value).into(),
        Pack::F64(value) => (*value).into(),
        Pack::String(text) => text.as_str().unwrap().into(),
        Pack::Array(items) => items.iter().map(as_json).collect(),
        Pack::Map(members) => members
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), as_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Pack::Binary(_) | Pack::Ext(..) => unreachable!("JSON has none"),
    }
}

proptest! {
    #[test]
    fn json_goes_to_messagepack_and_back(json in json_values()) {
        let packed = pack(&json.to_string()).unwrap();
        // What others read is the same value, and what they write of it is as short.
        let theirs = rmpv::decode::read_value(&mut packed.as_slice()).unwrap();
        prop_assert_eq!(&as_json(&theirs), &json);
        let mut written = Vec::new();
        rmpv::encode::write_value(&mut written, &theirs).unwrap();
        prop_assert_eq!(&written, &packed);
        let back: serde_json::Value = serde_json::from_str(&unpack(&packed).unwrap()).unwrap();
        prop_assert_eq!(back, json);
    }

    #[test]
    fn dates_are_those_of_another_calendar(day in -719_528_i64..=2_932_896, second in 0_i64..86_400) {
        let seconds = day * 86_400 + second;
        let bytes = [&b"\xc7\x0c\xff\x00\x00\x00\x00"[..], &seconds.to_be_bytes()].concat();
        let text = unpack(&bytes).unwrap();
        // Days counted one month and one year at a time.
        let mut parts = text.trim_matches(|c| c == '"' || c == 'Z').split(['-', 'T', ':']).map(|part| part.parse::<i64>().unwrap());
        let mut next = || parts.next().unwrap();
        let (year, month, date) = (next(), next(), next());
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let years: i64 = (0..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let months: i64 = lengths[..month as usize - 1].iter().sum();
        prop_assert_eq!(years + months + date - 1 - 719_528, day);
        prop_assert_eq!(next() * 3600 + next() * 60 + next(), second);
    }

    #[test]
    fn messages_of_any_values_come_back(
        protocol in prop_oneof![Just(Protocol::Json), Just(Protocol::MessagePack)],
        values in prop::collection::vec(json_values(), 0..4),
        id in "\\PC{1,20}",
        target in "\\PC{0,200}",
        size in 1..400_usize,
    ) {
        let message = Message::StreamInvocation {
            id: id.as_str().into(),
            target: target.as_str().into(),
            arguments: values.iter().map(|value| Value::new(&value.to_string()).unwrap()).collect(),
            streams: vec![id.as_str().into()],
        };
        let mut out = Vec::new();
        encode::message(protocol, &mut out, &message);
        let mut decoder = Decoder::new(protocol, 1 << 20);
        let mut read = None;
        for piece in out.chunks(size) {
            prop_assert!(read.is_none());
            decoder.push(piece);
            read = decoder.next().unwrap();
        }
        let Some(Message::StreamInvocation { id: read_id, target: read_target, arguments, streams }) = read else {
            panic!("{read:?}");
        };
        prop_assert_eq!(&*read_id, &id);
        prop_assert_eq!(&*read_target, &target);
        prop_assert_eq!(&*streams[0], &id);
        let arguments: Vec<serde_json::Value> = arguments.iter().map(|value| serde_json::from_str(value.as_str()).unwrap()).collect();
        prop_assert_eq!(arguments, values);
    }

    /// Nearly right is where mistakes are: no panic, and what is still read can be written and read again.
    #[test]
    fn messages_with_wrong_bytes_are_survived(
        protocol in prop_oneof![Just(Protocol::Json), Just(Protocol::MessagePack)],
        values in prop::collection::vec(json_values(), 0..3),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let message = Message::Invocation {
            id: Some("7".into()),
            target: "Put".into(),
            arguments: values.iter().map(|value| Value::new(&value.to_string()).unwrap()).collect(),
            streams: vec!["1".into()],
        };
        let mut bytes = Vec::new();
        encode::message(protocol, &mut bytes, &message);
        for (place, byte) in wrong {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut decoder = Decoder::new(protocol, 1 << 16);
        for piece in [&bytes[..cut.index(bytes.len())], &bytes[cut.index(bytes.len())..]] {
            decoder.push(piece);
            while let Ok(Some(read)) = decoder.next() {
                let mut again = Vec::new();
                encode::message(Protocol::Json, &mut again, &read);
                let mut second = Decoder::new(Protocol::Json, 1 << 20);
                second.push(&again);
                prop_assert_eq!(second.next(), Ok(Some(read)));
            }
        }
    }

    /// No panic, and the same judgement however the bytes are cut.
    #[test]
    fn garbage_is_judged_the_same_in_any_pieces(
        protocol in prop_oneof![Just(Protocol::Json), Just(Protocol::MessagePack)],
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            // Bodies that begin like messages.
            (1..10_u8, prop::collection::vec(prop_oneof![any::<u8>(), 0x80..0xa3_u8, Just(0xc0)], 0..60)).prop_map(|(kind, rest)| {
                let body = [&[0x96, kind, 0x80][..], &rest].concat();
                [&[body.len() as u8][..], &body].concat()
            }),
            "\\{\"(type|item|target|arguments)\":[\\[\\]{}:,\"0-9a]{0,20}\\}\u{1e}".prop_map(String::into_bytes),
        ],
        size in 1..50_usize,
    ) {
        let judge = |size: usize| {
            let mut decoder = Decoder::new(protocol, 128);
            let mut messages = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                loop {
                    match decoder.next() {
                        Ok(Some(message)) => messages.push(message),
                        Ok(None) => break,
                        Err(_) => return (messages, true),
                    }
                }
            }
            (messages, false)
        };
        prop_assert_eq!(judge(size), judge(bytes.len().max(1)));
    }
}
