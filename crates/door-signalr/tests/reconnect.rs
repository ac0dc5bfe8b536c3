//! Stateful reconnect: sockets that break at any place, and shards that they come back to.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use std::collections::VecDeque;
use std::rc::Rc;

use common::{Client, World, invocation, pass, said, script, stream, with};
use dovetail_door_signalr::Options;
use futures_util::SinkExt as _;
use serde_json::{Value, json};

const HANDSHAKE: &str = "{\"protocol\":\"json\",\"version\":2}\u{1e}";

/// A client that goes on with another socket, as those of Microsoft do.
struct Lasting {
    world: Rc<World>,
    query: String,
    client: Client,
    turn: usize,
    /// Messages that the server has not acknowledged, and the number of the first.
    kept: VecDeque<String>,
    first: u64,
    /// What was received: the number of the next message, and the highest that came.
    next: u64,
    received: u64,
    /// After a reconnect, until the server says where it goes on.
    waits: bool,
}

impl Lasting {
    async fn begin(world: &Rc<World>) -> Self {
        let token = world.negotiate("&useStatefulReconnect=true").await;
        let query = format!("id={token}");
        let mut client = world.socket(0, Some(&query));
        client.say_text(HANDSHAKE).await;
        assert_eq!(client.next().await, json!({}));
        let (world, kept) = (Rc::clone(world), VecDeque::new());
        Self { world, query, client, turn: 0, kept, first: 1, next: 1, received: 0, waits: false }
    }

    /// Sends a message, which may get lost now.
    async fn say(&mut self, message: Value) {
        let text = said(&message);
        self.kept.push_back(text.clone());
        let _ = self.client.socket.send(tokio_websockets::Message::text(text)).await;
    }

    /// Loses the socket as it is, and comes back on another shard with one through which `bytes` fit at once.
    async fn cut(&mut self, bytes: usize) {
        self.turn += 1;
        // What was on its way in either direction is gone with it.
        self.client = self.world.socket_of(self.turn % 2, Some(&self.query), bytes);
        self.waits = true;
        let again: String = self.kept.iter().cloned().collect();
        let text = said(&json!({"type": 9, "sequenceId": self.first})) + &again;
        let _ = self.client.socket.send(tokio_websockets::Message::text(text)).await;
    }

    /// The next message that was not received before; `None` when the socket is lost.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let message = self.client.any().await?;
            match message["type"].as_u64().unwrap() {
                9 => {
                    let sequence = message["sequenceId"].as_u64().unwrap();
                    assert!(sequence <= self.next, "a gap: {message}, and {} is next", self.next);
                    self.next = sequence;
                    self.waits = false;
                }
                _ if self.waits => panic!("{message} came before it was said where it goes on"),
                6 => {}
                8 => {
                    let sequence = message["sequenceId"].as_u64().unwrap();
                    while self.first <= sequence {
                        self.kept.pop_front().unwrap();
                        self.first += 1;
                    }
                }
                7 => panic!("{message}"),
                _ => {
                    let number = self.next;
                    self.next += 1;
                    if number > self.received {
                        self.received = number;
                        return Some(message);
                    }
                }
            }
        }
    }

    async fn acknowledge(&mut self) {
        let text = said(&json!({"type": 8, "sequenceId": self.received}));
        let _ = self.client.socket.send(tokio_websockets::Message::text(text)).await;
    }
}

#[test]
fn cuts_at_any_place_lose_nothing_and_double_nothing() {
    for seed in 0..4 {
        cut_at_random(seed);
    }
}

