//! One connection of a load: how it greets the server, and how it reads what comes.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::run::Run;
use super::{PATIENCE, read_some, write_all};
use crate::http::Answer;
use crate::wire::{self, Five, Service};

/// Filters of one SUBSCRIBE packet at most.
const FILTERS_PER_PACKET: usize = 100;

/// Bytes of one read while greetings are exchanged.
const GREETING_BYTES: usize = 512;

/// How a client introduces itself.
#[derive(Debug, Clone)]
pub(crate) enum Greeting {
    /// Not at all: it speaks another protocol than MQTT.
    None,
    /// With CONNECT, and SUBSCRIBE if there are filters.
    Mqtt {
        /// The client identifier.
        id: String,
        /// Whether the session ends with the connection.
        is_clean: bool,
        /// Filters to subscribe to.
        filters: Vec<String>,
        /// The service to subscribe with.
        service: Service,
        /// What a client of MQTT 5 says more; one of MQTT 3.1.1 has none.
        five: Option<Five>,
        /// Says who asks.
        password: Option<String>,
    },
}

impl Greeting {
    /// A client with a clean session that publishes only.
    pub(crate) fn publisher(id: String) -> Self {
        Self::subscriber(id, Vec::new(), Service::Zero)
    }

    /// A client with a clean session that subscribes to `filters`.
    pub(crate) fn subscriber(id: String, filters: Vec<String>, service: Service) -> Self {
        Self::Mqtt { id, is_clean: true, filters, service, five: None, password: None }
    }
}

/// What went through the sockets of one watcher, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes written.
    pub(crate) sent: Cell<u64>,
    /// Bytes read.
    pub(crate) received: Cell<u64>,
}

impl Traffic {
    /// Bytes in both directions.
    pub(crate) fn bytes(&self) -> u64 {
        self.sent.get() + self.received.get()
    }

    fn count(of: &Cell<u64>, bytes: usize) {
        of.set(of.get() + bytes as u64);
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// The start of what is not whole yet.
    partial: Vec<u8>,
    /// Whether `partial` may hold something whole, which came behind the greeting.
    is_fresh: bool,
    /// Whether the server knew the session.
    pub(crate) has_session: bool,
    traffic: Rc<Traffic>,
}

impl Client {
    /// Connects to `addr` with Nagle's algorithm off, and greets.
    pub(crate) async fn connect(addr: SocketAddr, greeting: &Greeting) -> Result<Self> {
        Self::connect_counted(addr, greeting, Rc::default()).await
    }

    /// The same, with every byte counted in `traffic`.
    pub(crate) async fn connect_counted(
        addr: SocketAddr,
        greeting: &Greeting,
        traffic: Rc<Traffic>,
    ) -> Result<Self> {
        Self::greet(TcpStream::connect(addr).await, addr, greeting, traffic).await
    }

    /// The same from an address and port of choice, which may have been used a moment ago.
    pub(crate) async fn connect_from(
        source: SocketAddr,
        addr: SocketAddr,
        greeting: &Greeting,
    ) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(source).with_context(|| format!("{source} is in use"))?;
        Self::greet(socket.connect(addr).await, addr, greeting, Rc::default()).await
    }

