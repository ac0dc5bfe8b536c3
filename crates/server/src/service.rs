//! What a shard does with a connection: it gives it to the door that speaks its protocol.

use dovetail_auth::Principal;
use dovetail_net::{Connection, LocalService, Protocol};
use futures_util::future::Either;

/// The doors of one shard.
pub(crate) struct Doors {
    pub(crate) http: dovetail_door_http::Door,
    pub(crate) mqtt: dovetail_door_mqtt::LocalDoor,
}

impl LocalService for Doors {
    fn serve(&self, connection: Connection) -> impl Future<Output = ()> {
        let Connection { stream, protocol, peer, .. } = connection;
        match protocol {
            // In a box, or each of the many MQTT connections would keep room for it.
            Protocol::Http => {
                let http = self.http.clone();
                Either::Left(Box::pin(async move { http.serve(stream, peer.ip()).await }))
            }
            Protocol::Mqtt => Either::Right(self.mqtt.serve(stream, Principal::anonymous(peer.ip()))),
        }
    }
}
