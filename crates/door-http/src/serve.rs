//! The life of a connection: which version, its buffers, and how it drains.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use dovetail_auth::Principal;
use dovetail_model::limits;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::Instant;

use crate::activity::{Activity, Watched};
use crate::deadlines::{Deadlines, Due};
use crate::door::{Door, Inner};
use crate::payload::{Agreed, Payload};
use crate::sending::Sending;
use crate::{route, takeover};

/// Bytes that tell HTTP/2 from HTTP/1.1 (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that hyper may buffer of a connection in either direction.
const BUFFER_BYTES: usize = 128 << 10;
/// Requests of one HTTP/2 connection that may be in flight.
const STREAMS: u32 = 128;

/// Runs the streams of HTTP/2 as local tasks of the shard.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// How a turn of hyper with an HTTP/1.1 connection ends.
enum Turn<I> {
    /// The connection is over.
    Done,
    /// It idles: the socket without the buffers, and what was read of a next request.
    Idle(I, Bytes),
    /// An answer takes the socket over, and what was read behind its request.
    Takeover(I, Bytes, Response<Payload>),
}

/// A connection that is a WebSocket from now on. Its handshake is answered.
#[derive(Debug)]
pub struct Upgraded<I> {
    /// The socket.
    pub io: I,
    /// What was read of the socket behind the handshake.
    pub before: Bytes,
    /// What the WebSocket speaks, of [`crate::Settings::subprotocols`]; empty at the mounted page.
    pub subprotocol: &'static str,
    /// The query, if it is the mounted page ([`crate::Mount`]) that was asked for and no subprotocol was agreed on.
    pub mounted: Option<Box<str>>,
}

impl Door {
    /// Serves one connection until it ends: HTTP/1.1 or HTTP/2 with prior knowledge, told apart by
    /// the preface. Runs in a `LocalSet`.
    ///
    /// It ends when the client ends it, when a deadline passes, or, with what is in flight
    /// finished, when draining begins. An idle HTTP/1.1 connection holds no buffers.
    ///
    /// A connection that becomes a WebSocket is given back for whoever serves its subprotocol.
    pub async fn serve<I>(&self, mut io: I, peer: IpAddr) -> Option<Upgraded<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let door = &self.0;
        let mut prefix = [0; PREFACE.len()];
        let first = read_preface(&mut io, &mut prefix);
        let Ok(Ok(filled)) = tokio::time::timeout(door.settings().headers_within, first).await else {
            return None;
        };
        if prefix == *PREFACE {
            http2(door, peer, io).await;
            return None;
        }
        let mut before = Bytes::copy_from_slice(&prefix[..filled]);
        loop {
            match http1(door, peer, io, before).await {
                Turn::Done => return None,
                Turn::Takeover(socket, rest, response) => {
                    return take_over(door, socket, rest, response).await;
                }
                Turn::Idle(socket, rest) => (io, before) = (socket, rest),
            }
            if before.is_empty() {
                match parked(door, &mut io).await {
                    Some(first) => before = first,
                    None => return None,
                }
            }
        }
    }
}

/// Gives an answer the socket for itself.
async fn take_over<I>(
    door: &Inner,
    mut io: I,
    before: Bytes,
    response: Response<Payload>,
) -> Option<Upgraded<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (head, payload) = response.into_parts();
    match payload {
        Payload::Feed(feed) => takeover::stream(io, &head, feed).await,
        Payload::WebSocket(agreed) => {
            if takeover::last_head(&mut io, &head, door.settings().keep_alive).await {
                let Agreed { subprotocol, mounted } = *agreed;
                return Some(Upgraded { io, before, subprotocol, mounted });
            }
        }
        // These go through hyper.
        Payload::Empty | Payload::Whole(_) | Payload::Stream(_) => {}
    }
    None
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

/// Waits for the next request on an idle connection; `None` when it is to end.
async fn parked(door: &Inner, io: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let mut first = [0; PREFACE.len()];
    let left = Deadlines::left_when_parked(door.settings());
    tokio::select! {
        read = io.read(&mut first) => match read {
            Ok(more @ 1..) => Some(Bytes::copy_from_slice(&first[..more])),
            _ => None,
        },
        () = tokio::time::sleep(left) => None,
        () = door.draining.begun() => None,
    }
}

