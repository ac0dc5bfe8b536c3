//! The client over real sockets, against servers that follow a script.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::sync::{Arc, Mutex};

use dovetail_client::{Client, Error, Item, Options, ProblemType, Server, Start, Via, Watch, WatchOptions};
use dovetail_model::{Filter, Representation, Revision, Topic};
use dovetail_mqtt_proto::{
    Ack, ConnAck, Decoder, Delivery, Packet, PacketId, Properties, PropertiesBuf, Property, Publish,
    ReasonCode, Role, SubAck, Text, Version,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const FOUND: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\
                     etag: \"k3f9x2ab.4\"\r\ndovetail-revision: k3f9x2ab.9\r\n\r\n21";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// What a connection does with one request.
#[derive(Clone)]
enum Answer {
    /// Answers and stays open.
    Keep(String),
    /// Answers, perhaps nothing, and closes.
    Close(String),
}

/// Serves connections one after the other; each takes requests while its answers last. Gives the address and
/// the heads of the requests.
async fn http_server(connections: Vec<Vec<Answer>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        for answers in connections {
            let (mut socket, _) = listener.accept().await.unwrap();
            for answer in answers {
                let Some(head) = read_request(&mut socket).await else { break };
                seen.lock().unwrap().push(head);
                let (text, stays) = match answer {
                    Answer::Keep(text) => (text, true),
                    Answer::Close(text) => (text, false),
                };
                socket.write_all(text.as_bytes()).await.unwrap();
                if !stays {
                    break;
                }
            }
        }
    });
    (address, heads)
}

async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(request[..end].to_vec()).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if request.len() >= end + 4 + length.map_or(0, |text| text.parse().unwrap()) {
                return Some(head);
            }
        }
        if socket.read_buf(&mut request).await.unwrap() == 0 {
            return None;
        }
    }
}

fn topic() -> Topic {
    Topic::new("a/b").unwrap()
}

fn revision(number: u64) -> Revision {
    format!("k3f9x2ab.{number}").parse().unwrap()
}

fn keep(text: &str) -> Answer {
    Answer::Keep(text.to_owned())
}

fn close(text: &str) -> Answer {
    Answer::Close(text.to_owned())
}

#[tokio::test]
async fn a_connection_is_kept_and_its_bytes_are_counted() {
    let (address, heads) = http_server(vec![vec![keep(FOUND), keep(FOUND)]]).await;
    let client = Client::new(&address).unwrap();
    for _ in 0..2 {
        let found = client.get(&topic()).await.unwrap().unwrap();
        assert_eq!((found.revision, found.head), (revision(4), revision(9)));
        assert_eq!(&found.resource.representation.payload[..], b"21");
    }
    let heads = heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.starts_with("get /a/b http/1.1")), "{heads:?}");
    let asked: usize = heads.iter().map(|head| head.len() + 4).sum();
    assert_eq!(client.traffic().sent(), asked as u64);
    assert_eq!(client.traffic().received(), 2 * FOUND.len() as u64);
}

#[tokio::test]
async fn reads_get_over_a_kept_connection_that_was_closed() {
    let (address, heads) = http_server(vec![vec![keep(FOUND), close("")], vec![keep(FOUND)]]).await;
    let client = Client::new(&address).unwrap();
    client.get(&topic()).await.unwrap().unwrap();
    client.get(&topic()).await.unwrap().unwrap();
    assert_eq!(heads.lock().unwrap().len(), 3, "the second read was made twice");
}

#[tokio::test]
async fn a_write_that_was_sent_is_never_repeated() {
    let (address, heads) = http_server(vec![vec![keep(FOUND), close("")], vec![keep(FOUND)]]).await;
    let client = Client::new(&address).unwrap();
    client.get(&topic()).await.unwrap().unwrap();
    let write = client.put(&topic(), Representation::copied(b"1", None), &Options::default()).await;
    assert!(matches!(write, Err(Error::Lost { .. })), "{write:?}");
    assert_eq!(heads.lock().unwrap().iter().filter(|head| head.starts_with("put")).count(), 1);
}

