#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::io::Write as _;
use std::time::Duration;

use dovetail_door_mqtt::PublishRate;

use super::*;

fn file(text: &str) -> (tempfile::NamedTempFile, Arguments) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let config = Some(file.path().to_owned());
    (file, Arguments { config, ..Arguments::default() })
}

fn variables(list: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

#[test]
fn nothing_said_is_the_default() {
    let config = Config::load(&Arguments::default(), variables(&[("PATH", "x")])).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap(), "127.0.0.1:1883".parse().unwrap()]);
    assert_eq!(config.data.to_str(), Some("./dovetail-data"));
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let (_file, mut arguments) = file(
        "data = \"file\"\nshards = 3\n[history]\nage = \"2h\"\nrevisions = 5\n[limits]\npayload_bytes = 10\n",
    );
    arguments.data = Some("flag".into());
    let environment = variables(&[("DOVETAIL__DATA", "env"), ("DOVETAIL__HISTORY__AGE", "7d")]);
    let config = Config::load(&arguments, environment).unwrap();
    assert_eq!(config.data.to_str(), Some("flag"));
    assert_eq!(config.shards.get(), 3);
    assert_eq!(config.engine.history.age, Duration::from_hours(24 * 7));
    assert_eq!((config.engine.history.revisions, config.engine.payload_bytes), (5, 10));
}

#[test]
fn origins_are_a_list_in_the_file_and_have_commas_in_the_environment() {
    let (_file, arguments) =
        file("[websocket]\norigins = [\"https://a.example\", \"http://b.example:81\"]\n");
    let listed = Config::load(&arguments, variables(&[])).unwrap().origins;
    let environment =
        variables(&[("DOVETAIL__WEBSOCKET__ORIGINS", "https://a.example, http://b.example:81")]);
    let said = Config::load(&Arguments::default(), environment).unwrap().origins;
    assert_eq!(listed, said);
    assert_ne!(listed, Origins::default());
    let environment = variables(&[("DOVETAIL__WEBSOCKET__ORIGINS", "a.example")]);
    let problems = Config::load(&Arguments::default(), environment).unwrap_err();
    assert!(problems.0[0].message.contains("`a.example` is no origin"), "{problems}");
}

#[test]
fn mqtt_has_a_keep_alive_a_rate_and_topics_for_answers() {
    let plain = Config::load(&Arguments::default(), variables(&[])).unwrap().mqtt;
    assert_eq!((plain.keep_alive, plain.publish_rate), (None, None));
    assert_eq!(plain.response_topics.as_deref(), Some("reply"));
    let (_file, arguments) = file(
        "[mqtt]\nkeep_alive = \"5m\"\npublish_rate = 100\npublish_burst = 7\nresponse_topics = \"x/answers\"\n",
    );
    let mqtt = Config::load(&arguments, variables(&[])).unwrap().mqtt;
    assert_eq!(mqtt.keep_alive.map(u16::from), Some(300));
    assert_eq!(mqtt.publish_rate, PublishRate::new(100, 7));
    assert_eq!(mqtt.response_topics.as_deref(), Some("x/answers"));
    let (_file, arguments) = file("[mqtt]\npublish_rate = 1_000\nresponse_topics = \"\"\n");
    let mqtt = Config::load(&arguments, variables(&[])).unwrap().mqtt;
    assert_eq!((mqtt.publish_rate, mqtt.response_topics), (PublishRate::new(1_000, 1_000), None));
}

#[test]
fn sessions_have_an_end_and_a_number() {
    let plain = Config::load(&Arguments::default(), variables(&[])).unwrap().mqtt;
    assert_eq!((plain.session_expiry.as_secs(), plain.sessions), (7 * 24 * 3600, 100_000));
    let (_file, arguments) = file("[mqtt]\nsession_expiry = \"2h\"\nsessions = 10\n");
    let mqtt = Config::load(&arguments, variables(&[])).unwrap().mqtt;
    assert_eq!((mqtt.session_expiry.as_secs(), mqtt.sessions), (7200, 10));
}

