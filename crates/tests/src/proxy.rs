//! A proxy between a client and the server that breaks connections as networks do: at any byte, in either direction, with a
//! good end, a reset, or silence. It also records what a client sends.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_linger;

/// How long one side may take to accept what the other sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Both sides see an end.
    End,
    /// Both sides see a reset.
    Reset,
    /// Neither side sees anything: what comes is thrown away until both have given up.
    Silence,
}

/// Where a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes from the client that still go through.
    pub from_client: u64,
    /// Bytes from the server that still go through.
    pub from_server: u64,
    /// How it breaks once either is used up.
    pub how: Break,
}

/// A proxy for the connections of one client.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    server: Option<SocketAddr>,
    /// Cuts of the next connections, in their order.
    cuts: VecDeque<Cut>,
    /// Words that break a connection, in lower case.
    refused: Vec<String>,
    recorded: Vec<u8>,
    is_over: bool,
}

impl Proxy {
    /// Starts a proxy to `server`.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { server: Some(server), ..Shared::default() }));
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if kept.lock().unwrap().is_over {
                    return;
                }
                let kept = Arc::clone(&kept);
                // A connection that cannot be made is one that breaks.
                std::thread::spawn(move || drop(client.and_then(|client| connection(&client, &kept))));
            }
        });
        Self { address, shared }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the server is from now on.
    pub fn set_server(&self, server: SocketAddr) {
        self.shared.lock().unwrap().server = Some(server);
    }

    /// Breaks the next connection there, and no other.
    pub fn cut_next(&self, cut: Cut) {
        self.cut_each([cut]);
    }

    /// Breaks the next connections, one each, and no others.
    pub fn cut_each(&self, cuts: impl IntoIterator<Item = Cut>) {
        self.shared.lock().unwrap().cuts = cuts.into_iter().collect();
    }

    /// Breaks no connection that is not open yet.
    pub fn cut_never(&self) {
        self.shared.lock().unwrap().cuts.clear();
    }

    /// Breaks each connection on which a client says one of these words, as a proxy does that does not know what is meant.
    /// Each is to come in one piece, which a header field does.
    pub fn refuse(&self, words: &[&str]) {
        self.shared.lock().unwrap().refused = words.iter().map(|word| word.to_lowercase()).collect();
    }

    /// All that clients have sent through it.
    pub fn recorded(&self) -> Vec<u8> {
        self.shared.lock().unwrap().recorded.clone()
    }
}

impl Shared {
    fn refuses(&self, said: &[u8]) -> bool {
        let said = String::from_utf8_lossy(said).to_lowercase();
        self.refused.iter().any(|word| said.contains(word))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().unwrap().is_over = true;
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Carries bytes both ways until one side ends or it is time to break.
fn connection(client: &TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    let (cut, server) = {
        let mut shared = shared.lock().unwrap();
        (shared.cuts.pop_front(), shared.server.ok_or(io::ErrorKind::NotConnected)?)
    };
    let server = TcpStream::connect(server)?;
    for side in [client, &server] {
        side.set_nodelay(true)?;
        side.set_write_timeout(Some(PATIENCE))?;
    }
    let [mut from_client, mut from_server] =
        cut.map_or([u64::MAX; 2], |cut| [cut.from_client, cut.from_server]);
    let how = loop {
        let (client_is_ready, server_is_ready) = ready(client, &server)?;
        if client_is_ready {
            let said = read(client, &mut from_client)?;
            let mut shared = shared.lock().unwrap();
            if said.is_empty() || shared.refuses(&said) {
                break Break::End;
            }
            shared.recorded.extend_from_slice(&said);
            drop(shared);
            (&server).write_all(&said)?;
        }
        if server_is_ready {
            let said = read(&server, &mut from_server)?;
            if said.is_empty() {
                break Break::End;
            }
            (&*client).write_all(&said)?;
        }
        if let Some(cut) = cut.filter(|_| from_client == 0 || from_server == 0) {
            break cut.how;
        }
    };
    match how {
        Break::End => Ok(()),
        Break::Reset => {
            for side in [client, &server] {
                set_socket_linger(side, Some(Duration::ZERO))?;
            }
            Ok(())
        }
        Break::Silence => swallow(client, &server),
    }
}

/// Waits until one of them has something to read, or has ended.
fn ready(one: &TcpStream, other: &TcpStream) -> io::Result<(bool, bool)> {
    let mut sockets = [PollFd::new(one, PollFlags::IN), PollFd::new(other, PollFlags::IN)];
    poll(&mut sockets, None)?;
    Ok((!sockets[0].revents().is_empty(), !sockets[1].revents().is_empty()))
}

/// What one read gives, at most `left` bytes; nothing at the end.
fn read(mut from: &TcpStream, left: &mut u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 16 * 1024];
    let count = from.read(&mut bytes)?;
    bytes.truncate(count.min(usize::try_from(*left).unwrap_or(usize::MAX)));
    *left -= bytes.len() as u64;
    Ok(bytes)
}

/// Throws away what comes until both sides have ended.
fn swallow(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    let (mut client, mut server) = (Some(client), Some(server));
    loop {
        match (client, server) {
            (None, None) => return Ok(()),
            (Some(one), Some(other)) => {
                let (one_is_ready, other_is_ready) = ready(one, other)?;
                client = client.filter(|_| !one_is_ready || reads(one, &mut bytes));
                server = server.filter(|_| !other_is_ready || reads(other, &mut bytes));
            }
            (Some(_), None) => client = client.filter(|one| reads(one, &mut bytes)),
            (None, Some(_)) => server = server.filter(|one| reads(one, &mut bytes)),
        }
    }
}

fn reads(mut from: &TcpStream, bytes: &mut [u8]) -> bool {
    from.read(bytes).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything twice.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut bytes = [0; 64];
                    while let Ok(count) = stream.read(&mut bytes) {
                        if count == 0 || stream.write_all(&bytes[..count].repeat(2)).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn said(proxy: &Proxy, bytes: &[u8]) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut heard = Vec::new();
        let error = loop {
            let mut some = [0; 64];
            match stream.read(&mut some) {
                Ok(0) => break None,
                Ok(count) => heard.extend_from_slice(&some[..count]),
                Err(error) => break Some(error.kind()),
            }
        };
        (heard, error)
    }

    #[test]
    fn connections_break_where_and_how_they_are_to() {
        let proxy = Proxy::start(echo());
        let timeout = Some(io::ErrorKind::WouldBlock);
        assert_eq!(said(&proxy, b"abc"), (b"abcabc".to_vec(), timeout));
        assert_eq!(proxy.recorded(), b"abc");
        let cut = |from_client, from_server, how| Cut { from_client, from_server, how };
        proxy.cut_next(cut(9, 4, Break::End));
        assert_eq!(said(&proxy, b"abc"), (b"abca".to_vec(), None));
        proxy.cut_next(cut(9, 0, Break::Silence));
        assert_eq!(said(&proxy, b"abc"), (Vec::new(), timeout));
        proxy.cut_next(cut(9, 2, Break::Reset));
        assert_eq!(said(&proxy, b"abc").1, Some(io::ErrorKind::ConnectionReset));
        assert_eq!(said(&proxy, b"abc"), (b"abcabc".to_vec(), timeout), "one cut breaks one connection");
    }
}
