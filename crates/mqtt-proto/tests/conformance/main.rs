//! The numbered statements of MQTT 5.0 and 3.1.1 that a client can observe on one connection, a row each: what the client
//! says, what the server answers. `docs/mqtt-conformance.md` lists all statements and names these tables.
//!
//! A row names its statements; one of 3.1.1 is named after `3.1.1`. It is played in each version of which it names a
//! statement.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is the test failing")]

mod behaviour;
mod connect;
mod data;
mod ending;
mod publish;
mod script;
mod subscribe;

use script::{Row, expects, lines, play, versions};

const TABLES: [(&str, &[Row]); 6] = [
    ("data", data::ROWS),
    ("connect", connect::ROWS),
    ("publish", publish::ROWS),
    ("subscribe", subscribe::ROWS),
    ("ending", ending::ROWS),
    ("behaviour", behaviour::ROWS),
];

fn check(table: &str) {
    let rows = TABLES.iter().find(|(name, _)| *name == table).unwrap().1;
    let mut wrong = Vec::new();
    for (statements, script) in rows {
        let versions = versions(statements);
        assert!(!versions.is_empty(), "{statements}: names no statement");
        for version in versions {
            if let Err(error) = play(script, version) {
                wrong.push(format!("{statements}\n    {version:?} {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows of {table} do not hold:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn data_representation_and_packet_format() {
    check("data");
}

#[test]
fn connect_and_connack() {
    check("connect");
}

#[test]
fn publish_and_its_acknowledgements() {
    check("publish");
}

#[test]
fn subscribe_and_unsubscribe() {
    check("subscribe");
}

#[test]
fn ping_disconnect_and_auth() {
    check("ending");
}

#[test]
fn operational_behaviour() {
    check("behaviour");
}

/// A row that held without one of its expectations would hold whatever the server did there.
#[test]
fn no_expectation_can_be_left_out() {
    for (statements, script) in TABLES.iter().flat_map(|(_, rows)| rows.iter()) {
        for version in versions(statements) {
            let all: Vec<&str> = lines(script, version).collect();
            let expectations: Vec<usize> = (0..all.len()).filter(|&index| expects(all[index])).collect();
            assert!(!expectations.is_empty(), "{statements}: nothing is expected");
            for left_out in expectations {
                let mut some = all.clone();
                some.remove(left_out);
                assert!(
                    play(&some.join("\n"), version).is_err(),
                    "{statements}: holds without \"{}\" in {version:?}",
                    all[left_out]
                );
            }
        }
    }
}

#[test]
fn a_row_is_played_in_the_versions_of_its_statements() {
    use dovetail_mqtt_proto::Version::{V5, V311};
    assert_eq!(versions("[MQTT-3.12.4-1]: x"), [V5]);
    assert_eq!(versions("3.1.1 [MQTT-3.12.4-1]: x"), [V311]);
    assert_eq!(versions("[MQTT-3.12.4-1], 3.1.1 [MQTT-3.12.4-1]: x"), [V311, V5]);
    assert_eq!(versions("3.1.1 is older"), []);
}

#[test]
fn what_a_row_does_not_say_or_says_wrongly_is_found() {
    let wrong = [
        "connected\n> c0:",
        "connected\n> c0:\n< d0: 00",
        "connected\n> c0:\n< c0:",
        "connected\n> 30: \"a\" {} 'x'",
        "connected\n> 30: \"a\" {} 'x'\n! publish a \"y\" qos0",
        "connected\n> 00:\n< e0: 82 ..",
        "connected\n> 00:\n< e0: 81 ..",
        "connected\nclosed lost",
        "connected\nsend 0 1\n< 30: \"a/b\" {} 'x'",
    ];
    for script in wrong {
        assert!(play(script, dovetail_mqtt_proto::Version::V5).is_err(), "{script}");
    }
}
