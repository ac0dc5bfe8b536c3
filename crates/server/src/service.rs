//! What a shard does with a connection: it gives it to the door that speaks its protocol.

use dovetail_auth::Principal;
use dovetail_net::{Connection, LocalService, Protocol};

/// The doors of one shard.
pub(crate) struct Doors {
    pub(crate) http: dovetail_door_http::Door,
    pub(crate) mqtt: dovetail_door_mqtt::LocalDoor,
}

impl LocalService for Doors {
    async fn serve(&self, connection: Connection) {
        let Connection { stream, protocol, peer, .. } = connection;
        match protocol {
            Protocol::Http => self.http.serve(stream, peer.ip()).await,
            Protocol::Mqtt => self.mqtt.serve(stream, Principal::anonymous(peer.ip())).await,
        }
    }
}