fn cut_at_random(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    script(|world| async move {
        let mut lasting = Lasting::begin(&world).await;
        lasting.say(stream("w", "Watch", json!(["n", {"since": "now", "mode": "every"}]))).await;
        let (mut asked, mut answered, mut seen) = (0, 0, 0);
        while seen < 400 {
            if asked < 400 && asked < answered + 30 {
                lasting.say(invocation(&asked.to_string(), "Put", json!(["n", asked]))).await;
                asked += 1;
            }
            if random.u8(..) < 25 {
                lasting.cut(random.usize(64..4096)).await;
            }
            if random.u8(..) < 60 {
                lasting.acknowledge().await;
            }
            if asked < 400 && random.bool() {
                continue;
            }
            let Some(message) = lasting.next().await else {
                lasting.cut(random.usize(64..4096)).await;
                continue;
            };
            if message["type"] == 3 {
                assert_eq!(message["invocationId"], answered.to_string());
                assert!(message["result"]["effect"].is_string(), "{message}");
                answered += 1;
            }
            for change in message["item"]["changes"].as_array().into_iter().flatten() {
                assert_eq!(change["value"], seen, "{message}");
                seen += 1;
            }
        }
        assert!(world.counts().reconnects > 5);
        // Each put was done once.
        assert_eq!(world.engine.head().number, 400);
        assert_eq!(world.counts().websockets, 1);
    });
}

#[test]
fn a_connection_waits_a_while_for_its_next_socket() {
    with(Options::default(), true, |world| async move {
        let mut lasting = Lasting::begin(&world).await;
        for _ in 0..3 {
            let nobody = world.socket(0, None);
            drop(std::mem::replace(&mut lasting.client, nobody));
            pass(14).await;
            assert!(world.counts().websockets >= 1);
            lasting.cut(4096).await;
            lasting.say(invocation("g", "Get", json!(["nothing"]))).await;
            assert!(lasting.next().await.unwrap()["error"].is_string());
        }
        let nobody = world.socket(0, None);
        drop(std::mem::replace(&mut lasting.client, nobody));
        pass(16).await;
        let refused = world.shards[0].refuse_socket(Some(&lasting.query)).unwrap();
        assert_eq!(refused.status(), 404);
    });
}

#[test]
fn a_client_that_does_not_acknowledge_is_told_no_more_until_it_does() {
    let options = Options { resend_bytes: 4_000, ..Options::default() };
    with(options, false, |world| async move {
        let mut lasting = Lasting::begin(&world).await;
        lasting.say(stream("w", "Watch", json!(["n", {"since": "now", "mode": "every"}]))).await;
        assert_eq!(lasting.next().await.unwrap()["item"]["type"], "progress");
        let mut writer = world.connect().await;
        for n in 0..100 {
            writer.result("Put", json!(["n", n])).await;
        }
        let (mut seen, mut most) = (0, 0);
        while seen < 100 {
            // Whatever comes without an acknowledgement is bounded; the answer to a call tells where that is.
            let mut came = 0;
            lasting.say(invocation("g", "Get", json!(["n"]))).await;
            lasting.acknowledge().await;
            loop {
                let message = lasting.next().await.unwrap();
                if message["type"] == 3 {
                    break;
                }
                came += message.to_string().len();
                seen += message["item"]["changes"].as_array().map_or(0, |changes| changes.len() as u64);
            }
            most = most.max(came);
        }
        assert!((1_000..12_000).contains(&most), "{most}");
    });
}

#[test]
fn whoever_counts_wrong_is_told_so() {
    script(|world| async move {
        let mut lasting = Lasting::begin(&world).await;
        lasting.client.say(json!({"type": 8, "sequenceId": 7})).await;
        let close = lasting.client.next().await;
        assert_eq!(close["type"], 7, "{close}");
        let mut lasting = Lasting::begin(&world).await;
        lasting.first = 9;
        lasting.cut(4096).await;
        assert_eq!(lasting.client.next().await["type"], 9);
        let close = lasting.client.next().await;
        assert_eq!(close["type"], 7, "{close}");
        // Without the newer version there is nothing to go on with: the connection ends with its socket.
        let query = format!("id={}", world.negotiate("&useStatefulReconnect=true").await);
        let mut client = world.socket(0, Some(&query));
        client.shake_hands().await;
        drop(client);
        world.until(|world| world.shards[0].refuse_socket(Some(&query)).is_some()).await;
    });
}