#[tokio::test]
async fn conditions_go_where_they_belong() {
    let created = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\ndovetail-revision: k3f9x2ab.5\r\n\r\n";
    let (address, heads) = http_server(vec![vec![keep(created)]]).await;
    let client = Client::new(&address).unwrap();
    let options = Options::default().if_match(revision(4)).idempotency_key("once");
    let options = options.time_to_live(std::time::Duration::from_mins(1));
    let contents = Representation::copied(b"1", Some("application/json".into()));
    let written = client.put(&topic(), contents, &options).await.unwrap();
    assert_eq!((written.revision, written.is_new), (revision(5), true));
    let head = heads.lock().unwrap()[0].clone();
    for line in [
        "if-match: \"k3f9x2ab.4\"",
        "idempotency-key: once",
        "dovetail-ttl: 60",
        "content-type: application/json",
    ] {
        assert!(head.lines().any(|said| said == line), "{line} in {head}");
    }
}

#[tokio::test]
async fn refusals_say_what_the_server_says() {
    let document =
        r#"{"type":"urn:dovetail:problem:precondition-failed","detail":"x","current":"k3f9x2ab.7"}"#;
    let problem = format!(
        "HTTP/1.1 412 No\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{document}",
        document.len()
    );
    let strange = "HTTP/1.1 502 Bad Gateway\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let (address, _) = http_server(vec![vec![keep(&problem), keep(strange)]]).await;
    let client = Client::new(&address).unwrap();
    let error = client.get(&topic()).await.unwrap_err();
    let said = error.problem().unwrap();
    assert_eq!((said.kind, said.current), (ProblemType::PreconditionFailed, Some(revision(7))));
    assert!(!error.is_passing());
    let error = client.get(&topic()).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 502, retry_after: Some(_) }), "{error:?}");
    assert!(error.is_passing());
}

fn change(after: u64, rev: u64) -> String {
    let (after, rev) = (revision(after), revision(rev));
    format!(
        "event: change\nid: {rev}\ndata: {{\"type\":\"change\",\"after\":\"{after}\",\"rev\":\"{rev}\",\"changes\":[]}}\n\n"
    )
}

async fn positions(watch: &mut Watch, until: u64) -> Vec<u64> {
    let mut told = Vec::new();
    while told.last() != Some(&until) {
        if let Item::Change { rev, .. } = watch.next().await.unwrap() {
            told.push(rev.number);
        }
    }
    told
}

#[tokio::test]
async fn an_event_stream_that_is_cut_within_an_event_goes_on_before_it() {
    let (first, second) = (change(5, 6), change(6, 7));
    let cut = format!("{STREAM}retry: 1000\n\n:\n\n{first}{}", &second[..second.len() - 3]);
    let rest = format!("{STREAM}{second}{}", change(7, 9));
    let (address, heads) = http_server(vec![vec![close(&cut)], vec![close(&rest)]]).await;
    let client = Client::new(&address).unwrap();
    let options = WatchOptions { start: Start::After(revision(5)), every: true, ..WatchOptions::default() };
    let mut watch = client.watch(Filter::new("a/#").unwrap(), Via::Sse, options);
    assert_eq!(positions(&mut watch, 9).await, [6, 7, 9]);
    let heads = heads.lock().unwrap();
    for (head, position) in heads.iter().zip(["k3f9x2ab.5", "k3f9x2ab.6"]) {
        assert!(head.starts_with("get /a/?every http"), "{head}");
        assert!(head.contains(&format!("last-event-id: {position}")), "{head}");
    }
}

