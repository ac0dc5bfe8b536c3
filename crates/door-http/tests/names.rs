//! A resource has one name: what a path writes is what the topic of that path holds.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod common;

use common::script;
use dovetail_api::names::{self, Name};
use dovetail_api::problem::ProblemType;
use http::Uri;
use proptest::strategy::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

#[test]
fn a_path_and_its_topic_are_one_resource() {
    script(|world| async move {
        let paths = "/([a-c/.+-]|%2[0-9A-Fa-f]|%[0-9a-fA-F]{2}|%C3%A4|\\$|%){0,7}";
        let strategy = proptest::string::string_regex(paths).unwrap();
        let mut runner = TestRunner::deterministic();
        let mut client = world.http2().await;
        let (mut written, mut refused) = (0, 0);
        for round in 0..2_000 {
            let path = strategy.new_tree(&mut runner).unwrap().current();
            if path.parse::<Uri>().is_err() {
                continue;
            }
            let value = round.to_string();
            let put = client.call("PUT", &path, &[("content-type", "text/plain")], &value).await;
            let get = client.call("GET", &path, &[], "").await;
            match names::parse(&path) {
                Ok(Name::Topic(topic)) if topic.is_reserved() => {
                    put.problem(ProblemType::ReservedName);
                }
                Ok(Name::Topic(topic)) => {
                    assert!(put.status.is_success(), "{path}: {put:?}");
                    assert_eq!(get.text(), value, "{path}");
                    let stored = world.stored(topic.as_str()).unwrap();
                    assert_eq!(stored.representation.payload, value.as_bytes(), "{path} {topic}");
                    // The canonical path is the same resource.
                    let canonical = names::path_of(&topic).unwrap();
                    assert_eq!(client.call("GET", &canonical, &[], "").await.text(), value, "{canonical}");
                    written += 1;
                }
                Ok(Name::Filter(filter)) => {
                    assert!(put.status.is_client_error(), "{path}");
                    assert_eq!(&*get.collection().filter, filter.as_str());
                }
                Ok(Name::Server(_)) => assert!(put.status.is_client_error(), "{path}"),
                Err(_) => {
                    put.problem(ProblemType::InvalidName);
                    get.problem(ProblemType::InvalidName);
                    refused += 1;
                }
            }
        }
        assert!(written > 200 && refused > 200, "{written} written, {refused} refused");
        // Every topic that was written is addressed by its path in the collection too.
        for item in world.get("/").await.collection().items {
            let path = names::path_of(&item.topic).unwrap();
            assert_eq!(client.call("GET", &path, &[], "").await.body, item.representation.payload);
        }
    });
}
