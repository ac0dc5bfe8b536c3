//! HTTP/1.1 exchanges over connections that are kept for the next one.
//!
//! Nothing is spawned: a connection makes progress while somebody awaits one of its exchanges.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dovetail_api::problem::{PROBLEM_JSON, Problem};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Error;
use crate::server::{Credentials, Server};
use crate::traffic::{Counted, Traffic};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Connections that are kept for later requests.
const IDLE_CONNECTIONS: usize = 8;
/// Bytes of an answer that is read as a whole.
const BODY_BYTES: usize = 256 << 20;

type Body = Full<Bytes>;

/// What moves the bytes of a connection; `None` once the connection has ended.
type Driver = Option<Pin<Box<http1::Connection<TokioIo<Counted>, Body>>>>;

/// Makes requests to one server.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) server: Server,
    pub(crate) traffic: Arc<Traffic>,
    authorization: Option<HeaderValue>,
    idle: Mutex<Vec<Channel>>,
}

/// One connection.
struct Channel {
    sender: SendRequest<Body>,
    driver: Driver,
}

/// An answer whose body is still to be read. Dropped before that, it takes its connection with it.
pub(crate) struct Exchange {
    http: Arc<Http>,
    channel: Channel,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
}

impl Http {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, traffic: Arc::default(), authorization: None, idle: Mutex::default() }
    }

    /// The same server, asked with these credentials, over connections of its own.
    pub(crate) fn with_credentials(&self, credentials: &Credentials) -> Result<Self, Error> {
        let mut authorization = HeaderValue::from_str(&credentials.authorization())
            .map_err(|_| Error::Unsendable("credentials"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            server: self.server.clone(),
            traffic: Arc::clone(&self.traffic),
            authorization: Some(authorization),
            idle: Mutex::default(),
        })
    }

    /// Opens a counted connection to `server`.
    pub(crate) async fn connect(server: &Server, traffic: &Arc<Traffic>) -> Result<Counted, Error> {
        let failed = |source| Error::Unreachable { address: server.to_string().into(), source };
        let connect = TcpStream::connect(server.socket_address());
        let socket = match timeout(CONNECT, connect).await {
            Ok(result) => result.map_err(failed)?,
            Err(_) => return Err(failed(std::io::ErrorKind::TimedOut.into())),
        };
        socket.set_nodelay(true).map_err(failed)?;
        Ok(Counted::new(socket, Arc::clone(traffic)))
    }

    /// Sends `request` and waits for the head of the answer, for at most `patience`.
    ///
    /// # Errors
    /// If there is no answer. An answer that refuses is an answer here; see [`Exchange::succeeded`].
    pub(crate) async fn send(
        self: &Arc<Self>,
        mut request: Request<Body>,
        patience: Duration,
    ) -> Result<Exchange, Error> {
        let fields = request.headers_mut();
        let host = HeaderValue::try_from(self.server.to_string()).map_err(|_| Error::Unsendable("host"))?;
        fields.insert(header::HOST, host);
        if let Some(authorization) = &self.authorization {
            fields.insert(header::AUTHORIZATION, authorization.clone());
        }
        let exchange = self.exchange(request);
        timeout(patience, exchange).await.unwrap_or_else(|_| {
            Err(Error::Silent { address: self.server.to_string().into(), waited: patience })
        })
    }

    async fn exchange(self: &Arc<Self>, mut request: Request<Body>) -> Result<Exchange, Error> {
        while let Some(mut channel) = self.take_idle() {
            let again = (request.method() == Method::GET).then(|| request.clone());
            match channel.send(request).await {
                Ok(response) => return Ok(Exchange::new(self, channel, response)),
                // The server closed the kept connection meanwhile. What was not sent is sent elsewhere, and
                // reading twice does no harm.
                Err((error, unsent)) => match unsent.or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(self.lost(error)),
                },
            }
        }
        let socket = Self::connect(&self.server, &self.traffic).await?;
        let mut channel = Channel::over(socket).await.map_err(|error| self.lost(error))?;
        match channel.send(request).await {
            Ok(response) => Ok(Exchange::new(self, channel, response)),
            Err((error, _)) => Err(self.lost(error)),
        }
    }

    fn take_idle(&self) -> Option<Channel> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, channel: Channel) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if channel.driver.is_some() && idle.len() < IDLE_CONNECTIONS {
            idle.push(channel);
        }
    }

    fn lost(&self, error: hyper::Error) -> Error {
        Error::Lost { address: self.server.to_string().into(), source: Some(error.into()) }
    }
}

impl Channel {
    async fn over(socket: Counted) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        Ok(Self { sender, driver: Some(Box::pin(connection)) })
    }

    async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
        let Self { sender, driver } = self;
        if let Err(error) = drive(driver, sender.ready()).await {
            return Err((error, Some(request)));
        }
        drive(driver, sender.try_send_request(request)).await.map_err(|mut error| {
            let unsent = error.take_message();
            (error.into_error(), unsent)
        })
    }
}

/// Awaits `work` while moving the bytes that it waits for.
async fn drive<T>(driver: &mut Driver, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Some(connection) = driver
            && connection.as_mut().poll(cx).is_ready()
        {
            *driver = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

impl Exchange {
    fn new(http: &Arc<Http>, channel: Channel, response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { http: Arc::clone(http), channel, status: head.status, headers: head.headers, body }
    }

    /// The next piece of the body; `None` at its end. Cancelling loses nothing.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let Self { http, channel, body, .. } = self;
        loop {
            return match drive(&mut channel.driver, body.frame()).await {
                None => Ok(None),
                Some(Err(error)) => Err(http.lost(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    // Trailers say nothing here.
                    Err(_) => continue,
                },
            };
        }
    }

    /// The whole body; the connection is kept for the next request.
    pub(crate) async fn whole(mut self) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if whole.len() + piece.len() > BODY_BYTES {
                return Err(Error::BadField("content-length"));
            }
            whole.extend_from_slice(&piece);
        }
        let Self { http, channel, status, headers, .. } = self;
        http.give_back(channel);
        Ok((status, headers, whole.freeze()))
    }

    /// The answer, if it says that the request succeeded.
    ///
    /// # Errors
    /// What the server says otherwise.
    pub(crate) async fn succeeded(self) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(self.into_error().await)
    }

    /// What an answer that does not say success says.
    pub(crate) async fn into_error(self) -> Error {
        let retry_after = self.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let content_type = self.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_problem = content_type.is_some_and(|text| text.starts_with(PROBLEM_JSON.as_bytes()));
        let status = self.status.as_u16();
        match self.whole().await {
            Err(error) => error,
            Ok((_, _, body)) if is_problem => match Problem::decode(&body) {
                Ok(problem) => Error::Problem(Box::new(problem)),
                Err(_) => Error::Status { status, retry_after },
            },
            Ok(_) => Error::Status { status, retry_after },
        }
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("is_open", &self.driver.is_some()).finish_non_exhaustive()
    }
}
