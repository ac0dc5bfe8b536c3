//! The server: the rooms put together, and how it stops.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dovetail_api::socket::SUBPROTOCOL;
use dovetail_auth::Policy;
use dovetail_calls::Desk;
use dovetail_calls::pages::Pages;
use dovetail_door_http::Mount;
use dovetail_door_mqtt::Door as MqttDoor;
use dovetail_door_signalr::Door as SignalRDoor;
use dovetail_door_ws::Door as WsDoor;
use dovetail_engine::{Clock, Engine, Running};
use dovetail_model::{Revision, limits};
use dovetail_net::{Drain, Listener, Shards, accept};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::data::{self, DataError};
use crate::metrics;
use crate::service::{Doors, Hub, SUBPROTOCOLS};

/// How long connections may take to end once stopping has begun.
const GRACE: Duration = Duration::from_secs(10);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data cannot be served.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Threads cannot be made.
    #[error("the operating system gives no threads")]
    Threads(#[source] io::Error),
}

/// A running server. Stop it with [`Server::stop`]; dropped, it dies like a killed process, which
/// loses nothing that was acknowledged.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    running: Running,
    shards: Shards,
    drain: Drain,
    mqtt: MqttDoor,
    acceptors: JoinSet<()>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts a server. Call it in a tokio runtime, which accepts the connections; everything else
    /// has threads of its own.
    ///
    /// # Errors
    /// When the data cannot be opened or an address cannot be listened on. Nothing is left behind.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        // First the addresses: a second server on the same ports does not wait for its data.
        let listeners = listen(&config.listen)?;
        let addresses = listeners.iter().map(Listener::address).collect();
        let (journal, recovered) = data::open(&config.data, config.journal.clone())?;
        let (engine, running) =
            Engine::start(journal, recovered, Policy::loopback(), Clock::system(), config.engine.clone())
                .map_err(StartError::Threads)?;
        let drain = Drain::new();
        let mqtt = MqttDoor::new(dovetail_door_mqtt::Options {
            payload_bytes: config.engine.payload_bytes,
            ..config.mqtt.clone()
        });
        mqtt.recover(&engine);
        let shards = start_shards(config, &engine, &mqtt, &drain).map_err(StartError::Threads)?;
        let mut acceptors = JoinSet::new();
        for listener in listeners {
            let accepting = accept(listener, shards.dispatcher(), drain.draining());
            acceptors.spawn(async move {
                if let Err(error) = accepting.await {
                    tracing::error!(%error, "a listener failed");
                }
            });
        }
        Ok(Self { engine, running, shards, drain, mqtt, acceptors, addresses })
    }

    /// The addresses that are listened on, in the order of the configuration, with the ports that
    /// the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The revision that the server is at.
    pub fn head(&self) -> Revision {
        self.engine.head()
    }

    /// The engine behind the doors.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes no more connections, ends the ones there are when they can, finishes every write that
    /// was accepted, and closes the journal.
    pub async fn stop(mut self) {
        self.drain.begin();
        self.mqtt.shut_down();
        self.shards.stop(GRACE).await;
        self.acceptors.shutdown().await;
        let running = self.running;
        // The last writes may still be on their way to the disk.
        if tokio::task::spawn_blocking(move || running.stop()).await.is_err() {
            tracing::error!("the engine did not stop");
        }
    }
}

fn listen(addresses: &[SocketAddr]) -> Result<Vec<Listener>, StartError> {
    addresses
        .iter()
        .map(|&address| Listener::bind(address).map_err(|source| StartError::Listen { address, source }))
        .collect()
}

fn start_shards(config: &Config, engine: &Engine, mqtt: &MqttDoor, drain: &Drain) -> io::Result<Shards> {
    let counters = Arc::new(dovetail_net::Counters::default());
    let options =
        dovetail_net::Options { connections: config.connections, ..dovetail_net::Options::default() };
    let http = dovetail_door_http::Settings {
        body_bytes: config.engine.payload_bytes,
        subprotocols: SUBPROTOCOLS,
        usual_subprotocol: Some(SUBPROTOCOL),
        origins: config.origins.clone(),
        ..dovetail_door_http::Settings::default()
    };
    let ws = WsDoor::new(dovetail_door_ws::Options {
        payload_bytes: config.engine.payload_bytes,
        ..dovetail_door_ws::Options::default()
    });
    let signalr = SignalRDoor::new(config.signalr.clone());
    let counted = metrics::Counted {
        net: Arc::clone(&counters),
        mqtt: mqtt.clone(),
        ws: ws.clone(),
        signalr: signalr.clone(),
    };
    let metrics = Box::new(move |text: &mut String| counted.append(text));
    let pages = Arc::new(Pages::default());
    let calls = dovetail_calls::Settings { payload_bytes: config.engine.payload_bytes };
    let http = dovetail_door_http::Shared::new(engine.clone(), http, Some(metrics));
    let (engine, draining, mqtt) = (engine.clone(), drain.draining(), mqtt.clone());
    let frame_bytes = config.engine.payload_bytes + limits::WEBSOCKET_FRAME_OVERHEAD;
    Shards::start(config.shards, options, drain.draining(), counters, move |index| {
        let shard = engine.shard();
        let desk = Desk::new(shard.clone(), Arc::clone(&pages), calls);
        let signalr = signalr.local(desk.clone(), draining.clone());
        let hub: Rc<dyn Mount> = Rc::new(Hub(signalr.clone()));
        let (http, drain) = (Arc::clone(&http), draining.clone());
        let http = dovetail_door_http::Door::mounting(shard.clone(), http, drain, Some(hub));
        let ws = ws.local(desk, draining.clone());
        let mqtt = mqtt.local(shard);
        if index == 0 {
            // One of them looks after the sessions of all.
            let mqtt = mqtt.clone();
            tokio::task::spawn_local(async move { mqtt.keep().await });
        }
        Doors { http, mqtt, ws, signalr, frame_bytes, draining: draining.clone() }
    })
}
