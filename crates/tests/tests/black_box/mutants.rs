//! Valid sessions of clients, recorded and then damaged in every way: the server stays up, takes no notice beyond closing
//! the connection, and a good client is not disturbed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use dovetail_tests::mqtt::{Connect, Mqtt, Publish, Value, Version, pair};
use dovetail_tests::proxy::Proxy;
use dovetail_tests::random::Random;
use dovetail_tests::server::Setup;

use crate::environment::Length;

/// Damaged clients at work at once.
const CLIENTS: usize = 4;
/// Damaged sessions of one client in a round.
const SESSIONS: u64 = 400;
/// A client that has closed its side is closed in this time.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// A good client's round trip takes milliseconds; this is far beyond any noise.
const UNDISTURBED: Duration = Duration::from_secs(2);
/// What the damaged sessions of a round may leave: resources with odd names, sessions that have not expired.
const MEMORY_KIB: u64 = 128 * 1024;

#[test]
fn sessions_may_come_in_any_two_pieces() {
    let server = Setup::new().start();
    let address = server.address();
    std::thread::scope(|scope| {
        for session in record(address).into_iter().filter(|session| session.is_clean) {
            scope.spawn(move || at_every_byte(address, &session));
        }
    });
}

#[test]
fn damaged_sessions_harm_nobody_but_themselves() {
    let mut random = Random::from_environment();
    let mut packets = Length::of("DOVETAIL_MUTANT_PACKETS", 20_000);
    let mut sent = 0;
    while packets.goes_on_after(sent) {
        sent += round(&mut random);
    }
    packets.report("damaged packets");
}

/// Damaged sessions against a server of their own, since what they leave there costs those that come later. Says how many
/// packets they were.
fn round(random: &mut Random) -> u64 {
    let server = Setup::new().start();
    let address = server.address();
    let recorded = record(address);
    let memory = server.memory_kib();
    let is_over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let good = scope.spawn(|| be_good(address, &is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (mut random, recorded) = (random.fork(), &recorded);
                scope.spawn(move || {
                    let mut sent = 0;
                    for _ in 0..SESSIONS {
                        let session = &recorded[random.below(recorded.len() as u64) as usize];
                        let damaged = session.damaged(&mut random);
                        play(address, &damaged, &mut random);
                        sent += session.packets.len() as u64;
                    }
                    sent
                })
            })
            .collect();
        // The good client ends whatever became of the others.
        let sent: Vec<_> = clients.into_iter().map(ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(good.join().unwrap() > 0, "the good client did nothing");
        sent.into_iter().map(Result::unwrap).sum::<u64>()
    });
    let grown = server.memory_kib().saturating_sub(memory);
    assert!(grown < MEMORY_KIB, "grown by {grown} KiB");
    sent
}

/// What one client sent, packet by packet.
struct Session {
    packets: Vec<Vec<u8>>,
    /// Whether nothing of it outlives its connection: no session, no will.
    is_clean: bool,
}

/// Records sessions that use all that clients send, with both versions.
fn record(address: SocketAddr) -> Vec<Session> {
    [Version::V311, Version::V5]
        .into_iter()
        .flat_map(|version| [false, true].map(|is_clean| session(address, version, is_clean)))
        .collect()
}

fn session(address: SocketAddr, version: Version, is_clean: bool) -> Session {
    let proxy = Proxy::start(address);
    let name = format!("mutant-{version:?}-{is_clean}");
    let mut connect =
        if is_clean { Connect::new(version).named(&name) } else { Connect::persistent(version, &name) };
    if !is_clean {
        connect.will = Some(("mutant/will".to_owned(), b"gone".to_vec(), 1, false));
        connect.will_delay = (version == Version::V5).then_some(1);
    }
    let mut client = Mqtt::connect(proxy.address(), &connect).unwrap();
    // What a clean one acknowledges would depend on what others do meanwhile: it could not be played again.
    let [most, more] = if is_clean { [0, 0] } else { [2, 1] };
    client.subscribe(&[("mutant/+/a", most), ("mutant/#", more)], &[]).unwrap();
    for (qos, retain) in [(0, false), (1, true), (2, false), (2, true)] {
        let topic = format!("mutant/{qos}/a");
        let mut message = Publish { retain, ..Publish::put(&topic, b"{\"value\":21.5}", qos) };
        if version == Version::V5 {
            message.properties = vec![
                pair("idempotency-key", &format!("{name}-{qos}-{retain}")),
                pair("unit", "C"),
                (0x01, Value::Number(1)),
                (0x02, Value::Number(60)),
                (0x03, Value::Text("application/json".to_owned())),
                (0x08, Value::Text("mutant/answer".to_owned())),
                (0x09, Value::Bytes(vec![1, 2, 3])),
            ];
        }
        assert_eq!(client.publish(&message).unwrap().reason, 0);
    }
    if version == Version::V5 {
        client.subscribe(&[("mutant/tracked/#", more)], &[pair("since", "now")]).unwrap();
    }
    client.unsubscribe(&["mutant/+/a"]).unwrap();
    client.ping().unwrap();
    client.disconnect().unwrap();
    let deadline = Instant::now() + CLOSED_WITHIN;
    loop {
        let packets = split(&proxy.recorded());
        if packets.last().is_some_and(|last| last[0] == 0xe0) {
            return Session { packets, is_clean };
        }
        assert!(Instant::now() < deadline, "the session is not recorded to its end");
        std::thread::yield_now();
    }
}

fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while bytes.len() > 1 {
        let (length, head) = remaining_length(bytes);
        let (packet, rest) = bytes.split_at((head + length).min(bytes.len()));
        packets.push(packet.to_vec());
        bytes = rest;
    }
    packets
}

/// The remaining length of the first packet, and how many bytes stand before what it counts.
fn remaining_length(bytes: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (index, &byte) in bytes[1..].iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (length, index + 2);
        }
    }
    (0, bytes.len())
}

/// Cut into two writes at each byte, a session is as valid as in one.
fn at_every_byte(address: SocketAddr, session: &Session) {
    let bytes = session.packets.concat();
    let connect = session.packets[0].len();
    for cut in 1..bytes.len() {
        let mut stream = open(address);
        stream.write_all(&bytes[..cut]).unwrap();
        if cut < connect {
            // Lets the server see the part alone.
            std::thread::yield_now();
        }
        stream.write_all(&bytes[cut..]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(answer[0], 0x20, "cut at {cut}: {answer:02x?}");
        let pongs = split(&answer).iter().filter(|packet| packet[0] == 0xd0).count();
        assert_eq!(pongs, 1, "cut at {cut}: the session was not served to its end: {answer:02x?}");
    }
}

impl Session {
    /// The session with one to three faults.
    fn damaged(&self, random: &mut Random) -> Vec<u8> {
        let mut packets = self.packets.clone();
        for _ in 0..=random.below(3) {
            // CONNECT is damaged less often than its share: what comes after it would not be looked at.
            let least = u64::from(random.below(8) > 0).min(packets.len() as u64 - 1);
            let at = (least + random.below(packets.len() as u64 - least)) as usize;
            match random.below(7) {
                0..=2 => flip(&mut packets[at], random),
                3 => delete_field(&mut packets[at], random),
                4 => {
                    let copy = packets[at].clone();
                    packets.insert(at, copy);
                }
                5 => {
                    let other = random.below(packets.len() as u64) as usize;
                    packets.swap(at, other);
                }
                _ => {
                    let cut = random.below(packets[at].len() as u64) as usize;
                    packets[at].truncate(cut.max(1));
                }
            }
        }
        packets.concat()
    }
}

/// Flips one to four bits.
fn flip(packet: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let bit = random.below(packet.len() as u64 * 8) as usize;
        packet[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Leaves out some bytes of the body; mostly the length says so, so that the packet is read to its end.
fn delete_field(packet: &mut Vec<u8>, random: &mut Random) {
    let (length, head) = remaining_length(packet);
    if length == 0 || head + length > packet.len() {
        return;
    }
    let count = 1 + random.below(length.min(12) as u64) as usize;
    let at = head + random.below((length - count) as u64 + 1) as usize;
    packet.drain(at..at + count);
    let shorter = length - count;
    if head == 2 && random.below(4) > 0 {
        packet[1] = shorter as u8;
    }
}

/// Sends the bytes, in one piece or several, and sees to it that the server closes in time.
fn play(address: SocketAddr, bytes: &[u8], random: &mut Random) {
    let mut stream = open(address);
    let pieces = if random.below(4) == 0 { 7 } else { bytes.len().max(1) };
    for piece in bytes.chunks(pieces) {
        if stream.write_all(piece).is_err() {
            // Closed already.
            return;
        }
    }
    // A reset tells the same.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = [0; 4096];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("not closed: {error}: {bytes:02x?}"),
        }
    }
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    stream
}

/// A client that has done nothing wrong: each of its messages comes back, in time. Says how many did.
fn be_good(address: SocketAddr, is_over: &AtomicBool) -> u64 {
    let mut client = Mqtt::connect(address, &Connect::new(Version::V5)).unwrap();
    assert_eq!(client.subscribe(&[("good/#", 1)], &[]).unwrap(), [1]);
    let mut count = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        count += 1;
        let started = Instant::now();
        let message = Publish { retain: false, ..Publish::put("good/news", count.to_string().as_bytes(), 1) };
        assert_eq!(client.publish(&message).unwrap().reason, 0);
        let back = client.receive().unwrap();
        assert_eq!((back.topic.as_str(), &back.payload), ("good/news", &message.payload));
        let took = started.elapsed();
        assert!(took < UNDISTURBED, "a round trip took {took:?}");
        // tidy: allow(sleep) only how often it looks
        std::thread::sleep(Duration::from_millis(5));
    }
    count
}
