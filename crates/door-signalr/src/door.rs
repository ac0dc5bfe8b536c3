//! The requests of connections: what they are for, and what is answered.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_api::problem::{PROBLEM_JSON, Problem, ProblemType};
use dovetail_auth::Principal;
use dovetail_net::{CloseCode, Messages};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::{mpsc, oneshot};

use crate::client::{self, Client};
use crate::events::Events;
use crate::negotiate::{self, member};
use crate::polls;
use crate::registry::{Arrival, Misfit, Order, Poll, Socket, Token, Told};
use crate::stream::{Portable, Stream};
use crate::{Local, LocalDoor};

/// How long a connection may take to take a request in: it may be waiting for the disk.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// A request at the hub's address or below it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How.
    pub method: &'a Method,
    /// The part of the path below the hub's, without a slash before it.
    pub below: &'a str,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// Who asks.
    pub principal: &'a Principal,
}

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// An event stream, made while it is sent.
    Events(Box<Events>),
}

impl LocalDoor {
    /// Answers a request with this body. Never fails: a failure is an answer.
    pub async fn answer(&self, request: Request<'_>, body: Bytes) -> Response<Body> {
        let method = request.method;
        match request.below {
            "negotiate" if *method == Method::POST => self.negotiate(request.query),
            "negotiate" => method_not_allowed("POST, OPTIONS"),
            "" if *method == Method::POST => self.send(request.query, body).await,
            "" if *method == Method::GET && wants_events(request.headers) => self.events(request),
            "" if *method == Method::GET => self.poll(request).await,
            "" if *method == Method::DELETE => self.delete(request.query).await,
            "" => method_not_allowed("GET, POST, DELETE, OPTIONS"),
            _ => problem(ProblemType::NotFound, "the hub has nothing here"),
        }
    }

    /// The answer that keeps a request with this query from becoming a WebSocket; `None` lets it.
    pub fn refuse_socket(&self, query: Option<&str>) -> Option<Response<Bytes>> {
        let id = member(query, "id")?;
        let registry = &self.0.shared.registry;
        let checked = Token::parse(id).ok_or(Misfit::Unknown).and_then(|token| registry.check_socket(token));
        checked.err().map(|misfit| self.misfit(misfit).map(whole))
    }

    /// Serves a WebSocket whose handshake is done, until it ends. `before` is what was read behind the handshake, and
    /// `query` that of the request. Runs as one local task of the shard; with stateful reconnect the connection may move
    /// on to other sockets, and sockets to the shard of their connection.
    pub fn serve<S: Portable>(
        &self,
        stream: S,
        before: Bytes,
        query: Option<&str>,
        principal: Principal,
    ) -> impl Future<Output = ()> + use<S> {
        let local = Rc::clone(&self.0);
        let token = member(query, "id").map(Token::parse);
        async move {
            let found = match token {
                // Who skips negotiation needs no token.
                None => Ok(Socket::Begins(None)),
                Some(None) => Err(Misfit::Unknown),
                Some(Some(token)) => local.shared.registry.socket(token),
            };
            let serving: Pin<Box<dyn Future<Output = ()>>> = match found {
                Ok(Socket::Begins(begun)) => {
                    let client = Client::new(local, Box::new(stream), before, principal, begun);
                    Box::pin(Box::new(client).run())
                }
                Ok(Socket::GoesOn(connection)) => Box::pin(hand_over(stream, before, connection)),
                // Another socket was quicker since the request was looked at.
                Err(misfit) => Box::pin(close(local, stream, before, misfit)),
            };
            serving.await;
        }
    }

    fn negotiate(&self, query: Option<&str>) -> Response<Body> {
        let wanted = match negotiate::wanted(query) {
            Ok(wanted) => wanted,
            Err(error) => return json(negotiate::refusal(error)),
        };
        if self.0.stopping.is_begun() {
            return retry_after(problem(ProblemType::ShuttingDown, "the server is stopping"), 1);
        }
        let (Ok(token), Ok(id)) = (Token::random(), Token::random()) else {
            tracing::error!("the operating system has no randomness for a token");
            return problem(ProblemType::Internal, "no token can be made");
        };
        match self.0.shared.registry.negotiate(token, wanted.resends) {
            Ok(()) => {
                self.0.tally.negotiations.add(1);
                json(negotiate::answer(wanted, token, id).into_bytes())
            }
            Err(after) => {
                self.0.tally.refused.add(1);
                let detail = "too many connections were negotiated and have not begun; try again";
                retry_after(problem(ProblemType::Overloaded, detail), after.as_secs().max(1))
            }
        }
    }

    /// A POST: bytes for a connection, which is given them in order.
    async fn send(&self, query: Option<&str>, body: Bytes) -> Response<Body> {
        let sender = match token(query).and_then(|token| self.0.shared.registry.input(token)) {
            Ok(sender) => sender,
            Err(misfit) => return self.misfit(misfit),
        };
        if body.is_empty() {
            return plain(StatusCode::OK);
        }
        match tokio::time::timeout(TAKEN_WITHIN, sender.send(body)).await {
            Ok(Ok(())) => plain(StatusCode::OK),
            Ok(Err(_)) => self.misfit(Misfit::Unknown),
            Err(_) => {
                let answer = problem(ProblemType::Overloaded, "the connection takes nothing now; try again");
                retry_after(answer, 1)
            }
        }
    }

