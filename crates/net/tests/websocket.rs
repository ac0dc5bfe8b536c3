//! A WebSocket as a stream of bytes: frames by hand, and a client of somebody else's.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod frames;

use std::io::IoSlice;
use std::pin::Pin;

use bytes::Bytes;
use dovetail_net::{Drain, WebSocket, accept_key};
use frames::{
    BINARY, BINARY_BEGIN, CLOSE, CONTINUE, CONTINUE_LAST, EIGHT_BYTES, MASK, PING, PONG, TEXT, TEXT_BEGIN,
    TWO_BYTES, bare, close, frame,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_websockets::{ClientBuilder, CloseCode, Message};

const LIMIT: usize = 100_000;

/// Both ends: a client that speaks raw bytes, and the server's WebSocket.
fn pair(before: &[u8], drain: &Drain) -> (DuplexStream, WebSocket<DuplexStream>) {
    let (client, server) = duplex(1 << 20);
    (client, WebSocket::new(server, Bytes::copy_from_slice(before), LIMIT, drain.draining()))
}

/// Reads everything with a buffer of so many bytes, then shuts down.
async fn take_all(mut socket: WebSocket<DuplexStream>, buffer: usize) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; buffer]);
    loop {
        match socket.read(&mut piece).await.unwrap() {
            0 => break,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
    socket.shutdown().await.unwrap();
    all
}

/// What the server reads of `sent`, and what it answers, when it comes in these pieces.
async fn exchange(pieces: &[&[u8]], buffer: usize) -> (Vec<u8>, Vec<u8>) {
    let drain = Drain::new();
    let (mut client, server) = pair(b"", &drain);
    let sending = async move {
        for piece in pieces {
            // After the end the server may be gone.
            let _ = client.write_all(piece).await;
            // The server has read it when it is our turn again: both ends are one task.
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    };
    tokio::join!(take_all(server, buffer), sending)
}

#[test]
fn the_key_is_answered_as_the_standard_says() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for bad in
        ["", "c2hvcnQ=", "dGhlIHNhbXBsZSBub25jZQ", "not base64 at all!!!!!!=", "AAAAAAAAAAAAAAAAAAAAAAA="]
    {
        assert_eq!(accept_key(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn data_comes_out_however_it_is_cut() {
    let long = vec![7; 300];
    let frames = [
        frame(BINARY, b"one"),
        frame(BINARY, b""),
        frame(BINARY_BEGIN, b"fragments "),
        frame(PING, b"between"),
        frame(CONTINUE, b""),
        frame(PONG, b"nobody asked"),
        frame(CONTINUE, b"of a "),
        frame(CONTINUE_LAST, b"message"),
        frame(BINARY, &long),
        frame(PING, b""),
        frame(CLOSE, &[&1000u16.to_be_bytes()[..], "schön".as_bytes()].concat()),
        frame(BINARY, b"after the end"),
    ];
    let sent = frames.concat();
    let expected = [b"onefragments of a message", &long[..]].concat();
    for cut in 0..sent.len() {
        let (first, second) = sent.split_at(cut);
        let (data, answer) = exchange(&[first, second], 4_096).await;
        assert_eq!(data, expected, "cut at {cut}");
        // A ping that a newer one overtook needs no answer.
        let newest = [bare(PONG, b""), close(1000)].concat();
        let both = [bare(PONG, b"between"), newest.clone()].concat();
        assert!(answer == newest || answer == both, "cut at {cut}: {answer:x?}");
    }
    let bytes: Vec<&[u8]> = sent.chunks(1).collect();
    let (data, answer) = exchange(&bytes, 4_096).await;
    assert_eq!(data, expected);
    assert_eq!(answer, [bare(PONG, b"between"), bare(PONG, b""), close(1000)].concat());
    for buffer in [1, 2, 3, 7, 64] {
        assert_eq!(exchange(&[&sent], buffer).await.0, expected, "buffer of {buffer}");
    }
}

#[tokio::test]
async fn what_was_read_with_the_handshake_comes_first() {
    let drain = Drain::new();
    let sent = [frame(BINARY, b"early "), frame(BINARY, b"and late")].concat();
    for cut in 0..sent.len() {
        let (mut client, server) = pair(&sent[..cut], &drain);
        client.write_all(&sent[cut..]).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(take_all(server, 4).await, b"early and late", "cut at {cut}");
    }
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_how_and_heard_no_more() {
    let unmasked = bare(BINARY, b"x");
    let masked = |first: u8, length: &[u8]| [&[first], length, &MASK].concat();
    let table: [(&str, Vec<u8>, u16); 22] = [
        ("text", frame(TEXT, b"hello"), 1003),
        ("the start of a text", frame(TEXT_BEGIN, b"hel"), 1003),
        ("no mask", unmasked, 1002),
        ("a reserved bit", frame(0xc2, b"x"), 1002),
        ("another reserved bit", frame(0x92, b"x"), 1002),
        ("an unknown kind of data", frame(0x83, b"x"), 1002),
        ("an unknown kind of control", frame(0x8b, b"x"), 1002),
        ("a continuation of nothing", frame(CONTINUE_LAST, b"x"), 1002),
        ("a message in a message", [frame(BINARY_BEGIN, b""), frame(BINARY, b"x")].concat(), 1002),
        ("a text in a message", [frame(BINARY_BEGIN, b""), frame(TEXT, b"x")].concat(), 1002),
        ("a ping in fragments", frame(0x09, b"x"), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("a length of 2 bytes for 125", masked(BINARY, &[0x80 | TWO_BYTES, 0, 125]), 1002),
        (
            "a length of 8 bytes for 65535",
            masked(BINARY, &[0x80 | EIGHT_BYTES, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            1002,
        ),
        ("a frame over the limit", masked(BINARY, &[0x80 | EIGHT_BYTES, 0, 0, 0, 0, 0, 1, 0x86, 0xa1]), 1009),
        ("an impossible length", masked(BINARY, &[0x80 | EIGHT_BYTES, 0xff, 0, 0, 0, 0, 0, 0, 0]), 1009),
        ("half a close code", frame(CLOSE, b"x"), 1002),
        ("a close code below all", frame(CLOSE, &999u16.to_be_bytes()), 1002),
        ("a close code that says there is none", frame(CLOSE, &1005u16.to_be_bytes()), 1002),
        ("a close code that says it broke", frame(CLOSE, &1006u16.to_be_bytes()), 1002),
        ("a close code above all", frame(CLOSE, &5000u16.to_be_bytes()), 1002),
        ("a reason that is no text", frame(CLOSE, &[0x03, 0xe8, 0xc3, 0x28]), 1007),
    ];
    for (what, bad, code) in table {
        let sent = [frame(BINARY, b"good"), bad, frame(BINARY, b"more")].concat();
        let (data, answer) = exchange(&[&sent], 4_096).await;
        assert_eq!((&data[..], answer), (&b"good"[..], close(code)), "{what}");
    }
}

#[tokio::test]
async fn a_frame_at_the_limit_is_taken_and_messages_have_none() {
    let full = vec![1; LIMIT];
    let sent = [frame(BINARY_BEGIN, &full), frame(CONTINUE, &full), frame(CONTINUE_LAST, &full)].concat();
    assert_eq!(exchange(&[&sent], 4_096).await.0.len(), 3 * LIMIT);
}

#[tokio::test]
async fn the_end_says_what_it_said() {
    for (sent, answer) in [
        (frame(CLOSE, &1001u16.to_be_bytes()), close(1001)),
        (frame(CLOSE, &4321u16.to_be_bytes()), close(4321)),
        (frame(CLOSE, b""), bare(CLOSE, b"")),
        // Gone without a word; what is said then is for nobody.
        (Vec::new(), close(1000)),
    ] {
        assert_eq!(exchange(&[&sent], 64).await, (Vec::new(), answer), "{sent:x?}");
    }
}

#[tokio::test]
async fn shutting_down_waits_for_the_answer_and_says_why() {
    for (is_draining, code) in [(false, 1000), (true, 1001)] {
        let drain = Drain::new();
        let (mut client, mut server) = pair(b"", &drain);
        server.write_all(b"last words").await.unwrap();
        if is_draining {
            drain.begin();
        }
        // What comes before the answer is too late to matter, and pings are not answered any more.
        client.write_all(&[frame(BINARY, b"late"), frame(PING, b"late")].concat()).await.unwrap();
        let ((), ()) = tokio::join!(async { server.shutdown().await.unwrap() }, async {
            let expected = [bare(BINARY, b"last words"), close(code)].concat();
            let mut heard = vec![0; expected.len()];
            client.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, expected);
            client.write_all(&frame(CLOSE, &code.to_be_bytes())).await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"");
        });
    }
}

#[tokio::test]
async fn a_write_is_one_frame_whatever_its_length_and_its_pieces() {
    let drain = Drain::new();
    for length in [1, 125, 126, 65_535, 65_536, 200_000] {
        let (mut client, mut server) = pair(b"", &drain);
        let data: Vec<u8> = (0..length).map(|n: usize| n as u8).collect();
        let pieces: Vec<IoSlice<'_>> = data.chunks(length.div_ceil(7)).map(IoSlice::new).collect();
        assert_eq!(server.write_vectored(&pieces).await.unwrap(), length);
        server.flush().await.unwrap();
        let expected = bare(BINARY, &data);
        let mut heard = vec![0; expected.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert!(heard == expected, "{length} bytes");
    }
}

#[tokio::test]
async fn a_frame_is_whole_although_the_socket_takes_little_and_pings_come() {
    let drain = Drain::new();
    let data: Vec<u8> = (0..1_000u32).map(|n| n as u8).collect();
    for room in 1..20 {
        let (mut client, server) = duplex(room);
        let mut server = WebSocket::new(server, Bytes::from(frame(PING, b"?")), LIMIT, drain.draining());
        let (sent, heard) = tokio::join!(
            async {
                let mut nothing = [0; 16];
                // The frame is begun, then the ping is seen, and its answer has to wait.
                let begun =
                    std::future::poll_fn(|cx| Pin::new(&mut server).poll_write(cx, &data)).await.unwrap();
                let read = server.read(&mut nothing);
                assert!(futures_util::poll!(std::pin::pin!(read)).is_pending());
                server.write_all(&data[begun..]).await.unwrap();
                server.flush().await.unwrap();
                drop(server);
            },
            async {
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).await.unwrap();
                heard
            }
        );
        let ((), expected) = (sent, [bare(BINARY, &data), bare(PONG, b"?")].concat());
        assert!(heard == expected, "room for {room}");
    }
}

#[tokio::test]
async fn half_a_frame_is_not_followed_by_a_close_frame() {
    let drain = Drain::new();
    let (mut client, server) = duplex(16);
    let mut server = WebSocket::new(server, Bytes::new(), LIMIT, drain.draining());
    let begun = std::future::poll_fn(|cx| Pin::new(&mut server).poll_write(cx, &[9; 500])).await.unwrap();
    server.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard[4..], vec![9; begun]);
}

#[tokio::test]
async fn a_client_of_somebody_elses_hears_its_own_echo() {
    let drain = Drain::new();
    let (client, server) = duplex(10_000);
    let mut server = WebSocket::new(server, Bytes::new(), LIMIT, drain.draining());
    let echo = async move {
        let mut buffer = vec![0; 5_000];
        loop {
            match server.read(&mut buffer).await.unwrap() {
                0 => break,
                count => server.write_all(&buffer[..count]).await.unwrap(),
            }
        }
        server.shutdown().await.unwrap();
    };
    let script = async move {
        let mut client = ClientBuilder::new().take_over(client);
        for length in [0, 1, 125, 126, 4_999, 5_000, 65_535, 65_536, LIMIT] {
            let sent: Vec<u8> = (0..length).map(|n: usize| (n * 31) as u8).collect();
            let (mut writer, mut reader) = (&mut client).split();
            let sending = async {
                writer.send(Message::ping("how are you")).await.unwrap();
                writer.send(Message::binary(sent.clone())).await.unwrap();
            };
            let hearing = async {
                let (mut heard, mut pongs) = (Vec::new(), 0);
                while heard.len() < length || pongs == 0 {
                    let message = reader.next().await.unwrap().unwrap();
                    if message.is_pong() {
                        pongs += 1;
                    } else {
                        assert!(message.is_binary());
                        heard.extend_from_slice(message.as_payload());
                    }
                }
                heard
            };
            let ((), heard) = tokio::join!(sending, hearing);
            assert!(heard == sent, "{length} bytes");
        }
        client.send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "enough")).await.unwrap();
        let end = client.next().await.unwrap().unwrap();
        assert_eq!(end.as_close().unwrap().0, CloseCode::NORMAL_CLOSURE);
        assert!(client.next().await.is_none());
    };
    tokio::join!(echo, script);
}
