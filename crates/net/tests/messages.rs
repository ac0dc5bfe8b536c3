//! A WebSocket as whole messages: frames by hand, and a client of somebody else's.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod frames;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dovetail_net::{CloseCode, End, Kind, Messages};
use frames::{
    BINARY, BINARY_BEGIN, CLOSE, CONTINUE, CONTINUE_LAST, EIGHT_BYTES, MASK, PING, PONG, TEXT, TEXT_BEGIN,
    TWO_BYTES, bare, close, frame,
};
use futures_util::{SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio_websockets::{ClientBuilder, Message as TheirMessage};

const LIMIT: usize = 1_000;

/// A message, kept.
type Kept = (Kind, Vec<u8>);

fn text(text: &str) -> Kept {
    (Kind::Text, text.as_bytes().to_vec())
}

fn binary(bytes: &[u8]) -> Kept {
    (Kind::Binary, bytes.to_vec())
}

/// Reads messages until the client's side has ended, and then ends ours. `scratch` is what is lent for reading.
async fn take_all<S: AsyncRead + AsyncWrite + Unpin>(
    mut messages: Messages<S>,
    scratch: usize,
) -> (Vec<Kept>, End) {
    let (mut all, mut scratch) = (Vec::new(), vec![0; scratch]);
    let end = loop {
        poll_fn(|cx| read(&mut messages, cx, &mut scratch, &mut all)).await;
        if let Some(end) = messages.end() {
            break end;
        }
    };
    poll_fn(|cx| messages.poll_close(cx)).await.unwrap();
    (all, end)
}

/// One turn: what is queued is written, and what was read is put to `all`.
fn read<S: AsyncRead + AsyncWrite + Unpin>(
    messages: &mut Messages<S>,
    cx: &mut Context<'_>,
    scratch: &mut [u8],
    all: &mut Vec<Kept>,
) -> Poll<()> {
    let mut input = ready!(messages.poll_read(cx, scratch));
    while let Some(message) = messages.next_message(&mut input) {
        all.push((message.kind(), message.as_bytes().to_vec()));
    }
    let _ = messages.poll_flush(cx);
    Poll::Ready(())
}

/// What the server reads of `sent` and how that ends, and what it answers, when it comes in these pieces.
async fn exchange(pieces: &[&[u8]], scratch: usize) -> ((Vec<Kept>, End), Vec<u8>) {
    let (mut client, server) = duplex(1 << 20);
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
    tokio::join!(take_all(Messages::new(server, Bytes::new(), LIMIT), scratch), sending)
}

/// Like [`exchange`], all at once and without a runtime's help.
fn exchange_now(pieces: &[&[u8]], scratch: usize) -> ((Vec<Kept>, End), Vec<u8>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(exchange(pieces, scratch))
}

#[tokio::test]
async fn messages_come_out_whole_however_they_are_cut() {
    let long = "ä".repeat(150);
    let frames = [
        frame(TEXT, b"one"),
        frame(TEXT, b""),
        frame(BINARY, b""),
        frame(TEXT_BEGIN, b"fragments "),
        frame(PING, b"between"),
        frame(CONTINUE, b""),
        frame(PONG, b"nobody asked"),
        frame(CONTINUE, b"of a t\xc3"),
        frame(CONTINUE_LAST, b"\xa4xt"),
        frame(BINARY_BEGIN, &[0xff, 0]),
        frame(CONTINUE_LAST, b""),
        frame(TEXT, long.as_bytes()),
        frame(PING, b""),
        frame(CLOSE, &[&1000u16.to_be_bytes()[..], "schön".as_bytes()].concat()),
        frame(TEXT, b"after the end"),
    ];
    let sent = frames.concat();
    let messages = vec![
        text("one"),
        text(""),
        binary(b""),
        text("fragments of a täxt"),
        binary(&[0xff, 0]),
        text(&long),
    ];
    let end = End::Closed(Some(CloseCode::NORMAL));
    let answer = [bare(PONG, b"between"), bare(PONG, b""), close(1000)].concat();
    let expected = ((messages, end), answer);
    for cut in 0..sent.len() {
        let (first, second) = sent.split_at(cut);
        assert_eq!(exchange(&[first, second], 4_096).await, expected, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = sent.chunks(1).collect();
    assert_eq!(exchange(&bytes, 4_096).await, expected);
    for scratch in [1, 2, 3, 7, 64] {
        assert_eq!(exchange(&[&sent], scratch).await, expected, "{scratch} bytes lent");
    }
}

#[tokio::test]
async fn what_was_read_with_the_handshake_comes_first() {
    let sent = [frame(TEXT, b"early "), frame(TEXT, b"and late")].concat();
    for cut in 0..sent.len() {
        let (mut client, server) = duplex(1 << 20);
        let server = Messages::new(server, Bytes::copy_from_slice(&sent[..cut]), LIMIT);
        client.write_all(&sent[cut..]).await.unwrap();
        client.shutdown().await.unwrap();
        let (messages, end) = take_all(server, 4).await;
        assert_eq!((messages, end), (vec![text("early "), text("and late")], End::Lost), "cut at {cut}");
    }
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_how_and_heard_no_more() {
    let masked = |first: u8, length: &[u8]| [&[first], length, &MASK].concat();
    let table: [(&str, Vec<u8>, u16); 24] = [
        ("no mask", bare(TEXT, b"x"), 1002),
        ("a reserved bit", frame(0xc1, b"x"), 1002),
        ("another reserved bit", frame(0xa2, b"x"), 1002),
        ("the last reserved bit", frame(0x99, b"x"), 1002),
        ("an unknown kind of data", frame(0x83, b"x"), 1002),
        ("an unknown kind of control", frame(0x8f, b"x"), 1002),
        ("a continuation of nothing", frame(CONTINUE_LAST, b"x"), 1002),
        ("a message in a message", [frame(BINARY_BEGIN, b""), frame(BINARY, b"x")].concat(), 1002),
        ("a text in a message", [frame(BINARY_BEGIN, b""), frame(TEXT, b"x")].concat(), 1002),
        ("a ping in fragments", frame(0x09, b"x"), 1002),
        ("a long ping", frame(PING, &[0; 126]), 1002),
        ("a length of 2 bytes for 125", masked(TEXT, &[0x80 | TWO_BYTES, 0, 125]), 1002),
        (
            "a length of 8 bytes for 65535",
            masked(BINARY, &[0x80 | EIGHT_BYTES, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            1002,
        ),
        ("a message over the limit", masked(BINARY, &[0x80 | TWO_BYTES, 0x03, 0xe9]), 1009),
        ("an impossible length", masked(TEXT, &[0x80 | EIGHT_BYTES, 0xff, 0, 0, 0, 0, 0, 0, 0]), 1009),
        (
            "fragments over the limit",
            [frame(BINARY_BEGIN, &[0; LIMIT]), frame(CONTINUE, b""), frame(CONTINUE, b"x")].concat(),
            1009,
        ),
        ("half a close code", frame(CLOSE, b"x"), 1002),
        ("a close code below all", frame(CLOSE, &999u16.to_be_bytes()), 1002),
        ("a close code that says there is none", frame(CLOSE, &1005u16.to_be_bytes()), 1002),
        ("a close code above all", frame(CLOSE, &5000u16.to_be_bytes()), 1002),
        ("a reason that is no text", frame(CLOSE, &[0x03, 0xe8, 0xc3, 0x28]), 1007),
        ("a text that is not UTF-8", frame(TEXT, b"\xc3\x28"), 1007),
        ("a text that ends within a character", frame(TEXT, b"\xe2\x82"), 1007),
        ("fragments of it", [frame(TEXT_BEGIN, b"\xe2"), frame(CONTINUE_LAST, b"\x82")].concat(), 1007),
    ];
    for (what, bad, code) in table {
        let sent = [frame(TEXT, b"good"), bad, frame(TEXT, b"more")].concat();
        for scratch in [1, 4_096] {
            let ((messages, end), answer) = exchange(&[&sent], scratch).await;
            assert_eq!((messages, answer), (vec![text("good")], close(code)), "{what}");
            assert!(matches!(end, End::Violated(said) if said.code() == code), "{what}");
        }
    }
}

#[tokio::test]
async fn a_text_that_goes_wrong_is_not_waited_for() {
    // The rest of the frame, and of the message, never comes.
    for bad in [&frame(TEXT, b"ab\xc0cdefgh")[..12], &frame(TEXT_BEGIN, b"ab\xed\xa0")] {
        let (mut client, server) = duplex(1 << 20);
        let mut server = Messages::new(server, Bytes::new(), LIMIT);
        client.write_all(bad).await.unwrap();
        let mut all = Vec::new();
        poll_fn(|cx| read(&mut server, cx, &mut [0; 64], &mut all)).await;
        assert_eq!((all, server.end()), (Vec::new(), Some(End::Violated(CloseCode::INVALID_DATA))));
    }
}

#[tokio::test]
async fn a_message_at_the_limit_is_taken_in_one_frame_or_in_many() {
    let full = vec![1; LIMIT];
    let (first, second) = full.split_at(LIMIT / 3);
    let sent = [
        frame(BINARY, &full),
        frame(BINARY_BEGIN, first),
        frame(PING, &[2; 125]),
        frame(CONTINUE, second),
        frame(CONTINUE_LAST, b""),
        frame(BINARY, &full),
    ];
    let ((messages, end), _) = exchange(&[&sent.concat()], 100).await;
    assert!(messages == vec![binary(&full); 3]);
    assert_eq!(end, End::Lost);
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
        assert_eq!(exchange(&[&sent], 64).await.1, answer, "{sent:x?}");
    }
}

#[tokio::test]
async fn a_turn_can_stop_between_two_messages() {
    let (mut client, server) = duplex(1 << 20);
    let mut server = Messages::new(server, Bytes::new(), LIMIT);
    let sent: Vec<Vec<u8>> = (0..20u8).map(|n| frame(BINARY, &vec![n; n.into()])).collect();
    client.write_all(&sent.concat()).await.unwrap();
    let mut scratch = [0; 64];
    for n in 0..20u8 {
        let one = poll_fn(|cx| {
            loop {
                let mut input = ready!(server.poll_read(cx, &mut scratch));
                let message = server.next_message(&mut input).map(|message| message.as_bytes().to_vec());
                server.keep(input);
                if let Some(message) = message {
                    return Poll::Ready(message);
                }
            }
        });
        assert_eq!(one.await, vec![n; n.into()]);
    }
}

#[tokio::test]
async fn every_ping_is_answered_until_the_answers_are_not_taken() {
    let pings: Vec<Vec<u8>> = (0..100u8).map(|n| frame(PING, &[n; 100])).collect();
    let pongs: Vec<Vec<u8>> = (0..10u8).map(|n| bare(PONG, &[n; 100])).collect();
    assert_eq!(exchange(&[&pings[..10].concat()], 4_096).await.1, [pongs.concat(), close(1000)].concat());

    let (client, server) = duplex(1 << 20);
    let (mut reader, mut writer) = tokio::io::split(client);
    let terms = Terms::default();
    let mut server = Messages::new(Choosy { stream: server, terms: terms.clone() }, Bytes::new(), LIMIT);
    let mut all = Vec::new();
    for _ in 0..1_000 {
        writer.write_all(&pings.concat()).await.unwrap();
        poll_fn(|cx| read(&mut server, cx, &mut vec![0; 1 << 16], &mut all)).await;
        assert!(server.unwritten() < 5_000);
        assert!(!server.takes_bytes());
    }
    // The last one is not forgotten.
    terms.room.set(usize::MAX);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    drop((server, writer));
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(&bare(PONG, &[99; 100])));
}

/// A stream that takes so many bytes, and counts writes.
struct Choosy<S> {
    stream: S,
    terms: Terms,
}

#[derive(Clone, Default)]
struct Terms {
    room: Rc<Cell<usize>>,
    writes: Rc<Cell<usize>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Choosy<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Choosy<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let Terms { room, writes } = &self.terms;
        let taken = data.len().min(room.get());
        if taken == 0 {
            return Poll::Pending;
        }
        writes.set(writes.get() + 1);
        room.set(room.get() - taken);
        Pin::new(&mut self.stream).poll_write(cx, &data[..taken])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn what_is_queued_in_a_turn_leaves_in_one_write() {
    let (mut client, server) = duplex(1 << 20);
    let terms = Terms::default();
    terms.room.set(usize::MAX);
    let mut server = Messages::new(Choosy { stream: server, terms: terms.clone() }, Bytes::new(), LIMIT);
    let (mut expected, mut lent) = (Vec::new(), Vec::with_capacity(1 << 19));
    let place = lent.as_ptr();
    server.lend(&mut lent);
    for length in [1, 125, 126, 200, 65_535, 65_536, 100_000] {
        let payload = vec![b'x'; length];
        let (first, second) = payload.split_at(length / 2);
        server.queue(Kind::Text, &[first, b"", second]);
        server.queue_with(Kind::Binary, |out| out.extend_from_slice(&payload));
        server.queue_with(Kind::Binary, |_| {});
        expected.extend([bare(TEXT, &payload), bare(BINARY, &payload)].concat());
    }
    server.queue(Kind::Text, &[]);
    server.queue_ping(b"still there?");
    expected.extend([bare(TEXT, b""), bare(PING, b"still there?")].concat());
    assert_eq!(server.unwritten(), expected.len());
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    server.give_back(&mut lent);
    assert_eq!((terms.writes.get(), server.unwritten()), (1, 0));
    // It was written from where it was gathered, in memory that is free again.
    assert_eq!((lent.as_ptr(), lent.len()), (place, 0));
    let mut heard = vec![0; expected.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert!(heard == expected);
}

#[tokio::test]
async fn what_the_client_does_not_take_stays_and_the_loan_goes_back() {
    let (mut client, server) = duplex(1 << 20);
    let terms = Terms::default();
    let mut server = Messages::new(Choosy { stream: server, terms: terms.clone() }, Bytes::new(), LIMIT);
    let (mut expected, mut lent) = (Vec::new(), Vec::with_capacity(1 << 10));
    let place = lent.as_ptr();
    for turn in 0..50u8 {
        terms.room.set(turn.into());
        server.lend(&mut lent);
        server.queue(Kind::Binary, &[&[turn; 30]]);
        expected.extend(bare(BINARY, &[turn; 30]));
        let before = server.unwritten();
        let flushed = poll_fn(|cx| Poll::Ready(server.poll_flush(cx))).await;
        assert_eq!(server.unwritten(), before.saturating_sub(turn.into()));
        assert_eq!(
            (flushed.is_ready(), server.takes_bytes()),
            (before <= turn.into(), before <= turn.into())
        );
        server.give_back(&mut lent);
        assert_eq!((lent.as_ptr(), lent.len()), (place, 0));
    }
    terms.room.set(usize::MAX);
    poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
    drop(server);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(heard == expected);
}

#[tokio::test]
async fn the_servers_close_frame_is_its_last_word_and_waits_for_an_answer() {
    let long = format!("x{}", "ä".repeat(100));
    for (reason, said) in [("enough", "enough"), ("", ""), (&long, &long[..123])] {
        let (mut client, server) = duplex(1 << 20);
        let mut server = Messages::new(server, Bytes::new(), LIMIT);
        server.queue(Kind::Text, &[b"last words"]);
        server.queue_close(CloseCode::application(4_000).unwrap(), reason);
        server.queue(Kind::Text, &[b"too late"]);
        server.queue_with(Kind::Text, |out| out.extend_from_slice(b"too late"));
        server.queue_ping(b"too late");
        server.queue_close(CloseCode::NORMAL, "too late");
        // What comes before the answer is too late to matter, and pings are not answered any more.
        client.write_all(&[frame(BINARY, b"late"), frame(PING, b"late")].concat()).await.unwrap();
        let closing = async { poll_fn(|cx| server.poll_close(cx)).await.unwrap() };
        let ((), ()) = tokio::join!(closing, async {
            let farewell = [&4_000u16.to_be_bytes(), said.as_bytes()].concat();
            let expected = [bare(TEXT, b"last words"), bare(CLOSE, &farewell)].concat();
            let mut heard = vec![0; expected.len()];
            client.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, expected);
            client.write_all(&frame(CLOSE, &4_000u16.to_be_bytes())).await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"");
        });
    }
}

#[test]
fn applications_have_codes_of_their_own() {
    for (code, is_theirs) in [(1000, false), (2999, false), (3000, true), (4999, true), (5000, false)] {
        assert_eq!(CloseCode::application(code).is_some(), is_theirs, "{code}");
    }
}

#[tokio::test]
async fn what_still_comes_from_a_violator_is_taken_so_that_it_can_read_why() {
    let (mut client, server) = duplex(64);
    let sending = async move {
        client.write_all(&bare(TEXT, b"x")).await.unwrap();
        // More than there is room for on the way: somebody takes it.
        client.write_all(&[0; 10_000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (_, answer) = tokio::join!(take_all(Messages::new(server, Bytes::new(), LIMIT), 64), sending);
    assert_eq!(answer, close(1002));
}

#[tokio::test]
async fn a_client_of_somebody_elses_hears_its_own_echo() {
    let (client, server) = duplex(10_000);
    let script = async move {
        let mut client = ClientBuilder::new().take_over(client);
        for length in [0, 1, 125, 126, 999, LIMIT, 65_535, 65_536, 200_000] {
            let sent: String = ('a'..='ÿ').cycle().take(length).collect();
            let (mut writer, mut reader) = (&mut client).split();
            let sending = async {
                writer.send(TheirMessage::ping("how are you")).await.unwrap();
                writer.send(TheirMessage::text(sent.clone())).await.unwrap();
                writer.send(TheirMessage::binary(sent.clone().into_bytes())).await.unwrap();
            };
            let hearing = async {
                assert!(reader.next().await.unwrap().unwrap().is_pong());
                assert!(reader.next().await.unwrap().unwrap().as_text() == Some(&sent));
                let binary = reader.next().await.unwrap().unwrap();
                assert!(binary.is_binary() && binary.as_payload()[..] == *sent.as_bytes());
            };
            tokio::join!(sending, hearing);
        }
        client
            .send(TheirMessage::close(Some(tokio_websockets::CloseCode::NORMAL_CLOSURE), "enough"))
            .await
            .unwrap();
        let end = client.next().await.unwrap().unwrap();
        assert_eq!(end.as_close().unwrap().0, tokio_websockets::CloseCode::NORMAL_CLOSURE);
        assert!(client.next().await.is_none());
    };
    tokio::join!(echo(server), script);
}

/// Sends back what comes.
async fn echo(stream: DuplexStream) {
    let mut messages = Messages::new(stream, Bytes::new(), 1 << 20);
    let mut scratch = vec![0; 5_000];
    while messages.end().is_none() {
        poll_fn(|cx| {
            let _ = messages.poll_flush(cx)?;
            let mut input = ready!(messages.poll_read(cx, &mut scratch));
            while let Some(message) = messages.next_message(&mut input) {
                messages.queue(message.kind(), &[message.as_bytes()]);
            }
            Poll::Ready(io::Result::Ok(()))
        })
        .await
        .unwrap();
    }
    poll_fn(|cx| messages.poll_close(cx)).await.unwrap();
}

/// A frame that is right in most of its parts.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just(TEXT), 3 => Just(TEXT_BEGIN), 3 => Just(BINARY), 3 => Just(BINARY_BEGIN), 4 => Just(CONTINUE),
        4 => Just(CONTINUE_LAST), 2 => Just(PING), 1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        "[a-zäßœ😀]{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..LIMIT / 2),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    #[test]
    fn how_bytes_are_cut_makes_no_difference(
        frames in proptest::collection::vec(likely(), 0..10),
        garbage in proptest::collection::vec(any::<u8>(), 0..40),
        lengths in proptest::collection::vec(0..60_usize, 0..60),
        scratch in 1..600_usize,
    ) {
        let bytes = [frames.concat(), garbage].concat();
        let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
        for length in lengths {
            let (piece, later) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = later;
        }
        pieces.push(rest);
        prop_assert_eq!(exchange_now(&pieces, scratch), exchange_now(&[&bytes], 1 << 16));
    }
}