async fn http2<I: AsyncRead + AsyncWrite + Unpin + 'static>(door: &Rc<Inner>, peer: IpAddr, io: I) {
    let principal = Principal::anonymous(peer);
    let activity = Activity::new(None);
    let io = TokioIo::new(Watched::new(io, Bytes::from_static(PREFACE), Rc::clone(&activity)));
    let (inner, noted) = (Rc::clone(door), Rc::clone(&activity));
    let service = service_fn(move |request: Request<Incoming>| {
        let (door, principal, in_flight) = (Rc::clone(&inner), principal.clone(), noted.begin());
        async move {
            let response = route::answer(&door, &principal, peer, request).await;
            Ok::<_, Infallible>(response.map(|payload| Sending::new(payload, in_flight)))
        }
    });
    let connection = http2::Builder::new(Local)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(limits::HTTP_HEADER_BYTES as u32)
        .max_send_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    let mut deadlines = Deadlines::for_http2(door.settings(), activity);
    let mut connection = pin!(connection);
    let mut draining = pin!(door.draining.begun());
    poll_fn(|cx| {
        loop {
            // What goes wrong with a connection is the client's doing or the network's: it is over.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let is_told_to_end = !deadlines.is_ending() && draining.as_mut().poll(cx).is_ready();
            match deadlines.poll(cx) {
                Poll::Ready(Due::Close | Due::Park) => return Poll::Ready(()),
                Poll::Pending if !is_told_to_end => return Poll::Pending,
                Poll::Ready(Due::WindDown) | Poll::Pending => {
                    deadlines.end();
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    })
    .await;
}

/// Lets hyper have the connection until it idles, ends, or is taken over.
async fn http1<I>(door: &Rc<Inner>, peer: IpAddr, io: I, before: Bytes) -> Turn<I>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let principal = Principal::anonymous(peer);
    let activity = Activity::new(Some(Instant::now()));
    let io = TokioIo::new(Watched::new(io, before, Rc::clone(&activity)));
    let (inner, noted) = (Rc::clone(door), Rc::clone(&activity));
    let service = service_fn(move |request: Request<Incoming>| {
        let (door, principal, activity) = (Rc::clone(&inner), principal.clone(), Rc::clone(&noted));
        let in_flight = activity.begin();
        async move {
            let response = route::answer(&door, &principal, peer, request).await;
            if response.body().takes_over() {
                activity.take_over(response);
                return pending().await;
            }
            Ok::<_, Infallible>(response.map(|payload| Sending::new(payload, in_flight)))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(limits::HTTP_HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    run_http1(door, connection, &activity).await
}

async fn run_http1<I, S>(
    door: &Inner,
    mut connection: http1::Connection<TokioIo<Watched<I>>, S>,
    activity: &Rc<Activity>,
) -> Turn<I>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Sending> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut deadlines = Deadlines::for_http1(door.settings(), Rc::clone(activity));
    let mut draining = pin!(door.draining.begun());
    let is_over = poll_fn(|cx| {
        loop {
            if std::pin::Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            // What hyper has not written yet would be lost with it.
            if activity.is_taken_over() && activity.is_flushed() {
                return Poll::Ready(false);
            }
            let is_told_to_end = !deadlines.is_ending() && draining.as_mut().poll(cx).is_ready();
            match deadlines.poll(cx) {
                Poll::Ready(Due::Close) => return Poll::Ready(true),
                Poll::Ready(Due::Park) => return Poll::Ready(false),
                Poll::Pending if !is_told_to_end => return Poll::Pending,
                Poll::Ready(Due::WindDown) | Poll::Pending => {
                    deadlines.end();
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    })
    .await;
    if is_over {
        return Turn::Done;
    }
    let parts = connection.into_parts();
    let io = parts.io.into_inner().into_inner();
    // A copy, because what is left of hyper's buffer, even nothing, keeps all of it alive.
    let rest = Bytes::copy_from_slice(&parts.read_buf);
    match activity.takeover() {
        Some(response) => Turn::Takeover(io, rest, response),
        None => Turn::Idle(io, rest),
    }
}
