//! What is written is read back, exactly, and always stays on its line.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::sync::Arc;

use bytes::Bytes;
use dovetail_model::{
    Change, DeleteCause, Epoch, Event, Metadata, Qos, Representation, Resource, Revision, Tombstone, Topic,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::batch::{self, Answer, Operation, Outcome, Tags};
use crate::decode::{self, Entry, Frame};
use crate::document::{self, Changes, Collection, CollectionWriter};
use crate::problem::{Problem, ProblemType};
use crate::{encode, sse, time};

fn topics() -> impl Strategy<Value = Topic> {
    "[^\\x00+#]{1,20}".prop_map(|text| Topic::new(&text).unwrap())
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        "\\PC{0,20}".prop_map(String::into_bytes),
        "[ \\r\\n]{0,2}[{\\[][ \\r\\n]?[}\\]][ \\r\\n]{0,2}".prop_map(String::into_bytes),
        any::<f64>().prop_map(|number| number.to_string().into_bytes()),
        any::<String>().prop_map(|text| serde_json::to_vec(&[text]).unwrap()),
        "\\{\\r?\\n? ?\"a\": ?[0-9]{1,30}\n?\\}".prop_map(String::into_bytes),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let pairs = vec(any::<(String, String)>(), 0..3);
    (any::<bool>(), option::of(topics()), option::of(vec(any::<u8>(), 0..8)), pairs).prop_map(
        |(is_text, response_topic, data, pairs)| Metadata {
            is_text,
            response_topic,
            correlation_data: data.map(Bytes::from),
            user_properties: pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
        },
    )
}

fn representations() -> impl Strategy<Value = Representation> {
    let types = prop_oneof![
        Just(Some("application/json".to_owned())),
        Just(Some("application/x+json; v=1".to_owned())),
        option::of("\\PC{1,12}"),
    ];
    (payloads(), types, option::of(metadata())).prop_map(|(payload, content_type, metadata)| Representation {
        payload: payload.into(),
        content_type: content_type.map(Into::into),
        // Metadata that says nothing is not sent, and so does not come back.
        metadata: metadata.filter(|said| !said.is_empty()).map(Arc::new),
        ..Representation::default()
    })
}

fn changes() -> impl Strategy<Value = (u64, Change)> {
    let at = 0..=time::LAST;
    (topics(), any::<u64>(), at.clone(), option::of(at), representations(), 0..4u8).prop_map(
        |(topic, revision, at, expires_at, representation, kind)| {
            let change = match kind {
                0 => Change::Put(Arc::new(Resource {
                    topic,
                    revision,
                    modified_at: at,
                    expires_at,
                    representation,
                })),
                1 => {
                    let published_at = at;
                    Change::Event(Arc::new(Event { topic, published_at, expires_at, representation }))
                }
                _ => Change::Delete(Arc::new(Tombstone {
                    topic,
                    revision,
                    deleted_at: at,
                    cause: if kind == 2 { DeleteCause::Request } else { DeleteCause::Expiry },
                    qos: Qos::default(),
                })),
            };
            (revision, change)
        },
    )
}

fn revisions() -> impl Strategy<Value = Revision> {
    any::<(u64, u64)>().prop_map(|(epoch, number)| Epoch::from_random(epoch).at(number))
}

fn entries(changes: &[(u64, Change)]) -> Vec<Entry> {
    changes.iter().map(|(number, change)| Entry { number: *number, change: change.clone() }).collect()
}

fn borrowed(changes: &[(u64, Change)]) -> impl Iterator<Item = (u64, &Change)> {
    changes.iter().map(|(number, change)| (*number, change))
}

proptest! {
    #[test]
    fn changes_come_back(after in revisions(), number: u64, list in vec(changes(), 0..4)) {
        let rev = after.epoch.at(number);
        let mut line = Vec::new();
        encode::change(&mut line, after, rev, borrowed(&list));
        prop_assert!(!line.iter().any(|b| matches!(b, b'\n' | b'\r')));
        let changes = entries(&list);
        prop_assert_eq!(decode::frame(&line).unwrap(), Frame::Change { after, rev, changes });
        // Any JSON parser reads it, not only ours.
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
    }

    #[test]
    fn catch_up_documents_come_back(after in revisions(), number: u64, more: bool, list in vec(changes(), 0..4)) {
        let rev = after.epoch.at(number);
        let mut text = Vec::new();
        document::write_changes(&mut text, "a/#", (after, rev), more, borrowed(&list));
        let changes = entries(&list);
        let expected = Changes { filter: "a/#".into(), after, rev, more, changes };
        prop_assert_eq!(Changes::decode(&text).unwrap(), expected);
    }

    #[test]
    fn collections_and_items_come_back(rev in revisions(), list in vec(changes(), 0..6), next in option::of("\\PC{0,9}")) {
        let items: Vec<Arc<Resource>> = list.into_iter().filter_map(|(_, change)| match change {
            Change::Put(resource) => Some(resource),
            _ => None,
        }).collect();
        let mut text = Vec::new();
        let mut writer = CollectionWriter::begin(&mut text, "\"+/#", rev);
        for resource in &items {
            writer.item(&mut text, resource);
            let mut line = Vec::new();
            encode::item(&mut line, rev.epoch, resource);
            let frame = Frame::Item { epoch: rev.epoch, resource: Arc::clone(resource) };
            prop_assert_eq!(decode::frame(&line).unwrap(), frame);
        }
        writer.end(&mut text, next.as_deref());
        let expected = Collection { filter: "\"+/#".into(), rev, items, next: next.map(Into::into) };
        prop_assert_eq!(Collection::decode(&text).unwrap(), expected);
    }

    #[test]
    fn batches_come_back(list in vec((topics(), representations(), 0..4u8, option::of(any::<u64>()), revisions()), 0..4)) {
        let writes: Vec<batch::Write> = list.into_iter().map(|(path, representation, kind, ttl_s, rev)| batch::Write {
            path,
            operation: match kind {
                0 => Operation::Put(representation),
                1 => Operation::Patch(Representation { content_type: Some("application/json-patch+json".into()), ..representation }),
                                _ => Operation::Delete,
            },
            ttl_s,
            if_match: ttl_s.map(|n| if n % 2 == 0 { Tags::Any } else { Tags::List(vec![rev, rev]) }),
            if_none_match: ttl_s.map(|n| if n % 3 == 0 { Tags::Any } else { Tags::List(vec![rev]) }),
        }).collect();
        let mut text = Vec::new();
        batch::encode(&mut text, &writes);
        prop_assert_eq!(batch::decode(&text).unwrap(), writes);
    }

    #[test]
    fn event_streams_come_back_from_pieces_of_any_size(list in vec((revisions(), vec(changes(), 0..3)), 0..4), cut in 1..50usize) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (rev, list) in &list {
            let mut line = Vec::new();
            encode::change(&mut line, *rev, *rev, borrowed(list));
            sse::event(&mut stream, sse::name::CHANGE, sse::Position::At(*rev), |out| {
                out.extend_from_slice(&line);
            });
            expected.push(sse::Event {
                name: "change".into(),
                last_id: rev.to_string().into(),
                data: String::from_utf8(line).unwrap().into(),
            });
        }
        let (mut parser, mut events) = (sse::Parser::new(1 << 20), Vec::new());
        for piece in stream.chunks(cut) {
            parser.push(piece, &mut events).unwrap();
        }
        prop_assert_eq!(events, expected);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..60)) {
        let mut events = Vec::new();
        let _ = sse::Parser::new(40).push(&bytes, &mut events);
        let _ = decode::frame(&bytes);
        let _ = batch::decode(&bytes);
    }
}

