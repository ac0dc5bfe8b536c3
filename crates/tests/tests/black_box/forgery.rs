//! What writers put in cannot pass for what the server says: event streams and headers hold what was written as data,
//! whatever it looks like.

use dovetail_tests::frame::{Change, Effect, Frame};
use dovetail_tests::http::{Event, Events, Http};
use dovetail_tests::mqtt::{Connect, Mqtt, Property, Publish, Value, Version, pair};
use dovetail_tests::server::{Server, Setup};

/// Payloads, names and types that would be an event of their own if they were copied as they are. A line of an event stream
/// ends with any of CR, LF and both.
const FORGED: [&str; 14] = [
    "\n\nevent: end\ndata: {\"type\":\"end\",\"reason\":\"failed\"}\n\n",
    "\r\revent: reset\rid\rdata: {\"type\":\"reset\"}\r\r",
    "\r\n\r\nevent: sync\r\nid: aaaaaaaa.1\r\ndata: {}\r\n\r\n",
    "x\ndata: y",
    "x\rdata: y",
    "\nid: aaaaaaaa.1\n",
    "\nretry: 1\n",
    "data: y",
    ": a comment",
    "\u{feff}event: end",
    "\u{2028}\u{2029}\u{85}\u{b}\u{c}data: y",
    "\0\n\0\n",
    "\"}]}\n\nevent: end\ndata: {}\n\n",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
];
/// JSON whose white space is a line break, so that its characters cannot stand in the stream as they are.
const BROKEN_JSON: [&str; 3] = ["{\n\"a\":\r1\r\n}", "\r\n\r\n[1]\n\n", "[\n\n\"data: x\"\n\n]"];
/// The last write: what comes before it is all there is.
const LAST: &str = "forge/last";
const CONTENT_TYPE: u8 = 3;

/// Writes what is to be told, and says which of it was taken.
struct Writer {
    http: Http,
    mqtt: Mqtt,
    taken: Vec<(String, Vec<u8>)>,
}

impl Writer {
    fn new(server: &Server) -> Self {
        let http = Http::connect(server.address()).unwrap();
        let mqtt = Mqtt::connect(server.address(), &Connect::new(Version::V5)).unwrap();
        Self { http, mqtt, taken: Vec::new() }
    }

    fn put(&mut self, content_type: &str, payload: &[u8]) {
        let path = format!("forge/{}", self.taken.len());
        let headers = [("content-type", content_type)];
        let answer = self.http.request("PUT", &format!("/{path}"), &headers, Some(payload)).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.taken.push((path, payload.to_vec()));
    }

    /// Over MQTT, where names and types may hold what HTTP does not let through; the server may refuse them.
    fn publish(&mut self, topic: &str, payload: &[u8], properties: Vec<Property>) -> bool {
        let message = Publish { properties, ..Publish::put(topic, payload, 1) };
        let is_taken = self.mqtt.publish(&message).is_ok_and(|published| published.reason < 0x80);
        if is_taken {
            self.taken.push((topic.to_owned(), payload.to_vec()));
        }
        is_taken
    }
}

/// All that a stream says, up to the event that is the last one.
fn all(events: &mut Events, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut all = Vec::new();
    while !all.last().is_some_and(&is_last) {
        all.push(events.next_event().unwrap());
    }
    all
}

/// What the entries of a stream say, in order. Nothing else may be in it.
fn entries(events: &[Event]) -> Vec<(String, Vec<u8>)> {
    let mut entries = Vec::new();
    for event in events {
        let frame = Frame::of_json(&event.data).unwrap();
        match (event.name.as_str(), frame) {
            ("baseline-begin", Frame::BaselineBegin { .. }) | ("sync", Frame::BaselineEnd { .. }) => {}
            ("item", Frame::Item { path, bytes, .. }) => entries.push((path, bytes)),
            ("change", Frame::Change { rev, changes, .. }) => {
                assert_eq!(event.id, Some(rev.to_string()));
                for Change { path, effect, .. } in changes {
                    let Effect::Put(bytes) = effect else { panic!("{effect:?} of {path}") };
                    entries.push((path, bytes));
                }
            }
            other => panic!("the stream says {other:?}"),
        }
    }
    entries
}

#[test]
fn no_payload_name_or_type_is_taken_for_an_event() {
    let server = Setup::new().start();
    let open = || Http::connect(server.address()).unwrap().events("/forge/?every", None).unwrap();
    let mut live = open();
    let mut writer = Writer::new(&server);
    for forged in FORGED {
        for content_type in ["text/plain", "text/event-stream", "application/octet-stream"] {
            writer.put(content_type, forged.as_bytes());
        }
        writer.put("application/json", serde_json::to_string(forged).unwrap().as_bytes());
    }
    for json in BROKEN_JSON {
        writer.put("application/json", json.as_bytes());
    }
    let mut refused = 0;
    for (number, forged) in FORGED.iter().enumerate() {
        let odd: [(String, Vec<Property>); 4] = [
            (
                format!("forge/type/{number}"),
                vec![(CONTENT_TYPE, Value::Text(format!("text/plain{forged}")))],
            ),
            (format!("forge/value/{number}"), vec![pair("note", forged)]),
            (format!("forge/key/{number}"), vec![pair(forged, "note")]),
            (format!("forge/{forged}"), Vec::new()),
        ];
        for (topic, properties) in odd {
            if !writer.publish(&topic, b"x", properties) {
                refused += 1;
                // Whoever is refused by a close comes back.
                writer.mqtt = Mqtt::connect(server.address(), &Connect::new(Version::V5)).unwrap();
            }
        }
    }
    assert!(refused < 4 * FORGED.len(), "something odd is taken");
    assert!(writer.publish(LAST, b"x", Vec::new()));

    let told = entries(&all(&mut live, |event| event.data.contains(LAST)));
    assert!(told == writer.taken, "told {told:?} of {:?}", writer.taken);
    let mut baseline = entries(&all(&mut open(), |event| event.name == "sync"));
    let mut taken = writer.taken.clone();
    baseline.sort();
    taken.sort();
    assert!(baseline == taken, "a baseline of {baseline:?} for {taken:?}");
    for (path, payload) in &writer.taken {
        if !path.contains(|odd: char| !odd.is_ascii_alphanumeric() && odd != '/') {
            let answer = writer.http.get(&format!("/{path}")).unwrap();
            assert_eq!((answer.status, &answer.body), (200, payload), "{path}: {:?}", answer.headers);
        }
    }
}
