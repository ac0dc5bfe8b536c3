//! Clients that misbehave before they said who they are: each is closed in its time, the server's memory stays where it
//! was, and a good client notices nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use dovetail_tests::http::Http;
use dovetail_tests::mqtt::{Connect, Mqtt, Publish, Version};
use dovetail_tests::server::{Server, Setup};

/// Connections of each kind that are open at once.
const CROWD: usize = 40;
/// The longest deadline of who has not asked for anything (headers, 10 s), with room for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);
/// The deadline of a body of this length (30 s, and one more for each 64 KiB), with the same room.
const BODY_WITHIN: Duration = Duration::from_secs(37);
/// Between two bytes of a client that is slow on purpose.
const DRIP: Duration = Duration::from_millis(500);
/// What a crowd may cost, in KiB: the memory of a connection that has said nothing, many times over.
const MEMORY_KIB: u64 = 32 * 1024;
/// A good client's write takes milliseconds; this is far beyond any noise.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// The start of a WebSocket.
const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mqtt\r\n\r\n";
/// The same, and the header of a frame of 1,000 bytes.
const FRAME: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: mqtt\r\n\r\n\
    \x82\xfe\x03\xe8\0\0\0\0";

/// Sends the first part at once and then, a byte at a time, the second over and over.
struct Abuse {
    name: &'static str,
    first: &'static [u8],
    drip: &'static [u8],
    within: Duration,
}

fn abuses() -> Vec<Abuse> {
    let abuse = |name, first, drip| Abuse { name, first, drip, within: CLOSED_WITHIN };
    vec![
        abuse("says nothing", b"", b""),
        abuse("one byte of HTTP, then silence", b"G", b""),
        abuse("headers that never end", b"GET / HTTP/1.1\r\nhost: a\r\n", b"x-a: b\r\n"),
        abuse("a header line that never ends", b"GET / HTTP/1.1\r\nx: ", b"a"),
        abuse("a request line that never ends", b"GET /", b"a"),
        abuse("one byte of CONNECT, then silence", b"\x10", b""),
        abuse("a CONNECT that never ends", b"\x10\x7f\x00\x04MQTT\x04\x02\x00\x3c\x00\x60", b"a"),
        abuse("a handshake that never ends", HANDSHAKE.strip_suffix(b"\r\n").unwrap(), b"x-a: b\r\n"),
        abuse("a WebSocket that says nothing", HANDSHAKE, b""),
        abuse("a WebSocket that only pings", HANDSHAKE, b"\x89\x80\0\0\0\0"),
        // The header is told from the handshake by nothing, so it may come with it.
        abuse("a frame that never ends", FRAME, b"\x10"),
        abuse("TLS that never ends", b"\x16\x03\x01", b"\x00"),
        Abuse {
            name: "a body that never ends",
            first: b"PUT /never HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n",
            drip: b"a",
            within: BODY_WITHIN,
        },
    ]
}

