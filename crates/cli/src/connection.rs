//! From what was typed about the server to a client of it.

use dovetail_client::{Client, Credentials, Server};

use crate::args::Connection;
use crate::failure::Failure;

/// The port of MQTT unless another is given.
const MQTT_PORT: u16 = 1_883;

/// The client of the server that was given.
pub(crate) fn client(connection: &Connection) -> Result<Client, Failure> {
    let client = Client::new(&connection.server).map_err(Failure::Address)?;
    match credentials(connection)? {
        None => Ok(client),
        Some(credentials) => client.with_credentials(credentials).map_err(Failure::of),
    }
}

/// Where MQTT is spoken.
pub(crate) fn mqtt(client: &Client, given: Option<&str>) -> Result<Server, Failure> {
    match given {
        None => Ok(client.server().at_port(MQTT_PORT)),
        Some(text) => Server::with_default_port(text, "mqtt", MQTT_PORT).map_err(Failure::Address),
    }
}

fn credentials(connection: &Connection) -> Result<Option<Credentials>, Failure> {
    if let Some(token) = &connection.token {
        return Ok(Some(Credentials::Bearer(token.as_str().into())));
    }
    let Some(user) = &connection.user else { return Ok(None) };
    let (name, password) = user.split_once(':').ok_or(Failure::Usage("--user is NAME:PASSWORD"))?;
    Ok(Some(Credentials::Password { name: name.into(), password: password.into() }))
}