#[test]
fn plain_frames_come_back() {
    let rev: Revision = "k3f9x2ab.1042".parse().unwrap();
    let after: Revision = "k3f9x2ab.1040".parse().unwrap();
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut line = Vec::new();
        write(&mut line);
        (String::from_utf8(line.clone()).unwrap(), decode::frame(&line).unwrap())
    };
    let (line, frame) = written(&|out| encode::baseline_begin(out, rev));
    assert_eq!(line, r#"{"type":"baseline-begin","rev":"k3f9x2ab.1042"}"#);
    assert_eq!(frame, Frame::BaselineBegin { rev });
    assert_eq!(written(&|out| encode::baseline_end(out, rev)).1, Frame::BaselineEnd { rev });
    let (line, frame) = written(&|out| encode::progress(out, after, rev));
    assert_eq!(line, r#"{"type":"progress","after":"k3f9x2ab.1040","rev":"k3f9x2ab.1042"}"#);
    assert_eq!(frame, Frame::Progress { after, rev });
    let reset = written(&|out| encode::reset(out, rev, "expired")).1;
    assert_eq!(reset, Frame::Reset { rev, reason: "expired".into() });
    assert_eq!(written(&|out| encode::end(out, "shutdown")).1, Frame::End { reason: "shutdown".into() });
}

#[test]
fn a_put_looks_as_documented() {
    let resource = Resource {
        topic: Topic::new("plant/7/temp").unwrap(),
        revision: 7,
        modified_at: 0,
        expires_at: Some(1_000),
        representation: Representation::copied(b"21.5", Some("application/json".into())),
    };
    let mut out = Vec::new();
    encode::entry(&mut out, "k3f9x2ab".parse().unwrap(), 7, &Change::Put(Arc::new(resource)));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"op":"put","path":"plant/7/temp","rev":"k3f9x2ab.7","modified":"1970-01-01T00:00:00.000Z","expires":"1970-01-01T00:00:01.000Z","contentType":"application/json","value":21.5}"#
    );
}

