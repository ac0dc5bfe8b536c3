//! What a shard does with a connection: it gives it to the door that speaks its protocol.

use dovetail_api::socket::SUBPROTOCOL;
use dovetail_auth::Principal;
use dovetail_net::{Connection, Draining, LocalService, Protocol, WebSocket};
use futures_util::future::Either;

/// Subprotocols of WebSocket: that of MQTT 3.1.1 and 5 `[MQTT-6.0.0-3]`, that of MQTT 3.1, and the server's own.
pub(crate) const SUBPROTOCOLS: &[&str] = &["mqtt", "mqttv3.1", SUBPROTOCOL];

/// The doors of one shard.
pub(crate) struct Doors {
    pub(crate) http: dovetail_door_http::Door,
    pub(crate) mqtt: dovetail_door_mqtt::LocalDoor,
    pub(crate) ws: dovetail_door_ws::LocalDoor,
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
                let (http, mqtt, ws) = (self.http.clone(), self.mqtt.clone(), self.ws.clone());
                let (frame_bytes, draining) = (self.frame_bytes, self.draining.clone());
                Either::Left(Box::pin(async move {
                    // In a box of its own, or a WebSocket would keep room for the HTTP it is done with.
                    let Some(upgraded) = Box::pin(http.serve(stream, peer.ip())).await else { return };
                    if upgraded.subprotocol == SUBPROTOCOL {
                        ws.serve(upgraded.io, upgraded.before, principal).await;
                    } else {
                        let socket = WebSocket::new(upgraded.io, upgraded.before, frame_bytes, draining);
                        mqtt.serve(socket, principal).await;
                    }
                }))
            }
            Protocol::Mqtt => Either::Right(self.mqtt.serve(stream, principal)),
        }
    }
}
