//! rumqttc, the client of most Rust programs, in both its versions, through the features of MQTT.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use dovetail_tests::http::Http;
use dovetail_tests::server::{Server, Setup};
use rumqttc::{QoS, v5};

const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a packet; the library takes few unless told.
const PACKET_BYTES: usize = 2 << 20;

/// A message as it arrived.
#[derive(Debug, PartialEq)]
struct Heard {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Option<v5::mqttbytes::v5::PublishProperties>,
}

/// What happened on a connection.
enum Happened {
    Connected {
        session_present: bool,
    },
    Heard(Heard),
    Subscribed,
    /// A message is written, for `QoS` 0 the end of it.
    Sent,
    /// A message is acknowledged to its end.
    Acknowledged,
    Other,
}

/// How to connect.
#[derive(Clone, Copy, Default)]
struct How<'a> {
    keeps: bool,
    will: Option<&'a str>,
}

/// One version of the library.
trait Library {
    fn connect(port: u16, name: &str, how: How<'_>) -> Self;
    fn publish(&self, topic: &str, payload: &[u8], qos: u8, retain: bool);
    fn subscribe(&self, filter: &str, qos: u8);
    fn disconnect(&self);
    fn next(&mut self) -> Happened;
}

struct Three(rumqttc::Client, rumqttc::Connection);

impl Library for Three {
    fn connect(port: u16, name: &str, how: How<'_>) -> Self {
        let mut options = rumqttc::MqttOptions::new(name, "127.0.0.1", port);
        options.set_clean_session(!how.keeps).set_max_packet_size(PACKET_BYTES, PACKET_BYTES);
        if let Some(topic) = how.will {
            options.set_last_will(rumqttc::LastWill::new(topic, "gone", QoS::AtLeastOnce, true));
        }
        let (client, connection) = rumqttc::Client::new(options, 10);
        Self(client, connection)
    }

    fn publish(&self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        self.0.publish(topic, rumqttc::qos(qos).unwrap(), retain, payload).unwrap();
    }

    fn subscribe(&self, filter: &str, qos: u8) {
        self.0.subscribe(filter, rumqttc::qos(qos).unwrap()).unwrap();
    }

    fn disconnect(&self) {
        self.0.disconnect().unwrap();
    }

    fn next(&mut self) -> Happened {
        use rumqttc::{Event, Outgoing, Packet};
        match self.1.recv_timeout(PATIENCE).unwrap().unwrap() {
            Event::Incoming(Packet::ConnAck(ack)) => {
                Happened::Connected { session_present: ack.session_present }
            }
            Event::Incoming(Packet::Publish(message)) => Happened::Heard(Heard {
                topic: message.topic,
                payload: message.payload.to_vec(),
                qos: message.qos as u8,
                retain: message.retain,
                properties: None,
            }),
            Event::Incoming(Packet::SubAck(_)) => Happened::Subscribed,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Happened::Acknowledged,
            Event::Outgoing(Outgoing::Publish(_) | Outgoing::Disconnect) => Happened::Sent,
            _ => Happened::Other,
        }
    }
}

struct Five(v5::Client, v5::Connection);

impl Library for Five {
    fn connect(port: u16, name: &str, how: How<'_>) -> Self {
        let mut options = v5::MqttOptions::new(name, "127.0.0.1", port);
        options.set_clean_start(!how.keeps).set_max_packet_size(Some(PACKET_BYTES as u32));
        options.set_session_expiry_interval(how.keeps.then_some(600));
        if let Some(topic) = how.will {
            let will =
                v5::mqttbytes::v5::LastWill::new(topic, "gone", v5::mqttbytes::QoS::AtLeastOnce, true, None);
            options.set_last_will(will);
        }
        let (client, connection) = v5::Client::new(options, 10);
        Self(client, connection)
    }

    fn publish(&self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        self.0.publish(topic, v5::mqttbytes::qos(qos).unwrap(), retain, payload.to_vec()).unwrap();
    }

    fn subscribe(&self, filter: &str, qos: u8) {
        self.0.subscribe(filter, v5::mqttbytes::qos(qos).unwrap()).unwrap();
    }

    fn disconnect(&self) {
        self.0.disconnect().unwrap();
    }

