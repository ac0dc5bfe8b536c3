//! The handshake: what is agreed on, what is refused with which words, and nothing before its end.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use dovetail_signalr_proto::{
    HandshakeError, HandshakeRequest, MAX_HANDSHAKE_BYTES, Protocol, handshake, handshake_response,
};

#[test]
fn the_handshakes_of_clients_are_read() {
    for (text, protocol, version) in [
        (r#"{"protocol":"json","version":1}"#, Protocol::Json, 1),
        (r#"{"protocol":"json","version":2}"#, Protocol::Json, 2),
        (r#"{"protocol":"messagepack","version":1}"#, Protocol::MessagePack, 1),
        (r#" {"version": 0, "extra": [1], "protocol": "MessagePack"} "#, Protocol::MessagePack, 0),
    ] {
        let input = format!("{text}\u{1e}\u{2}\u{91}");
        let expected = HandshakeRequest { protocol, version };
        assert_eq!(handshake(input.as_bytes()), Ok(Some((expected, text.len() + 1))), "{text}");
        for end in 0..=text.len() {
            assert_eq!(handshake(&input.as_bytes()[..end]), Ok(None), "{end} bytes of {text}");
        }
    }
}

#[test]
fn what_is_no_handshake_says_why() {
    let malformed = "handshake is not a JSON object with a protocol and a version";
    let long = format!(r#"{{"protocol":"{}","version":1}}"#, "x".repeat(1000));
    let shown = format!("protocol '{}' is neither json nor messagepack", "x".repeat(40));
    for (text, why) in [
        ("", malformed),
        ("{}", malformed),
        (r#"["json",1]"#, malformed),
        (r#"{"type":6}"#, malformed),
        (r#"{"protocol":"json"}"#, malformed),
        (r#"{"protocol":"json","version":-1}"#, malformed),
        (r#"{"protocol":"json","version":3}"#, "version 3 of protocol 'json', the newest known is 2"),
        (r#"{"protocol":"blazorpack","version":1}"#, "protocol 'blazorpack' is neither json nor messagepack"),
        (&long, &shown),
    ] {
        let error = handshake(format!("{text}\u{1e}").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), why, "{text}");
    }
}

#[test]
fn a_handshake_without_end_is_refused_at_the_limit() {
    let mut input = vec![b' '; MAX_HANDSHAKE_BYTES - 1];
    assert_eq!(handshake(&input), Ok(None));
    input.push(b' ');
    assert_eq!(handshake(&input), Err(HandshakeError::TooLarge { limit: MAX_HANDSHAKE_BYTES }));
    input.push(0x1e);
    assert_eq!(handshake(&input), Err(HandshakeError::TooLarge { limit: MAX_HANDSHAKE_BYTES }));
    let text = br#"{"protocol":"json","version":1}"#;
    let mut largest = vec![b' '; MAX_HANDSHAKE_BYTES - 1 - text.len()];
    largest.extend_from_slice(text);
    largest.push(0x1e);
    assert!(handshake(&largest).unwrap().is_some());
}

#[test]
fn the_answer_is_a_record() {
    let mut out = Vec::new();
    handshake_response(&mut out, None);
    handshake_response(&mut out, Some("protocol 'a\"b' \u{7}"));
    assert_eq!(out, b"{}\x1e{\"error\":\"protocol 'a\\\"b' \\u0007\"}\x1e");
}
