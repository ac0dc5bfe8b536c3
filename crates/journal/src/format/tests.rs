//! The decoders on what nobody wrote.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::sync::Arc;

use bytes::Bytes;
use dovetail_model::{
    Change, Commit, DeleteCause, Event, Metadata, PublisherId, Qos, Representation, Resource, Tombstone,
    Topic,
};
use proptest::prelude::*;

use super::*;

fn topics() -> impl Strategy<Value = Topic> {
    "[a-zÄ/$ ]{1,40}".prop_map(|text| Topic::new(&text).unwrap())
}

prop_compose! {
    fn metadata()(
        is_text: bool,
        response_topic in prop::option::of(topics()),
        correlation_data in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        user_properties in prop::collection::vec(("\\PC{0,8}", "\\PC{0,8}"), 0..4),
    ) -> Metadata {
        let own = |(name, value): (String, String)| (name.into(), value.into());
        Metadata {
            is_text,
            response_topic,
            correlation_data: correlation_data.map(Bytes::from),
            user_properties: user_properties.into_iter().map(own).collect(),
        }
    }
}

prop_compose! {
    fn representations()(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        content_type in prop::option::of("[a-z/+]{0,20}"),
        metadata in prop::option::of(metadata().prop_map(Arc::new)),
        qos in prop::sample::select(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]),
    ) -> Representation {
        Representation { payload: payload.into(), content_type: content_type.map(Into::into), metadata, qos }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let fields = (topics(), any::<u64>(), any::<u64>(), prop::option::of(any::<u64>()), representations());
    (fields, 0..4).prop_map(|((topic, revision, at, expires_at, representation), kind)| match kind {
        0 => Change::Put(Arc::new(Resource { topic, revision, modified_at: at, expires_at, representation })),
        1 => Change::Event(Arc::new(Event { topic, published_at: at, expires_at, representation })),
        _ => {
            let qos = representation.qos;
            let cause = if kind == 2 { DeleteCause::Request } else { DeleteCause::Expiry };
            Change::Delete(Arc::new(Tombstone { topic, revision, deleted_at: at, cause, qos }))
        }
    })
}

fn commits() -> impl Strategy<Value = Commit> {
    let publishers = prop::option::of(any::<u64>().prop_map(PublisherId));
    (any::<u32>(), any::<u64>(), publishers, prop::collection::vec(changes(), 1..5)).prop_map(
        |(number, at, publisher, changes)| Commit {
            number: u64::from(number) + 1,
            at,
            publisher,
            changes: changes.into(),
        },
    )
}

/// A record of `commits` at `offset`, as an append would write it.
fn record(commits: &[Commit], salt: u64, offset: u64) -> Vec<u8> {
    let mut buffer = Vec::new();
    begin_record(&mut buffer);
    for commit in commits {
        encode_commit(commit, &mut buffer);
    }
    end_record(&mut buffer, commits[0].number, commits.len() as u32, salt, offset);
    buffer
}