    fn next(&mut self) -> Happened {
        use rumqttc::Outgoing;
        use v5::{Event, mqttbytes::v5::Packet};
        match self.1.recv_timeout(PATIENCE).unwrap().unwrap() {
            Event::Incoming(Packet::ConnAck(ack)) => {
                Happened::Connected { session_present: ack.session_present }
            }
            Event::Incoming(Packet::Publish(message)) => Happened::Heard(Heard {
                topic: String::from_utf8(message.topic.to_vec()).unwrap(),
                payload: message.payload.to_vec(),
                qos: message.qos as u8,
                retain: message.retain,
                properties: message.properties,
            }),
            Event::Incoming(Packet::SubAck(_)) => Happened::Subscribed,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Happened::Acknowledged,
            Event::Outgoing(Outgoing::Publish(_) | Outgoing::Disconnect) => Happened::Sent,
            _ => Happened::Other,
        }
    }
}

/// A client, and what it heard while it waited for something else. Dropped, it is gone without a word.
struct Client<L> {
    library: L,
    heard: VecDeque<Heard>,
    session_present: bool,
}

impl<L: Library> Client<L> {
    fn connect(server: &Server, name: &str, how: How<'_>) -> Self {
        let library = L::connect(server.address().port(), name, how);
        let mut client = Self { library, heard: VecDeque::new(), session_present: false };
        client.session_present = client.until(|happened| match happened {
            Happened::Connected { session_present } => Some(*session_present),
            _ => None,
        });
        client
    }

    fn until<T>(&mut self, mut wanted: impl FnMut(&Happened) -> Option<T>) -> T {
        loop {
            let happened = self.library.next();
            let found = wanted(&happened);
            if let Happened::Heard(message) = happened {
                self.heard.push_back(message);
            }
            if let Some(found) = found {
                return found;
            }
        }
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        self.library.publish(topic, payload, qos, retain);
        self.until(|happened| match happened {
            Happened::Acknowledged => Some(()),
            Happened::Sent if qos == 0 => Some(()),
            _ => None,
        });
    }

    fn subscribe(&mut self, filter: &str, qos: u8) {
        self.library.subscribe(filter, qos);
        self.until(|happened| matches!(happened, Happened::Subscribed).then_some(()));
    }

    fn next(&mut self) -> Heard {
        while self.heard.is_empty() {
            self.until(|happened| matches!(happened, Happened::Heard(_)).then_some(()));
        }
        self.heard.pop_front().unwrap()
    }

    #[track_caller]
    fn expect(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) -> Heard {
        let heard = self.next();
        let found = (heard.topic.as_str(), heard.payload == payload, heard.qos, heard.retain);
        assert_eq!(found, (topic, true, qos, retain));
        heard
    }