/// An MQTT server that takes one subscription on each connection, says `messages` and closes. Gives what the
/// subscriptions said about `since`.
async fn mqtt_server(connections: Vec<(ReasonCode, Vec<Publish>)>) -> (Server, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let since = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&since);
    tokio::spawn(async move {
        for (reason, messages) in connections {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut decoder = Decoder::new(Role::Server, 1 << 20);
            let mut out = Vec::new();
            let mut left = messages.iter().filter(|m| m.delivery != Delivery::AtMostOnce).count();
            let mut is_served = false;
            while !is_served || left > 0 {
                let mut input = vec![0; 1_024];
                let count = socket.read(&mut input).await.unwrap();
                let mut input = &input[..count];
                while let Some(packet) = decoder.next(&mut input).unwrap() {
                    let properties = Properties::NONE;
                    match packet {
                        Packet::Connect(_) => {
                            let accept =
                                ConnAck { session_present: false, reason: ReasonCode::Success, properties };
                            Packet::ConnAck(accept).write(&mut out, Version::V5).unwrap();
                        }
                        Packet::Subscribe(subscribe) => {
                            let said = subscribe.properties.user().map(|(_, value)| value.to_owned());
                            asked.lock().unwrap().extend(said);
                            let answer = SubAck { id: subscribe.id, properties, reasons: vec![reason] };
                            Packet::SubAck(answer).write(&mut out, Version::V5).unwrap();
                            for message in &messages {
                                Packet::Publish(message.clone()).write(&mut out, Version::V5).unwrap();
                            }
                            is_served = true;
                        }
                        Packet::PubAck(Ack { .. }) => left -= 1,
                        other => panic!("{other:?}"),
                    }
                }
                socket.write_all(&out).await.unwrap();
                out.clear();
            }
        }
    });
    (server, since)
}

fn message(id: u16, after: u64, rev: u64, more: bool) -> Publish {
    let mut properties = PropertiesBuf::new();
    let (after, rev) = (revision(after).to_string(), revision(rev).to_string());
    let more = more.then_some(("more", "1"));
    for (name, value) in [("rev", &*rev), ("after", &after)].into_iter().chain(more).chain([("op", "put")]) {
        properties.push(Property::User(name, value)).unwrap();
    }
    Publish {
        dup: false,
        retain: false,
        delivery: PacketId::new(id).map_or(Delivery::AtMostOnce, Delivery::AtLeastOnce),
        topic: Text::new("a/b").unwrap(),
        properties: properties.into(),
        payload: "1".into(),
    }
}

#[tokio::test]
async fn a_tracked_subscription_that_is_cut_within_a_commit_goes_on_before_it() {
    let first = vec![message(1, 5, 6, false), message(2, 6, 7, true)];
    let second = vec![message(1, 6, 7, true), message(2, 6, 7, false), message(3, 7, 8, false)];
    let granted = ReasonCode::from_u8(1).unwrap();
    let (server, since) = mqtt_server(vec![(granted, first), (granted, second)]).await;
    let client = Client::new("http://127.0.0.1:9").unwrap();
    let options = WatchOptions { start: Start::After(revision(5)), every: true, ..WatchOptions::default() };
    let mut watch = client.watch(Filter::new("a/#").unwrap(), Via::Mqtt(server), options);
    assert_eq!(positions(&mut watch, 8).await, [6, 7, 8]);
    assert_eq!(*since.lock().unwrap(), ["k3f9x2ab.5", "k3f9x2ab.6"]);
    assert!(client.traffic().received() > 0);
}

#[tokio::test]
async fn a_subscription_that_is_not_allowed_is_an_error() {
    let (server, since) = mqtt_server(vec![(ReasonCode::NotAuthorized, Vec::new())]).await;
    let client = Client::new("http://127.0.0.1:9").unwrap();
    let mut watch = client.watch(Filter::everything(), Via::Mqtt(server), WatchOptions::default());
    let refused = watch.next().await.unwrap_err();
    assert!(matches!(refused, Error::Refused { code: ReasonCode::NotAuthorized, .. }), "{refused:?}");
    assert_eq!(*since.lock().unwrap(), [""], "a baseline is asked for");
}