fn header(record: &[u8], salt: u64, offset: u64) -> RecordHeader {
    match record_start(&record[..RECORD_HEADER_BYTES], salt, offset) {
        RecordStart::Record(header) => header,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn every_commit_round_trips_and_is_no_larger_than_said(commit in commits()) {
        let mut bytes = Vec::new();
        encode_commit(&commit, &mut bytes);
        prop_assert!(bytes.len() <= encoded_bytes(&commit));
        prop_assert!(bytes.len() >= commit.weight());
        let mut input = &bytes[..];
        prop_assert_eq!(skip_commit(&mut input), Ok(bytes.len()));
        let mut input = &bytes[..];
        let decoded = decode_commit(&mut input, commit.number, &mut Interner::default());
        prop_assert_eq!(decoded.as_ref(), Ok(&commit));
        prop_assert!(input.is_empty());
        for end in 0..bytes.len() {
            prop_assert!(decode_commit(&mut &bytes[..end], 1, &mut Interner::default()).is_err());
        }
    }

    #[test]
    fn decoders_refuse_or_take_any_bytes_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_u8..6, flags: u8) {
        let interner = &mut Interner::default();
        let _ = decode_commit(&mut &bytes[..], 1, interner);
        let _ = decode_change(&mut &bytes[..], 1, 1, interner);
        let guided: Vec<u8> = [kind, flags, 3, 0, 2, 0, 0, 0, 5, 0, 0, 0].into_iter().chain(bytes.iter().copied()).collect();
        let _ = decode_change(&mut &guided[..], 1, 1, interner);
        if let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() {
            prop_assert!(SegmentHeader::from_bytes(bytes).is_err());
            prop_assert!(SnapshotHeader::from_bytes(bytes).is_err());
            prop_assert!(SnapshotTrailer::from_bytes(bytes).is_err());
            prop_assert!(read_meta(bytes).is_err());
        }
        if let Some(bytes) = bytes.first_chunk::<BLOCK_HEADER_BYTES>() {
            prop_assert!(BlockHeader::from_bytes(bytes, 1, 64).is_err());
        }
    }

    #[test]
    fn altered_commits_never_make_the_decoder_panic(commit in commits(), at: prop::sample::Index, byte: u8) {
        let mut bytes = Vec::new();
        encode_commit(&commit, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode_commit(&mut &bytes[..], commit.number, &mut Interner::default());
    }

    #[test]
    fn a_record_is_whole_torn_or_damaged_and_never_taken_for_another(
        batch in prop::collection::vec(commits(), 1..6), salt: u64, sector in 8_u64..1_000, bit in 0_u32..8, at: prop::sample::Index,
    ) {
        let offset = sector * SECTOR_BYTES;
        let whole = record(&batch, salt, offset);
        let head = header(&whole, salt, offset);
        prop_assert_eq!(head.extent(), whole.len() as u64);
        prop_assert!(head.payload(&whole).is_ok());

        // Anywhere else it is nothing.
        let elsewhere = record_start(&whole[..RECORD_HEADER_BYTES], salt, offset + SECTOR_BYTES);
        prop_assert!(matches!(elsewhere, RecordStart::Bad(_)));

        // Cut short anywhere behind its header: torn.
        let cut = RECORD_HEADER_BYTES + at.index(whole.len() - RECORD_HEADER_BYTES);
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        prop_assert!(head.payload(&torn).is_err());
        prop_assert!(head.is_torn(&torn));

        // One flipped bit: in the padding or anywhere else noticed, and never torn.
        let mut flipped = whole;
        let place = at.index(flipped.len());
        flipped[place] ^= 1 << bit;
        match record_start(&flipped[..RECORD_HEADER_BYTES], salt, offset) {
            RecordStart::Record(head) => {
                prop_assert!(head.payload(&flipped).is_err());
                prop_assert!(!head.is_torn(&flipped));
            }
            RecordStart::Bad(_) => prop_assert!(place < RECORD_HEADER_BYTES),
            RecordStart::Blank => prop_assert!(false, "a flipped bit made a record blank"),
        }
    }
}

#[test]
fn a_large_count_allocates_no_more_than_there_are_bytes() {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&12_u32.to_le_bytes());
    bytes[12..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(decode_commit(&mut &bytes[..], 1, &mut Interner::default()).is_err());
}

#[test]
fn the_bytes_of_a_record_stay_what_they_are() {
    let resource = Resource {
        topic: Topic::new("plant/7/temp").unwrap(),
        revision: 42,
        modified_at: 1_790_000_000_000,
        expires_at: None,
        representation: Representation::copied(b"21.5", Some("text/plain".into())),
    };
    let mut commit = Commit {
        number: 42,
        at: 1_790_000_000_000,
        publisher: None,
        changes: [Change::Put(resource.clone().into())].into(),
    };
    let bytes = record(&[commit.clone()], 0x0123_4567_89ab_cdef, 4096);
    let expected =
        b"DREC\0\0\0\0\x2a\0\0\0\0\0\0\0\x01\0\0\0\x36\0\0\0\0\0\0\0\xef\xdd\xab\x89\x67\x45\x23\x01";
    assert_eq!(&bytes[..36], expected);
    let payload = b"\x32\0\0\0\x00\x6c\x50\xc4\xa0\x01\0\0\x01\0\0\0\x01\x08\x0c\0\x0a\0\0\0\x04\0\0\0plant/7/temptext/plain21.5";
    assert_eq!(&bytes[40..40 + payload.len()], payload);
    assert_eq!((bytes.len(), &bytes[508..]), (512, &b"END\xa5"[..]));

    let representation = Representation { qos: Qos::AtLeastOnce, ..resource.representation.clone() };
    commit.changes = [Change::Put(Resource { representation, ..resource }.into())].into();
    commit.publisher = Some(PublisherId(0x1122_3344_5566_7788));
    let mut bytes = Vec::new();
    encode_commit(&commit, &mut bytes);
    let expected = b"\x3a\0\0\0\x00\x6c\x50\xc4\xa0\x01\0\0\x01\0\0\x80\x88\x77\x66\x55\x44\x33\x22\x11\x01\x28\x0c\0\x0a\0\0\0\x04\0\0\0plant/7/temptext/plain21.5";
    assert_eq!(bytes, expected);
}
