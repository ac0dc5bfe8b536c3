//! The acceptor: takes connections from a listening socket and hands them to the shards.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, listen, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::counters::Counters;
use crate::{Dispatcher, Draining};

/// How long accepting pauses when descriptors or memory have run out. The connection that could not
/// be accepted stays in the backlog, so that the socket stays readable: without the pause the
/// acceptor would spin.
const PAUSE: Duration = Duration::from_millis(200);

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). When all clients come back
/// at once, one that finds no room tries again after a second, then after three.
const BACKLOG: i32 = 4_096;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`. Whether it may be bound is the caller's to check
    /// ([`crate::check_exposure`]).
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        // It listens already, with a short backlog.
        listen(&socket, BACKLOG)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit it, which saves a call for each of them.
        sockopt::set_tcp_nodelay(&socket, true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address that is listened on, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Accepts connections until draining begins. Run one for each listener.
///
/// A connection over the limit is accepted and closed, which tells its client at once. When
/// descriptors or memory run out, accepting pauses and goes on by itself.
///
/// # Errors
/// Only what makes the listening socket useless.
pub async fn accept(listener: Listener, dispatcher: Dispatcher, draining: Draining) -> io::Result<()> {
    let _hold = draining.hold("acceptor");
    #[expect(
        deprecated,
        reason = "the new form is unsafe, against handles whose descriptor changes: this one owns it"
    )]
    let socket = AsyncFd::with_interest(listener.socket, Interest::READABLE)?;
    tokio::select! {
        result = run(&socket, &dispatcher) => result,
        () = draining.begun() => Ok(()),
    }
}

/// Where connections come from, with `TCP_NODELAY` and not blocking; tests stand in for it.
trait Source {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)>;
}

/// The runtime watches the listening socket only: tokio's own listener would put each connection into the acceptor's epoll,
/// and take it out again for the shard.
impl Source for AsyncFd<TcpListener> {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accept = |socket: &TcpListener| Ok(acceptfrom_with(socket, flags)?);
        let (stream, peer) = self.async_io(Interest::READABLE, accept).await?;
        let peer = peer.ok_or(Errno::CONNABORTED)?.try_into()?;
        Ok((stream.into(), peer))
    }
}

async fn run(source: &impl Source, dispatcher: &Dispatcher) -> io::Result<()> {
    let mut is_paused = false;
    loop {
        match source.next().await {
            Ok((stream, peer)) => {
                if std::mem::take(&mut is_paused) {
                    tracing::info!("accepting connections again");
                }
                dispatcher.dispatch(stream, peer).await;
            }
            Err(error) => match Remedy::of(&error) {
                Remedy::Skip => {}
                Remedy::Pause => {
                    if !std::mem::replace(&mut is_paused, true) {
                        tracing::warn!(%error, "no resources for new connections, accepting pauses");
                    }
                    Counters::count(&dispatcher.counters().pauses);
                    tokio::time::sleep(PAUSE).await;
                }
                Remedy::GiveUp => return Err(error),
            },
        }
    }
}

/// What to do about a failed accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Remedy {
    /// The connection is lost, the next one may be fine (accept(2) passes on errors of the
    /// connection itself).
    Skip,
    /// The process or the system has run out of something; time will help.
    Pause,
    /// The listening socket itself is wrong.
    GiveUp,
}

impl Remedy {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Pause,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT) => Self::GiveUp,
            _ => Self::Skip,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use crate::{Connection, Drain, LocalService, Options, Shards};
    use std::cell::Cell;
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    struct Ignore;

    impl LocalService for Ignore {
        fn serve(&self, _connection: Connection) -> impl Future<Output = ()> + Unpin + use<> {
            std::future::ready(())
        }
    }

    /// Fails as a process without descriptors does, `failures` times, then as a closed socket does.
    struct Exhausted {
        failures: Cell<u32>,
    }

    impl Source for Exhausted {
        async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let left = self.failures.get();
            self.failures.set(left.saturating_sub(1));
            Err(if left == 0 { Errno::BADF.into() } else { Errno::MFILE.into() })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn exhaustion_pauses_and_does_not_spin() {
        let drain = Drain::new();
        let counters = Arc::new(Counters::default());
        let one = NonZeroUsize::MIN;
        let shards =
            Shards::start(one, Options::default(), drain.draining(), Arc::clone(&counters), |_| Ignore)
                .unwrap();
        let began = tokio::time::Instant::now();
        let source = Exhausted { failures: Cell::new(25) };
        let error = run(&source, &shards.dispatcher()).await.unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::BADF));
        assert_eq!(began.elapsed(), PAUSE * 25);
        assert_eq!(counters.read().pauses, 25);
    }

    #[test]
    fn every_error_has_its_remedy() {
        for (errno, remedy) in [
            (Errno::MFILE, Remedy::Pause),
            (Errno::NFILE, Remedy::Pause),
            (Errno::NOMEM, Remedy::Pause),
            (Errno::NOBUFS, Remedy::Pause),
            (Errno::CONNABORTED, Remedy::Skip),
            (Errno::INTR, Remedy::Skip),
            (Errno::NETDOWN, Remedy::Skip),
            (Errno::PERM, Remedy::Skip),
            (Errno::BADF, Remedy::GiveUp),
            (Errno::INVAL, Remedy::GiveUp),
        ] {
            assert_eq!(Remedy::of(&errno.into()), remedy, "{errno}");
        }
    }
}
