//! The life of a connection: which version, its deadlines, and how it drains.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use dovetail_auth::Principal;
use dovetail_model::limits;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::activity::{Activity, PREFACE, Watched};
use crate::door::{Door, Inner};
use crate::payload::Sending;
use crate::route;

/// Bytes that hyper may buffer of a connection in either direction.
const BUFFER_BYTES: usize = 128 << 10;
/// Requests of one HTTP/2 connection that may be in flight.
const STREAMS: u32 = 128;
/// How long a connection that was asked to end may take for it while nothing is in flight.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the streams of HTTP/2 as local tasks of the shard.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl Door {
    /// Serves one connection until it ends: HTTP/1.1 or HTTP/2 with prior knowledge, told apart by
    /// the preface. Runs in a `LocalSet`.
    ///
    /// It ends when the client ends it, when a deadline passes, or, with what is in flight
    /// finished, when draining begins.
    pub async fn serve<I: AsyncRead + AsyncWrite + Unpin + 'static>(&self, mut io: I, peer: IpAddr) {
        let mut prefix = [0; PREFACE.len()];
        let read = read_preface(&mut io, &mut prefix);
        let Ok(Ok(filled)) = tokio::time::timeout(self.0.settings().headers_within, read).await else {
            return;
        };
        let is_http2 = prefix == *PREFACE;
        let activity = Activity::new((!is_http2).then(Instant::now));
        let io = TokioIo::new(Watched::new(io, prefix, filled, Rc::clone(&activity)));
        let (door, noted, principal) = (Rc::clone(&self.0), Rc::clone(&activity), Principal::anonymous(peer));
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (door, principal, in_flight) = (Rc::clone(&door), principal.clone(), noted.begin());
            async move {
                let response = route::answer(&door, &principal, request).await;
                door.tally.count(response.status());
                Ok::<_, Infallible>(response.map(|payload| Sending::new(payload, in_flight)))
            }
        });
        let deadlines = Deadlines::new(&self.0, &activity, is_http2);
        if is_http2 {
            let connection = http2::Builder::new(Local)
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(limits::HTTP_HEADER_BYTES as u32)
                .max_send_buf_size(BUFFER_BYTES)
                .serve_connection(io, service);
            drive(&self.0, connection, http2::Connection::graceful_shutdown, deadlines).await;
        } else {
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .max_header_size(limits::HTTP_HEADER_BYTES)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(io, service);
            drive(&self.0, connection, http1::Connection::graceful_shutdown, deadlines).await;
        }
    }
}

/// Reads until it is clear whether the connection starts with the preface of HTTP/2. Returns how
/// many bytes it took for that.
async fn read_preface(io: &mut (impl AsyncRead + Unpin), prefix: &mut [u8; 24]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < PREFACE.len() && prefix[..filled] == PREFACE[..filled] {
        match io.read(&mut prefix[filled..]).await? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

/// Polls a connection until it ends or has to.
async fn drive<C>(door: &Inner, connection: C, wind_down: fn(Pin<&mut C>), mut deadlines: Deadlines)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut draining = pin!(door.draining.begun());
    let mut is_ending = false;
    poll_fn(|cx| {
        loop {
            // What goes wrong with a connection is the client's doing or the network's: it is over.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !is_ending && draining.as_mut().poll(cx).is_ready() {
                is_ending = true;
                deadlines.end();
                wind_down(connection.as_mut());
                continue;
            }
            match deadlines.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::Close) => return Poll::Ready(()),
                Poll::Ready(Due::WindDown) => {
                    is_ending = true;
                    deadlines.end();
                    wind_down(connection.as_mut());
                }
            }
        }
    })
    .await;
}

/// The deadlines of a connection. One timer serves all of them; it is set back only when the next
/// deadline is before the one it is set to, so that a busy connection does not touch it.
struct Deadlines {
    activity: Rc<Activity>,
    keep_alive: Duration,
    /// `None` for HTTP/2, where bytes that are no request come all the time; there the first
    /// request and then each further one has to come within the keep-alive.
    headers_within: Option<Duration>,
    /// The connection was asked to end at this time.
    ending_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a deadline asks for.
enum Due {
    /// The connection has been idle long enough: let it end in order.
    WindDown,
    /// The client is too slow: close.
    Close,
}

impl Deadlines {
    fn new(door: &Inner, activity: &Rc<Activity>, is_http2: bool) -> Self {
        Self {
            activity: Rc::clone(activity),
            keep_alive: door.settings().keep_alive,
            headers_within: (!is_http2).then_some(door.settings().headers_within),
            ending_since: None,
            timer: None,
        }
    }

    /// The connection was asked to end.
    fn end(&mut self) {
        self.ending_since = Some(Instant::now());
    }

    /// The next deadline, if nothing changes before it.
    fn next(&self) -> Option<(Instant, Due)> {
        if self.activity.is_busy() {
            return None;
        }
        let idle_since = self.activity.idle_since();
        let headers = self
            .headers_within
            .and_then(|within| self.activity.reading_since().map(|since| (since + within, Due::Close)));
        let idle = match self.ending_since {
            Some(since) => (since.max(idle_since) + FAREWELL, Due::Close),
            None => (idle_since + self.keep_alive, Due::WindDown),
        };
        match headers {
            Some(headers) if headers.0 <= idle.0 => Some(headers),
            _ => Some(idle),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let Some((at, due)) = self.next() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= at {
                return Poll::Ready(due);
            }
            timer.as_mut().reset(at);
        }
    }
}