#[test]
fn an_entry_of_another_epoch_is_refused() {
    let line = br#"{"type":"change","after":"k3f9x2ab.1","rev":"k3f9x2ab.2","changes":[
        {"op":"delete","path":"a","rev":"k3f9x2ac.2","modified":"1970-01-01T00:00:00.000Z","cause":"request"}]}"#;
    assert!(matches!(decode::frame(line), Err(decode::DecodeError::Invalid("rev"))));
}

#[test]
fn a_misspelt_condition_is_no_unconditional_write() {
    let text = br#"{"writes":[{"op":"delete","path":"a","if-match":"*"}]}"#;
    assert!(batch::decode(text).is_err());
    for wrong in [
        r#"{"op":"put","path":"a"}"#,
        r#"{"op":"delete","path":"a","value":1}"#,
        r#"{"op":"steal","path":"a"}"#,
        r#"{"op":"put","path":"a/#","value":1}"#,
        r#"{"op":"put","path":"a","base64":"?"}"#,
        r#"{"op":"put","path":"a","value":1,"ifMatch":"1"}"#,
    ] {
        let text = format!(r#"{{"writes":[{wrong}]}}"#);
        assert!(batch::decode(text.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_value_alone_is_json() {
    let writes = batch::decode(br#"{"writes":[{"op":"put","path":"a","value":{"b": 1}}]}"#).unwrap();
    let Operation::Put(representation) = &writes[0].operation else { panic!("{writes:?}") };
    assert_eq!(representation, &Representation::copied(b"{\"b\": 1}", Some("application/json".into())));
}

#[test]
fn answers_and_problems_come_back() {
    let rev: Revision = "k3f9x2ab.9".parse().unwrap();
    let result = Outcome { op: "put".into(), path: "a".into(), effect: "created".into() };
    let answer =
        Answer { rev, results: vec![result.clone(), Outcome { effect: "deleted".into(), ..result }] };
    let mut text = Vec::new();
    answer.encode(&mut text);
    assert_eq!(Answer::decode(&text).unwrap(), answer);

    for &kind in ProblemType::ALL {
        let bare = Problem::new(kind, "because \"so\"");
        let full = Problem {
            current: Some(rev),
            rev: Some(rev),
            index: Some(3),
            retry_after_ms: Some(250),
            ..bare.clone()
        };
        for problem in [bare, full] {
            let mut text = Vec::new();
            problem.encode(&mut text);
            assert_eq!(Problem::decode(&text).unwrap(), problem);
            assert_eq!(ProblemType::from_uri(&kind.uri()), Some(kind));
        }
    }
}

#[test]
fn the_stream_reader_obeys_the_standard() {
    let mut parser = sse::Parser::new(100);
    let mut events = Vec::new();
    let stream = "\u{feff}: comment\rid: 1\r\ndata\ndata:  two\n\nid\nretry: 10\nretry: x\ndata:last\n\nevent: lost\n\ndata: unfinished";
    for piece in stream.as_bytes().chunks(1) {
        parser.push(piece, &mut events).unwrap();
    }
    let event = |last_id: &str, data: &str| sse::Event {
        name: "message".into(),
        last_id: last_id.into(),
        data: data.into(),
    };
    assert_eq!(events, [event("1", "\n two"), event("", "last")]);
    assert_eq!(parser.retry_ms(), Some(10));
    assert_eq!(sse::Parser::new(8).push(b"data: 123", &mut events), Err(sse::StreamError::TooLong(8)));
    assert_eq!(sse::Parser::new(9).push(b"data: 123", &mut events), Ok(()));
}