#[test]
fn messages_of_signalr_have_a_size() {
    let plain = Config::load(&Arguments::default(), variables(&[])).unwrap().signalr;
    assert_eq!((plain.message_bytes, plain.resend_bytes), (32 << 10, 100_000));
    let (_file, arguments) = file("[signalr]\nmessage_bytes = 100_000\nresend_bytes = 1_024\n");
    let signalr = Config::load(&arguments, variables(&[])).unwrap().signalr;
    assert_eq!((signalr.message_bytes, signalr.resend_bytes), (100_000, 1_024));
}

#[test]
fn what_mqtt_cannot_do_is_refused() {
    let rows = [
        ("keep_alive = \"0s\"", "`mqtt.keep_alive` is from \"1s\" to \"65535s\", not \"0s\""),
        ("session_expiry = \"soon\"", "`mqtt.session_expiry` is a time like"),
        ("sessions = -1", "`mqtt.sessions` is a number from 0 to 100000000, not -1"),
        ("keep_alive = \"1d\"", "`mqtt.keep_alive` is from"),
        ("keep_alive = \"soon\"", "`mqtt.keep_alive` is a time like"),
        ("publish_rate = 0", "`mqtt.publish_rate` is a number from 1 to 1000000, not 0"),
        ("publish_rate = 0\npublish_burst = 5", "`mqtt.publish_rate` is a number from 1 to 1000000, not 0"),
        ("publish_burst = 5", "`mqtt.publish_burst` means nothing without `mqtt.publish_rate`"),
        ("publish_rate = 100_001\npublish_burst = 100", "`mqtt.publish_burst` is at least 101"),
        ("response_topics = \"$reply\"", "`mqtt.response_topics` is a topic that clients may publish to"),
        ("response_topics = \"-/reply\"", "`mqtt.response_topics` is a topic"),
        ("response_topics = \"reply/#\"", "`mqtt.response_topics` is a topic"),
        ("response_topics = \"reply/\"", "`mqtt.response_topics` is a topic"),
        ("response_topics = 7", "`mqtt.response_topics` is a topic"),
    ];
    for (said, message) in rows {
        let (_file, arguments) = file(&format!("[mqtt]\n{said}\n"));
        let problems = Config::load(&arguments, variables(&[])).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{said}: {problems}");
        assert!(problems.0[0].message.contains(message), "{said}: {problems}");
    }
}

#[test]
fn all_problems_are_said_at_once_each_with_its_place() {
    let (file, mut arguments) =
        file("shards = 0\nlistn = []\n\n[history]\nage = \"soon\"\n[log]\nformat = \"xml\"\nfilter = true\n");
    arguments.listen = vec!["0.0.0.0:80".to_owned(), "nonsense".to_owned()];
    let environment = variables(&[("DOVETAIL__LIMITS__PAYLOAD_BYTES", "17000000")]);
    let problems = Config::load(&arguments, environment).unwrap_err();
    let name = file.path().display();
    let expected = [
        ("--listen".to_owned(), "neither authentication nor TLS"),
        ("--listen".to_owned(), "`nonsense`"),
        (format!("{name}:1"), "`shards` is a number from 1 to 256, not 0"),
        (
            "DOVETAIL__LIMITS__PAYLOAD_BYTES".to_owned(),
            "`limits.payload_bytes` is a number from 1 to 16777216",
        ),
        (format!("{name}:5"), "`history.age` is a time like"),
        (format!("{name}:8"), "`log.filter` is a text, not true or false"),
        (format!("{name}:7"), "`log.format` is \"text\" or \"json\", not \"xml\""),
        (format!("{name}:2"), "there is no setting `listn`"),
    ];
    assert_eq!(problems.0.len(), expected.len(), "{problems}");
    for (problem, (origin, message)) in problems.0.iter().zip(expected) {
        assert_eq!(problem.origin, origin);
        assert!(problem.message.contains(message), "{} does not say {message}", problem.message);
    }
}

#[test]
fn what_is_not_toml_and_what_is_not_there_are_said_with_their_place() {
    let (file, arguments) = file("data = \"x\"\nshards = = 3\n");
    let problems = Config::load(&arguments, variables(&[])).unwrap_err();
    assert_eq!(problems.0[0].origin, format!("{}:2", file.path().display()));
    let missing = Arguments { config: Some("/nowhere/dovetail.toml".into()), ..Arguments::default() };
    let problems = Config::load(&missing, variables(&[])).unwrap_err();
    assert!(problems.0[0].message.contains("cannot read /nowhere/dovetail.toml"), "{problems}");
}
