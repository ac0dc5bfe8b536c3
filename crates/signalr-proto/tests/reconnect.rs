//! Stateful reconnect: the rules one by one, and a model of two sides whose connection is cut again and again.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use bytes::Bytes;
use dovetail_signalr_proto::{
    Decoder, Inbox, Message, Outbox, Outcome, Protocol, SequenceError, Value, encode,
};
use proptest::prelude::*;

fn item(number: u64) -> Message {
    Message::StreamItem { id: "1".into(), item: Value::new(&number.to_string()).unwrap() }
}

fn cancel() -> Message {
    Message::CancelInvocation { id: "1".into() }
}

fn replay(outbox: &Outbox) -> (u64, Vec<Bytes>) {
    let (first, messages) = outbox.replay();
    (first, messages.cloned().collect())
}

#[test]
fn five_types_are_numbered() {
    let numbered = [
        Message::Invocation { id: None, target: "x".into(), arguments: Vec::new(), streams: Vec::new() },
        Message::StreamInvocation {
            id: "1".into(),
            target: "x".into(),
            arguments: Vec::new(),
            streams: Vec::new(),
        },
        item(1),
        Message::Completion { id: "1".into(), result: Outcome::Void },
        cancel(),
    ];
    let mut inbox = Inbox::new();
    for (index, message) in numbered.iter().enumerate() {
        assert!(message.is_sequenced());
        assert!(inbox.accepts(message));
        assert_eq!(inbox.ack_due(), Some(index as u64 + 1));
    }
    let others = [
        Message::Ping,
        Message::Close { error: None, allow_reconnect: false },
        Message::Ack { sequence: 1 },
        Message::Sequence { sequence: 1 },
    ];
    for message in others {
        assert!(!message.is_sequenced());
        assert!(inbox.accepts(&message));
        assert_eq!(inbox.ack_due(), None);
    }
}

#[test]
fn an_outbox_keeps_what_is_not_acknowledged() {
    let mut outbox = Outbox::new(10);
    assert_eq!(replay(&outbox), (1, vec![]));
    for text in ["one", "two", "three"] {
        assert!(!outbox.is_full());
        outbox.push(text);
    }
    assert!(outbox.is_full());
    assert_eq!(
        (outbox.bytes(), replay(&outbox)),
        (11, (1, vec!["one".into(), "two".into(), "three".into()]))
    );
    outbox.acked(2).unwrap();
    assert!(!outbox.is_full());
    assert_eq!(replay(&outbox), (3, vec!["three".into()]));
    // Late and repeated ones change nothing.
    outbox.acked(1).unwrap();
    outbox.acked(0).unwrap();
    outbox.acked(2).unwrap();
    assert_eq!(replay(&outbox), (3, vec!["three".into()]));
    assert_eq!(outbox.acked(4), Err(SequenceError::AckAhead { acked: 4, sent: 3 }));
    outbox.acked(3).unwrap();
    // With nothing to send again, what is said is the number of the next message.
    assert_eq!((outbox.bytes(), replay(&outbox)), (0, (4, vec![])));
}

#[test]
fn after_a_reconnect_nothing_counts_before_the_sequence() {
    let mut inbox = Inbox::new();
    assert!(inbox.accepts(&item(1)) && inbox.accepts(&item(2)));
    assert_eq!(inbox.ack_due(), Some(2));
    assert_eq!(inbox.ack_due(), None);
    inbox.reconnected();
    assert!(
        !inbox.accepts(&item(3))
            && !inbox.accepts(&Message::Ping)
            && !inbox.accepts(&Message::Ack { sequence: 1 })
    );
    assert_eq!(inbox.ack_due(), None);
    assert!(inbox.accepts(&Message::Sequence { sequence: 2 }));
    assert!(!inbox.accepts(&item(2)), "it is still to be told where the peer goes on");
    inbox.on_sequence(2).unwrap();
    // The peer may not have seen the acknowledgement, so it is made again.
    assert_eq!(inbox.ack_due(), Some(2));
    assert!(!inbox.accepts(&item(2)));
    assert_eq!(inbox.ack_due(), None);
    assert!(inbox.accepts(&item(3)));
    assert_eq!(inbox.ack_due(), Some(3));
}

