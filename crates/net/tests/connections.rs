//! Listeners and shards over real sockets on the loopback interface.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use dovetail_net::{
    Connection, Counters, Drain, Draining, Listener, LocalService, Options, Protocol, Shards,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Echoes one byte for each byte, on the shard it was made on; panics on `!`.
struct Echo {
    made_on: ThreadId,
    seen: Arc<Mutex<Vec<(Protocol, ThreadId)>>>,
    draining: Draining,
}

impl LocalService for Echo {
    fn serve(&self, mut connection: Connection) -> impl Future<Output = ()> + Unpin + use<> {
        let thread = std::thread::current().id();
        assert_eq!(thread, self.made_on);
        assert!(connection.stream.nodelay().unwrap(), "accepted sockets inherit TCP_NODELAY");
        self.seen.lock().unwrap().push((connection.protocol, thread));
        let draining = self.draining.clone();
        Box::pin(async move {
            let mut byte = [0u8; 1];
            loop {
                tokio::select! {
                    read = connection.stream.read(&mut byte) => match read {
                        Ok(1..) => {
                            assert_ne!(byte[0], b'!');
                            connection.stream.write_all(&byte).await.unwrap();
                        }
                        _ => return,
                    },
                    () = draining.begun() => return,
                }
            }
        })
    }
}

struct Bench {
    address: SocketAddr,
    drain: Drain,
    shards: Shards,
    acceptor: JoinHandle<std::io::Result<()>>,
    counters: Arc<Counters>,
    seen: Arc<Mutex<Vec<(Protocol, ThreadId)>>>,
}

fn start(count: usize, options: Options) -> Bench {
    let drain = Drain::new();
    let counters = Arc::new(Counters::default());
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let (noted, draining) = (Arc::clone(&seen), drain.draining());
    let count = NonZeroUsize::new(count).unwrap();
    let shards = Shards::start(count, options, drain.draining(), Arc::clone(&counters), move |_| Echo {
        made_on: std::thread::current().id(),
        seen: Arc::clone(&noted),
        draining: draining.clone(),
    })
    .unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let acceptor = tokio::spawn(dovetail_net::accept(listener, shards.dispatcher(), drain.draining()));
    Bench { address, drain, shards, acceptor, counters, seen }
}

async fn echoed(stream: &mut TcpStream, byte: u8) -> bool {
    let mut back = [0u8; 1];
    stream.write_all(&[byte]).await.is_ok()
        && matches!(stream.read(&mut back).await, Ok(1))
        && back[0] == byte
}

#[tokio::test]
async fn connections_are_told_apart_spread_over_the_shards_and_drained() {
    let bench = start(2, Options::default());
    let mut streams = Vec::new();
    for first in [b'G', 0x10, b'P', 0x10] {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        assert!(echoed(&mut stream, first).await);
        streams.push(stream);
    }
    let seen = bench.seen.lock().unwrap().clone();
    let protocols: Vec<_> = seen.iter().map(|(protocol, _)| *protocol).collect();
    assert_eq!(protocols, [Protocol::Http, Protocol::Mqtt, Protocol::Http, Protocol::Mqtt]);
    assert_eq!(seen.iter().map(|(_, thread)| *thread).collect::<HashSet<_>>().len(), 2);
    assert_eq!((bench.counters.read().open, bench.counters.read().accepted), (4, 4));

    bench.drain.begin();
    bench.drain.done().await;
    bench.acceptor.await.unwrap().unwrap();
    bench.shards.stop(Duration::from_secs(5)).await;
    assert_eq!(bench.counters.read().open, 0);
    assert_eq!(streams[0].read(&mut [0u8; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let bench = start(1, Options::default());
    let mut good = TcpStream::connect(bench.address).await.unwrap();
    assert!(echoed(&mut good, b'a').await);
    let mut bad = TcpStream::connect(bench.address).await.unwrap();
    assert!(echoed(&mut bad, b'b').await);
    assert!(!echoed(&mut bad, b'!').await);
    assert!(echoed(&mut good, b'c').await);
    assert_eq!(bench.counters.read().panics, 1);
}

#[tokio::test]
async fn tls_is_refused_with_an_alert_and_noise_is_closed() {
    let bench = start(1, Options::default());
    let mut tls = TcpStream::connect(bench.address).await.unwrap();
    tls.write_all(&[0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5]).await.unwrap();
    let mut alert = [0u8; 7];
    tls.read_exact(&mut alert).await.unwrap();
    assert_eq!(alert, [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]);
    assert_eq!(tls.read(&mut alert).await.unwrap(), 0);
    drop(tls);

    let mut noise = TcpStream::connect(bench.address).await.unwrap();
    noise.write_all(&[0xff]).await.unwrap();
    assert!(matches!(noise.read(&mut alert).await, Ok(0) | Err(_)));
    bench.drain.begin();
    bench.drain.done().await;
    let counts = bench.counters.read();
    assert_eq!((counts.tls, counts.unknown), (1, 1));
    assert!(bench.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let options = Options { first_byte: Duration::from_millis(50), ..Options::default() };
    let bench = start(1, options);
    let mut silent = TcpStream::connect(bench.address).await.unwrap();
    assert_eq!(silent.read(&mut [0u8; 1]).await.unwrap(), 0);
    // It is counted when its task ends, which is after the socket has.
    bench.drain.begin();
    bench.drain.done().await;
    assert_eq!(bench.counters.read().silent, 1);
}

#[tokio::test]
async fn the_connection_past_the_limit_is_closed_and_room_is_given_back() {
    let bench = start(1, Options { connections: 2, ..Options::default() });
    let mut first = TcpStream::connect(bench.address).await.unwrap();
    let mut second = TcpStream::connect(bench.address).await.unwrap();
    assert!(echoed(&mut first, b'a').await && echoed(&mut second, b'a').await);
    let mut third = TcpStream::connect(bench.address).await.unwrap();
    assert!(!echoed(&mut third, b'a').await);
    assert_eq!(bench.counters.read().over_limit, 1);

    first.shutdown().await.unwrap();
    assert_eq!(first.read(&mut [0u8; 1]).await.unwrap(), 0);
    // The server has closed the first; its place is free as soon as its task has ended.
    let mut attempts = 0;
    loop {
        let mut next = TcpStream::connect(bench.address).await.unwrap();
        if echoed(&mut next, b'a').await {
            break;
        }
        attempts += 1;
        assert!(attempts < 1_000, "the place is never given back");
    }
}

#[tokio::test]
async fn stopping_does_not_wait_longer_than_the_grace() {
    let bench = start(1, Options::default());
    let mut stuck = TcpStream::connect(bench.address).await.unwrap();
    assert!(echoed(&mut stuck, b'a').await);
    // Nobody said *begin*, so the connection has no reason to end.
    bench.shards.stop(Duration::from_millis(50)).await;
    assert!(!echoed(&mut stuck, b'a').await);
}