    async fn greet(
        stream: std::io::Result<TcpStream>,
        addr: SocketAddr,
        greeting: &Greeting,
        traffic: Rc<Traffic>,
    ) -> Result<Self> {
        let stream = stream.with_context(|| format!("no connection to {addr}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, partial: Vec::new(), is_fresh: false, has_session: false, traffic };
        let Greeting::Mqtt { id, is_clean, filters, service, five, password } = greeting else {
            return Ok(client);
        };
        client.write(&wire::connect(id, *is_clean, password.as_deref(), five.as_ref())).await?;
        let answer = client.expect(0x20).await.context("after CONNECT")?;
        ensure!(answer.get(3) == Some(&0), "CONNECT was refused: {answer:02x?}");
        client.has_session = answer[2] == 1;
        for (number, filters) in filters.chunks(FILTERS_PER_PACKET).enumerate() {
            client.subscribe(number as u16 + 1, filters, *service, five.as_ref()).await?;
        }
        client.is_fresh = true;
        Ok(client)
    }

    /// Cuts the connection off, as a network does: the server gets no farewell.
    pub(crate) fn cut(self) -> Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    async fn subscribe(
        &mut self,
        id: u16,
        filters: &[String],
        service: Service,
        five: Option<&Five>,
    ) -> Result<()> {
        self.write(&wire::subscribe(id, filters, service, five)).await?;
        let answer = self.expect(0x90).await.context("after SUBSCRIBE")?;
        let codes = &answer[answer.len() - filters.len().min(answer.len())..];
        ensure!(
            codes.iter().all(|&code| code == service as u8),
            "SUBSCRIBE was answered with other services than asked for: {answer:02x?}"
        );
        Ok(())
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<()> {
        write_all(&self.stream, bytes).await?;
        Traffic::count(&self.traffic.sent, bytes.len());
        Ok(())
    }

    /// Waits for bytes and hands all that there are to `take`, which says how many of them it could use; the rest is kept
    /// for the next time.
    pub(crate) async fn read(
        &mut self,
        run: &Run,
        mut take: impl FnMut(&[u8]) -> Result<usize>,
    ) -> Result<()> {
        if std::mem::take(&mut self.is_fresh) && !self.partial.is_empty() {
            let used = take(&self.partial)?;
            self.partial.drain(..used);
            if used > 0 {
                return Ok(());
            }
        }
        loop {
            self.stream.readable().await?;
            let mut scratch = run.scratch.borrow_mut();
            let kept = self.partial.len();
            scratch[..kept].copy_from_slice(&self.partial);
            let end = match self.stream.try_read(&mut scratch[kept..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => {
                    Traffic::count(&self.traffic.received, read);
                    kept + read
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let used = take(&scratch[..end])?;
            self.partial.clear();
            self.partial.extend_from_slice(&scratch[used..end]);
            return Ok(());
        }
    }

    /// Sends an HTTP request, and waits for its whole answer.
    pub(crate) async fn ask(&mut self, run: &Run, request: &[u8]) -> Result<Answer> {
        self.write(request).await?;
        let mut answer = Answer::default();
        while !answer.is_whole() {
            self.read(run, |bytes| answer.take(bytes)).await?;
        }
        Ok(answer)
    }

    /// Waits for bytes and hands each MQTT packet that is whole to `take`.
    pub(crate) async fn read_packets(
        &mut self,
        run: &Run,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.read(run, |bytes| {
            let mut at = 0;
            while let Some(packet) = wire::first_packet(&bytes[at..]) {
                at += packet.len();
                take(packet)?;
            }
            Ok(at)
        })
        .await
    }

    /// Waits for `end` and gives all that came up to it; what comes behind it is kept.
    pub(crate) async fn read_until(&mut self, end: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = [0; GREETING_BYTES];
        loop {
            if let Some(at) = wire::find(&self.partial, end) {
                let rest = self.partial.split_off(at + end.len());
                self.is_fresh = true;
                return Ok(std::mem::replace(&mut self.partial, rest));
            }
            let read = timeout(PATIENCE, read_some(&self.stream, &mut buffer)).await;
            let read =
                read.with_context(|| format!("no answer but {}", String::from_utf8_lossy(&self.partial)))??;
            ensure!(read > 0, "the server closed after {}", String::from_utf8_lossy(&self.partial));
            Traffic::count(&self.traffic.received, read);
            self.partial.extend_from_slice(&buffer[..read]);
        }
    }

    /// Waits for one packet with this first byte; what comes behind it is kept.
    async fn expect(&mut self, first: u8) -> Result<Vec<u8>> {
        let mut buffer = [0; GREETING_BYTES];
        loop {
            if let Some(packet) = wire::first_packet(&self.partial) {
                let packet = packet.to_vec();
                ensure!(packet[0] == first, "an unexpected packet: {packet:02x?}");
                self.partial.drain(..packet.len());
                return Ok(packet);
            }
            let read =
                timeout(PATIENCE, read_some(&self.stream, &mut buffer)).await.context("no answer")??;
            ensure!(read > 0, "the server closed the connection");
            Traffic::count(&self.traffic.received, read);
            self.partial.extend_from_slice(&buffer[..read]);
        }
    }
}