#[test]
fn gaps_are_errors() {
    let mut inbox = Inbox::new();
    assert_eq!(inbox.on_sequence(0), Err(SequenceError::Zero));
    assert_eq!(inbox.on_sequence(2), Err(SequenceError::Gap { begins: 2, received: 0 }));
    inbox.on_sequence(1).unwrap();
    assert!(inbox.accepts(&item(1)) && inbox.accepts(&item(2)));
    inbox.reconnected();
    assert_eq!(inbox.on_sequence(4), Err(SequenceError::Gap { begins: 4, received: 2 }));
    inbox.on_sequence(1).unwrap();
    // The connection is cut again in the middle of what is sent again: the count does not go back.
    assert!(!inbox.accepts(&item(1)));
    inbox.reconnected();
    inbox.on_sequence(3).unwrap();
    assert!(inbox.accepts(&item(3)));
}

/// One side of a conversation: it sends numbers and expects those of the other side.
struct Side {
    outbox: Outbox,
    inbox: Inbox,
    decoder: Decoder,
    sent: u64,
    received: Vec<u64>,
    /// Bytes on their way to the other side.
    wire: Vec<u8>,
}

const PROTOCOL: Protocol = Protocol::MessagePack;
const FULL: usize = 60;

impl Side {
    fn new() -> Self {
        Self {
            outbox: Outbox::new(FULL),
            inbox: Inbox::new(),
            decoder: Decoder::new(PROTOCOL, 1000),
            sent: 0,
            received: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn send(&mut self) {
        if self.outbox.is_full() {
            return;
        }
        self.sent += 1;
        let mut framed = Vec::new();
        encode::message(PROTOCOL, &mut framed, &item(self.sent));
        self.wire.extend_from_slice(&framed);
        self.outbox.push(framed);
        encode::ping(PROTOCOL, &mut self.wire);
    }

    fn acknowledge(&mut self) {
        if let Some(sequence) = self.inbox.ack_due() {
            encode::ack(PROTOCOL, &mut self.wire, sequence);
        }
    }

    fn reconnect(&mut self) {
        self.wire.clear();
        self.decoder = Decoder::new(PROTOCOL, 1000);
        self.inbox.reconnected();
        let (first, messages) = self.outbox.replay();
        encode::sequence(PROTOCOL, &mut self.wire, first);
        for message in messages {
            self.wire.extend_from_slice(message);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        while let Some(message) = self.decoder.next().unwrap() {
            if !self.inbox.accepts(&message) {
                continue;
            }
            match message {
                Message::StreamItem { item, .. } => self.received.push(item.as_str().parse().unwrap()),
                Message::Ack { sequence } => self.outbox.acked(sequence).unwrap(),
                Message::Sequence { sequence } => self.inbox.on_sequence(sequence).unwrap(),
                Message::Ping => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Acknowledge(usize),
    /// This many bytes on their way to this side arrive.
    Arrive(usize, usize),
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2_usize).prop_map(Step::Send),
        2 => (0..2_usize).prop_map(Step::Acknowledge),
        4 => (0..2_usize, 1..80_usize).prop_map(|(side, bytes)| Step::Arrive(side, bytes)),
        1 => Just(Step::Cut),
    ];
    prop::collection::vec(step, 0..200)
}

fn arrive(sides: &mut [Side; 2], to: usize, bytes: usize) {
    let wire = &mut sides[1 - to].wire;
    let bytes: Vec<u8> = wire.drain(..bytes.min(wire.len())).collect();
    sides[to].receive(&bytes);
}

proptest! {
    #[test]
    fn each_message_is_seen_once_and_in_order(steps in steps()) {
        let mut sides = [Side::new(), Side::new()];
        for step in steps {
            match step {
                Step::Send(side) => sides[side].send(),
                Step::Acknowledge(side) => sides[side].acknowledge(),
                Step::Arrive(side, bytes) => arrive(&mut sides, side, bytes),
                Step::Cut => sides.iter_mut().for_each(Side::reconnect),
            }
            for side in &sides {
                prop_assert!(side.outbox.bytes() < FULL + 20);
            }
        }
        // In the end everything arrives, and everything is acknowledged.
        sides.iter_mut().for_each(Side::reconnect);
        for _ in 0..2 {
            for side in 0..2 {
                sides[side].acknowledge();
                arrive(&mut sides, 1 - side, usize::MAX);
            }
        }
        for (side, other) in [(0, 1), (1, 0)] {
            let expected: Vec<u64> = (1..=sides[other].sent).collect();
            prop_assert_eq!(&sides[side].received, &expected);
            prop_assert_eq!(sides[side].outbox.bytes(), 0);
        }
    }
}
