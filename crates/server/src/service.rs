//! What a shard does with a connection: it gives it to the door that speaks its protocol.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dovetail_api::socket::SUBPROTOCOL;
use dovetail_auth::Principal;
use dovetail_door_http::{Answering, Chunks, Mount, Reply, Upgraded};
use dovetail_door_signalr::{Body, Events, Request};
use dovetail_net::{Connection, Draining, LocalService, Protocol, WebSocket};
use futures_util::future::Either;
use http::Response;
use http::request::Parts;
use tokio::net::TcpStream;

/// Subprotocols of WebSocket: that of MQTT 3.1.1 and 5 `[MQTT-6.0.0-3]`, that of MQTT 3.1, and the server's own.
pub(crate) const SUBPROTOCOLS: &[&str] = &["mqtt", "mqttv3.1", SUBPROTOCOL];

/// The doors of one shard.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) http: dovetail_door_http::Door,
    pub(crate) mqtt: dovetail_door_mqtt::LocalDoor,
    pub(crate) ws: dovetail_door_ws::LocalDoor,
    pub(crate) signalr: dovetail_door_signalr::LocalDoor,
    /// Bytes of a WebSocket frame.
    pub(crate) frame_bytes: usize,
    pub(crate) draining: Draining,
}

impl LocalService for Doors {
    fn serve(&self, connection: Connection) -> impl Future<Output = ()> + Unpin + use<> {
        let Connection { stream, protocol, peer, .. } = connection;
        let principal = Principal::anonymous(peer.ip());
        match protocol {
            // In a box, or each of the many MQTT connections would keep room for it.
            Protocol::Http => {
                let doors = self.clone();
                Either::Left(Box::pin(async move {
                    // Each in a box of its own, or a WebSocket would keep room for the HTTP it is done with, and for
                    // what others speak.
                    let upgraded = {
                        let http = doors.http.clone();
                        Box::pin(async move { http.serve(stream, peer.ip()).await }).await
                    };
                    if let Some(upgraded) = upgraded {
                        doors.speak(upgraded, principal).await;
                    }
                }))
            }
            Protocol::Mqtt => Either::Right(self.mqtt.serve(stream, principal)),
        }
    }
}

impl Doors {
    /// Serves a connection that has become a WebSocket.
    fn speak(self, upgraded: Upgraded<TcpStream>, principal: Principal) -> Pin<Box<dyn Future<Output = ()>>> {
        let Upgraded { io, before, subprotocol, mounted } = upgraded;
        if let Some(query) = mounted {
            Box::pin(self.signalr.serve(io, before, Some(&query), principal))
        } else if subprotocol == SUBPROTOCOL {
            Box::pin(self.ws.serve(io, before, principal))
        } else {
            let socket = WebSocket::new(io, before, self.frame_bytes, self.draining);
            Box::pin(self.mqtt.serve(socket, principal))
        }
    }
}

/// The page of the HTTP door that SignalR answers.
pub(crate) struct Hub(pub(crate) dovetail_door_signalr::LocalDoor);

impl Mount for Hub {
    fn page(&self) -> &'static str {
        "signalr"
    }

    fn refuse(&self, head: &Parts) -> Option<Response<Bytes>> {
        self.0.refuse_socket(head.uri.query())
    }

    fn answer<'a>(
        &'a self,
        head: &'a Parts,
        below: &'a str,
        principal: &'a Principal,
        body: Bytes,
    ) -> Answering<'a> {
        let (method, query, headers) = (&head.method, head.uri.query(), &head.headers);
        let request = Request { method, below, query, headers, principal };
        Box::pin(async move {
            self.0.answer(request, body).await.map(|body| match body {
                Body::Whole(bytes) => Reply::Whole(bytes),
                Body::Events(events) => Reply::Stream(Box::new(EventStream(events))),
            })
        })
    }
}

/// An event stream of one door as another sends it.
struct EventStream(Box<Events>);

impl Chunks for EventStream {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.0.poll_chunk(cx)
    }
}