#[test]
fn slow_and_silent_clients_are_closed_in_time_and_disturb_nobody() {
    let mut server = Setup::new().start();
    server.expect_in_log("");
    let (address, memory) = (server.address(), server.memory_kib());
    let mut good = Good::connect(address);
    let abuses = abuses();
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::sync_channel(abuses.len() * CROWD);
        for abuse in &abuses {
            for _ in 0..CROWD {
                let done = done.clone();
                scope.spawn(move || done.send((abuse, lives_for(address, abuse))));
            }
        }
        drop(done);
        loop {
            good.writes(&server);
            match ended.recv_timeout(Duration::from_millis(50)) {
                Ok((abuse, lived)) => assert!(lived < abuse.within, "{}: open for {lived:?}", abuse.name),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    let grown = server.memory_kib().saturating_sub(memory);
    assert!(grown < MEMORY_KIB, "grown by {grown} KiB");
    assert_eq!(Http::connect(address).unwrap().get("/never").unwrap().status, 404);
}

/// The time after which the server closes the connection.
fn lives_for(address: SocketAddr, abuse: &Abuse) -> Duration {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(abuse.first).unwrap();
    stream.set_read_timeout(Some(DRIP)).unwrap();
    let mut drip = abuse.drip.iter().cycle();
    let mut answer = [0; 1024];
    while started.elapsed() < 2 * abuse.within {
        match stream.read(&mut answer) {
            Ok(0) => break,
            // A refusal, before it is closed.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let sent = drip.next().map_or(Ok(()), |byte| stream.write_all(&[*byte]));
                if sent.is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    started.elapsed()
}

#[test]
fn lengths_that_nobody_may_claim_are_refused_before_they_are_believed() {
    let mut server = Setup::new().start();
    server.expect_in_log("");
    let memory = server.memory_kib();
    // A CONNECT of 256 MiB, a PUBLISH of 256 MiB instead of a CONNECT, a length that is none.
    let claims: [&[u8]; 3] =
        [b"\x10\xff\xff\xff\x7f\x00\x04MQTT", b"\x30\xff\xff\xff\x7f\x00\x01a", b"\x10\xff\xff\xff\xff\x01"];
    for claim in claims {
        let crowd: Vec<TcpStream> = (0..CROWD)
            .map(|_| {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                stream.write_all(claim).unwrap();
                stream
            })
            .collect();
        for mut stream in crowd {
            stream.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
            // Closed at once, with or without a word; a reset is as good.
            match stream.read_to_end(&mut Vec::new()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{claim:02x?}"),
            }
        }
    }
    let grown = server.memory_kib().saturating_sub(memory);
    assert!(grown < MEMORY_KIB, "grown by {grown} KiB");
}

#[test]
fn too_much_is_refused_with_a_word_for_it() {
    let mut server = Setup::new().start();
    server.expect_in_log("");
    let address = server.address();
    let status = |method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>| {
        Http::connect(address).unwrap().request(method, target, headers, body).unwrap().status
    };
    let levels = |count: usize| format!("/{}", vec!["l"; count].join("/"));
    assert_eq!(status("PUT", &levels(200), &[], Some(b"x")), 201, "200 levels are allowed");
    assert_eq!(status("PUT", &levels(201), &[], Some(b"x")), 400);
    assert_eq!(
        status("PUT", &format!("/{}", "a".repeat(4096)), &[], Some(b"x")),
        201,
        "4,096 bytes are allowed"
    );
    assert!(matches!(status("PUT", &format!("/{}", "a".repeat(4097)), &[], Some(b"x")), 400 | 414));
    assert_eq!(status("PUT", "/big", &[], Some(&vec![b'x'; 1 << 20])), 201, "1 MiB is allowed");
    let claim = Http::connect(address).unwrap();
    let mut socket = claim.socket().try_clone().unwrap();
    socket.write_all(b"PUT /big HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let many = "x".repeat(40 * 1024);
    assert_eq!(status("GET", "/", &[("x-long", &many)], None), 431);
    for bad in ["/a/%2F", "/a/../b", "/a/%00", "/a/%ff", "/-/nothing", "/a/+", "/a/%23"] {
        let refused = status("PUT", bad, &[], Some(b"x"));
        assert!((400..500).contains(&refused), "PUT {bad}: {refused}");
    }
    assert_eq!(status("PUT", "/empty", &[], Some(b"")), 422);

    let mut mqtt = Mqtt::connect(address, &Connect::new(Version::V5)).unwrap();
    let deep = levels(201);
    assert_eq!(mqtt.publish(&Publish::put(&deep[1..], b"x", 1)).unwrap().reason, 0x90);
    assert_eq!(mqtt.publish(&Publish::put("fine", b"x", 1)).unwrap().reason, 0, "and the connection goes on");
}

/// A client that has done nothing wrong.
struct Good {
    http: Http,
    mqtt: Mqtt,
    count: u64,
}

impl Good {
    fn connect(address: SocketAddr) -> Self {
        let http = Http::connect(address).unwrap();
        let mqtt = Mqtt::connect(address, &Connect::new(Version::V5)).unwrap();
        Self { http, mqtt, count: 0 }
    }

    fn writes(&mut self, server: &Server) {
        self.count += 1;
        let value = self.count.to_string();
        let started = Instant::now();
        assert!(self.http.put("/good/http", &value).unwrap().status < 300);
        assert_eq!(self.mqtt.publish(&Publish::put("good/mqtt", value.as_bytes(), 1)).unwrap().reason, 0);
        let took = started.elapsed();
        assert!(took < UNDISTURBED, "two writes took {took:?}; the server has {} KiB", server.memory_kib());
    }
}