    fn events(&self, request: Request<'_>) -> Response<Body> {
        match token(request.query).and_then(|token| self.0.shared.registry.events(token)) {
            Ok(begun) => {
                let events = Events::new(Rc::clone(&self.0), request.principal.clone(), begun);
                let mut response = Response::new(Body::Events(Box::new(events)));
                let fields = response.headers_mut();
                fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(dovetail_api::EVENT_STREAM));
                fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
                response
            }
            Err(misfit) => self.misfit(misfit),
        }
    }

    async fn poll(&self, request: Request<'_>) -> Response<Body> {
        let orders = match token(request.query).and_then(|token| self.0.shared.registry.poll(token)) {
            Ok(Poll::Begins(begun)) => {
                let home = polls::home(Rc::clone(&self.0), request.principal.clone(), begun);
                tokio::task::spawn_local(home);
                // The first poll only says that the connection has begun.
                return data(Vec::new(), false);
            }
            Ok(Poll::GoesOn(orders)) => orders,
            Err(misfit) => return self.misfit(misfit),
        };
        let (answer, told) = oneshot::channel();
        if orders.send(Order::Poll(answer)).await.is_err() {
            return plain(StatusCode::NO_CONTENT);
        }
        match told.await {
            Ok(Told::Data { bytes, is_binary }) => data(bytes, is_binary),
            Ok(Told::End) | Err(_) => plain(StatusCode::NO_CONTENT),
        }
    }

    async fn delete(&self, query: Option<&str>) -> Response<Body> {
        match token(query).and_then(|token| self.0.shared.registry.delete(token)) {
            Ok(orders) => {
                if let Some(orders) = orders {
                    // An error means that it has ended by itself.
                    let _ = orders.send(Order::Delete).await;
                }
                plain(StatusCode::ACCEPTED)
            }
            Err(misfit) => self.misfit(misfit),
        }
    }

    fn misfit(&self, misfit: Misfit) -> Response<Body> {
        self.0.tally.refused.add(1);
        let detail = misfit.to_string();
        match misfit {
            Misfit::NoToken | Misfit::OtherTransport => problem(ProblemType::BadRequest, &detail),
            Misfit::Unknown => problem(ProblemType::NotFound, &detail),
            Misfit::InUse => problem(ProblemType::Conflict, &detail),
            Misfit::NoPost => method_not_allowed("GET, OPTIONS"),
            Misfit::TooMany => retry_after(problem(ProblemType::Overloaded, &detail), 1),
        }
    }
}

/// Gives a socket to the thread of its connection.
async fn hand_over<S: Portable>(stream: S, before: Bytes, connection: mpsc::Sender<Arrival>) {
    let Ok(packed) = stream.pack() else { return };
    let unpack = Box::new(move || Ok(Box::new(S::unpack(packed)?) as Box<dyn Stream>));
    // A connection that has just ended closes the socket with what it drops.
    let _ = connection.send(Arrival { unpack, before }).await;
}

/// Ends a WebSocket that is for nothing.
async fn close(local: Rc<Local>, stream: impl Stream, before: Bytes, misfit: Misfit) {
    local.tally.refused.add(1);
    let mut messages = Messages::new(stream, before, client::socket_bytes(&local));
    messages.queue_close(CloseCode::POLICY_VIOLATION, &misfit.to_string());
    let closing = std::future::poll_fn(|cx| messages.poll_close(cx));
    let _ = tokio::time::timeout(client::LAST_WORDS, closing).await;
}

fn token(query: Option<&str>) -> Result<Token, Misfit> {
    match member(query, "id") {
        None | Some("") => Err(Misfit::NoToken),
        Some(text) => Token::parse(text).ok_or(Misfit::Unknown),
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(','));
    types.any(|said| {
        let media_type = said.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case(dovetail_api::EVENT_STREAM)
    })
}

fn problem(kind: ProblemType, detail: &str) -> Response<Body> {
    let mut text = Vec::with_capacity(256);
    Problem::new(kind, detail).encode(&mut text);
    let mut response = answer(text, PROBLEM_JSON);
    *response.status_mut() = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let detail = format!("the methods that apply here are {allow}");
    let mut response = problem(ProblemType::MethodNotAllowed, &detail);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn retry_after(mut response: Response<Body>, seconds: u64) -> Response<Body> {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn json(text: Vec<u8>) -> Response<Body> {
    answer(text, dovetail_api::JSON)
}

/// What a poll is told.
fn data(bytes: Vec<u8>, is_binary: bool) -> Response<Body> {
    answer(bytes, if is_binary { "application/octet-stream" } else { "text/plain; charset=utf-8" })
}

fn answer(bytes: Vec<u8>, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Whole(bytes.into()));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    response
}

fn whole(body: Body) -> Bytes {
    match body {
        Body::Whole(bytes) => bytes,
        Body::Events(_) => Bytes::new(),
    }
}
