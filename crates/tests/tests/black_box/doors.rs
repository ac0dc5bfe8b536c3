//! What one door took, every door shows.

use dovetail_tests::frame::{Frame, Position};
use dovetail_tests::http::Http;
use dovetail_tests::mqtt::{Connect, Mqtt, Publish, Version, pair, user};
use dovetail_tests::server::Setup;
use dovetail_tests::validator::{Mode, Validator};
use dovetail_tests::watch::{self, Door, HubProtocol, Watch};

#[test]
fn a_put_is_a_retained_message_and_a_retained_message_is_a_resource() {
    let server = Setup::new().start();
    let mut http = Http::connect(server.address()).unwrap();
    assert_eq!(http.put("/plant/7/temp", "21.5").unwrap().status, 201);
    for version in [Version::V311, Version::V5] {
        let mut mqtt = Mqtt::connect(server.address(), &Connect::new(version)).unwrap();
        assert_eq!(mqtt.subscribe(&[("plant/+/temp", 1)], &[]).unwrap(), [1]);
        let message = mqtt.receive().unwrap();
        assert_eq!(
            (message.topic.as_str(), message.payload.as_slice(), message.retain),
            ("plant/7/temp", &b"21.5"[..], true)
        );

        let written = Publish::put("plant/8/temp", b"19", 1);
        assert_eq!(mqtt.publish(&written).unwrap().reason, 0);
        assert_eq!(http.get("/plant/8/temp").unwrap().text(), "19");
        let live = mqtt.receive().unwrap();
        assert_eq!(
            (live.payload.as_slice(), live.retain),
            (&b"19"[..], false),
            "live messages are not retained"
        );

        assert_eq!(mqtt.publish(&Publish::put("plant/8/temp", b"", 1)).unwrap().reason, 0);
        assert_eq!(http.get("/plant/8/temp").unwrap().status, 404);
    }
}

#[test]
fn of_two_writers_with_one_tag_one_wins_whatever_their_doors() {
    let server = Setup::new().start();
    let mut http = Http::connect(server.address()).unwrap();
    let tag = http.put("/a", "0").unwrap().header("etag").unwrap().to_owned();
    let mut mqtt = Mqtt::connect(server.address(), &Connect::new(Version::V5)).unwrap();
    let mut conditional = Publish::put("a", b"1", 1);
    conditional.properties.push(pair("if-match", tag.trim_matches('"')));
    assert_eq!(mqtt.publish(&conditional).unwrap().reason, 0);
    let refused = mqtt.publish(&conditional).unwrap();
    assert_eq!(refused.reason, 0x83, "{:?}", user(&refused.properties, "reason"));
    let headers = [("if-match", tag.as_str()), ("content-type", "text/plain")];
    assert_eq!(http.request("PUT", "/a", &headers, Some(b"2")).unwrap().status, 412);
    assert_eq!(http.get("/a").unwrap().text(), "1");
}

#[test]
fn every_door_resumes_at_every_position_with_exactly_what_followed() {
    const WRITES: u64 = 12;
    let server = Setup::new().start();
    let address = server.address();
    let mut http = Http::connect(address).unwrap();
    for number in 0..WRITES {
        match number % 4 {
            3 => assert_eq!(http.request("DELETE", "/r/1", &[], None).unwrap().status, 204),
            key => assert!(http.put(&format!("/r/{key}"), &number.to_string()).unwrap().status < 300),
        }
    }
    let log = watch::extend(address, None).unwrap();
    assert_eq!(log.head(), WRITES);
    let hubs = [HubProtocol::Json, HubProtocol::MessagePack].map(Door::Hub);
    for door in [Door::Events, Door::Changes, Door::Tracked, Door::Socket, Door::Poll].into_iter().chain(hubs)
    {
        for mode in [Mode::Every, Mode::Latest] {
            for position in 0..=WRITES {
                let since = Position::new(log.epoch(), position);
                let watch = Watch::start(address, door, "r/#", mode, Some(&since)).unwrap();
                assert!(
                    position == WRITES || watch.reaches(WRITES),
                    "{door:?} {mode:?} stops short from {position}"
                );
                let mut validator = Validator::resumed(&log, "r/#", mode, position);
                for frame in watch.stop() {
                    let result = validator.frame(&log, &frame);
                    result.unwrap_or_else(|violation| {
                        panic!("{door:?} {mode:?} from {position}: {violation}: {frame:?}")
                    });
                }
                validator
                    .finish(&log)
                    .unwrap_or_else(|violation| panic!("{door:?} {mode:?} from {position}: {violation}"));
            }
        }
    }
}

#[test]
fn a_position_that_cannot_be_is_answered_with_a_reset_and_a_baseline() {
    let server = Setup::new().start();
    let address = server.address();
    Http::connect(address).unwrap().put("/r/1", "one").unwrap();
    let log = watch::extend(address, None).unwrap();
    let other_epoch = Position::new("00000001", 1);
    let beyond = Position::new(log.epoch(), log.head() + 1);
    for since in [other_epoch, beyond] {
        let hubs = [HubProtocol::Json, HubProtocol::MessagePack].map(Door::Hub);
        for door in
            [Door::Events, Door::Changes, Door::Tracked, Door::Socket, Door::Poll].into_iter().chain(hubs)
        {
            let watch = Watch::start(address, door, "r/#", Mode::Latest, Some(&since)).unwrap();
            assert!(watch.reaches(log.head()), "{door:?} from {since}");
            let frames = watch.stop();
            assert!(matches!(frames[0], Frame::Reset), "{door:?} from {since}: {frames:?}");
            let mut validator = Validator::new("r/#", Mode::Latest);
            for frame in &frames {
                validator.frame(&log, frame).unwrap();
            }
            validator.finish(&log).unwrap();
        }
        let answer = Http::connect(address).unwrap().get(&format!("/r/?since={since}")).unwrap();
        assert_eq!(answer.status, 410, "{}", answer.text());
        let head = format!("{}.{}", log.epoch(), log.head());
        assert!(answer.text().contains(&head), "does not say the head: {}", answer.text());
    }
}