    fn leave(mut self) {
        self.library.disconnect();
        self.until(|happened| matches!(happened, Happened::Sent).then_some(()));
    }
}

/// All that every version can do.
fn does_all<L: Library>(server: &Server, root: &str) {
    every_quality::<L>(server, &format!("{root}/qos"));
    retained::<L>(server, &format!("{root}/retained"));
    wills::<L>(server, &format!("{root}/will"));
    sessions::<L>(server, &format!("{root}/session"));
    groups::<L>(server, &format!("{root}/share"));
}

fn every_quality<L: Library>(server: &Server, topic: &str) {
    let mut writer = Client::<L>::connect(server, "writer", How::default());
    let mut reader = Client::<L>::connect(server, "reader", How::default());
    reader.subscribe(&format!("{topic}/#"), 2);
    let payloads = [Vec::new(), b"x".to_vec(), vec![7; 1_000_000]];
    for qos in 0..=2 {
        for payload in &payloads {
            writer.publish(topic, payload, qos, false);
            reader.expect(topic, payload, qos, false);
        }
    }
    writer.leave();
    reader.leave();
}

fn retained<L: Library>(server: &Server, topic: &str) {
    let mut http = Http::connect(server.address()).unwrap();
    let mut writer = Client::<L>::connect(server, "writer", How::default());
    writer.publish(topic, b"one", 1, true);
    assert_eq!(http.get(&format!("/{topic}")).unwrap().text(), "one");
    let mut reader = Client::<L>::connect(server, "reader", How::default());
    reader.subscribe(topic, 1);
    reader.expect(topic, b"one", 1, true);
    writer.publish(topic, b"", 1, true);
    reader.expect(topic, b"", 1, false);
    assert_eq!(http.get(&format!("/{topic}")).unwrap().status, 404);
}

fn wills<L: Library>(server: &Server, topic: &str) {
    let (polite, mortal) = (format!("{topic}/polite"), format!("{topic}/mortal"));
    let mut reader = Client::<L>::connect(server, "reader", How::default());
    reader.subscribe(&format!("{topic}/#"), 1);
    Client::<L>::connect(server, "polite", How { will: Some(&polite), ..How::default() }).leave();
    drop(Client::<L>::connect(server, "mortal", How { will: Some(&mortal), ..How::default() }));
    reader.expect(&mortal, b"gone", 1, false);
    let mut http = Http::connect(server.address()).unwrap();
    assert_eq!(http.get(&format!("/{polite}")).unwrap().status, 404);
}

fn sessions<L: Library>(server: &Server, topic: &str) {
    let sleeper = || Client::<L>::connect(server, topic, How { keeps: true, ..How::default() });
    let mut writer = Client::<L>::connect(server, "writer", How::default());
    let mut first = sleeper();
    assert!(!first.session_present);
    first.subscribe(topic, 1);
    first.leave();
    for payload in ["one", "two"] {
        writer.publish(topic, payload.as_bytes(), 1, false);
    }
    let mut second = sleeper();
    assert!(second.session_present);
    second.expect(topic, b"one", 1, false);
    second.expect(topic, b"two", 1, false);
    drop(second);
    writer.publish(topic, b"three", 2, false);
    let mut third = sleeper();
    assert!(third.session_present);
    third.subscribe(topic, 1);
    // What was not acknowledged before the cut may come again.
    while third.next().payload != b"three" {}
}

fn groups<L: Library>(server: &Server, topic: &str) {
    let mut members = ["first", "second"].map(|name| Client::<L>::connect(server, name, How::default()));
    for member in &mut members {
        member.subscribe(&format!("$share/crew/{topic}"), 1);
    }
    let mut writer = Client::<L>::connect(server, "writer", How::default());
    let jobs: BTreeSet<Vec<u8>> = (0..12u8).map(|number| vec![number]).collect();
    for job in &jobs {
        writer.publish(topic, job, 1, false);
    }
    // They take turns, so each has half.
    let done: Vec<_> =
        members.iter_mut().flat_map(|member| [(); 6].map(|()| member.next().payload)).collect();
    assert_eq!(done.iter().cloned().collect::<BTreeSet<_>>(), jobs);
}

#[test]
fn rumqttc_does_all_that_it_can() {
    let server = Setup::new().start();
    does_all::<Three>(&server, "three");
    does_all::<Five>(&server, "five");
}

#[test]
fn rumqttc_uses_what_came_with_mqtt_5() {
    let server = Setup::new().start();
    let mut writer = Client::<Five>::connect(&server, "writer", How::default());
    let mut reader = Client::<Five>::connect(&server, "reader", How::default());
    reader.subscribe("p/#", 1);
    let wanted = v5::mqttbytes::v5::PublishProperties {
        message_expiry_interval: Some(100),
        topic_alias: Some(3),
        response_topic: Some("p/answers".to_owned()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: [("a", "1"), ("a", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        content_type: Some("text/plain".to_owned()),
        ..Default::default()
    };
    for topic in ["p/a", ""] {
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        writer.library.0.publish_with_properties(topic, qos, true, "x", wanted.clone()).unwrap();
        writer.until(|happened| matches!(happened, Happened::Acknowledged).then_some(()));
        let heard = reader.expect("p/a", b"x", 1, false).properties.unwrap();
        assert!((90..=100).contains(&heard.message_expiry_interval.unwrap()), "{heard:?}");
        let same = v5::mqttbytes::v5::PublishProperties {
            message_expiry_interval: wanted.message_expiry_interval,
            topic_alias: wanted.topic_alias,
            ..heard
        };
        assert_eq!(same, wanted);
    }
}
