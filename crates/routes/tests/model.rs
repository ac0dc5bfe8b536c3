//! The routes against a list of pairs and `Filter::matches`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use dovetail_model::{Filter, Topic};
use dovetail_routes::Routes;
use proptest::prelude::*;

fn topic() -> impl Strategy<Value = Topic> {
    let level = prop::sample::select(vec!["", "a", "b", "c", "$x", "0"]);
    prop::collection::vec(level, 1..5).prop_filter_map("a topic", |levels| Topic::new(&levels.join("/")).ok())
}

fn filter() -> impl Strategy<Value = Filter> {
    let level = prop::sample::select(vec!["", "a", "b", "c", "$x", "+", "+"]);
    (prop::collection::vec(level, 1..5), any::<bool>()).prop_filter_map(
        "a filter",
        |(mut levels, any_below)| {
            if any_below {
                levels.push("#");
            }
            Filter::new(&levels.join("/")).ok()
        },
    )
}

/// The keys that match, each as often as it was called with.
fn matching(routes: &Routes<u16>, topic: &Topic) -> Vec<u16> {
    let mut keys = Vec::new();
    routes.matching(topic, |key| keys.push(*key));
    keys.sort_unstable();
    keys
}

fn check(routes: &Routes<u16>, pairs: &[(Filter, u16)], topic: &Topic) {
    let mut expected: Vec<u16> =
        pairs.iter().filter(|(f, _)| f.matches(topic)).map(|(_, key)| *key).collect();
    expected.sort_unstable();
    assert_eq!(matching(routes, topic), expected, "{topic}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn matches_as_the_filters_do(
        filters in prop::collection::vec(filter(), 1..20),
        steps in prop::collection::vec((any::<bool>(), any::<usize>(), 0u16..80), 1..400),
        topics in prop::collection::vec(topic(), 1..12),
    ) {
        let (mut routes, mut pairs) = (Routes::new(), Vec::new());
        for (add, at, key) in steps {
            let pair = (filters[at % filters.len()].clone(), key);
            let place = pairs.iter().position(|known| *known == pair);
            if add {
                prop_assert_eq!(routes.insert(&pair.0, key), place.is_none());
                if place.is_none() {
                    pairs.push(pair);
                }
            } else {
                prop_assert_eq!(routes.remove(&pair.0, &key), place.is_some());
                place.map(|at| pairs.swap_remove(at));
            }
            prop_assert_eq!(routes.len(), pairs.len());
        }
        for topic in &topics {
            check(&routes, &pairs, topic);
        }
        while let Some((filter, key)) = pairs.pop() {
            prop_assert!(routes.remove(&filter, &key));
            check(&routes, &pairs, &topics[0]);
        }
        prop_assert!(routes.is_empty());
        prop_assert_eq!(format!("{routes:?}"), format!("{:?}", Routes::<u16>::new()));
    }
}

#[test]
fn the_deepest_topic_matches() {
    let mut routes = Routes::new();
    let deepest = "x/".repeat(199) + "x";
    for (filter, key) in [(deepest.as_str(), 1), (&deepest.replace('x', "+"), 2), ("x/+/#", 3)] {
        routes.insert(&Filter::new(filter).unwrap(), key);
    }
    assert_eq!(matching(&routes, &Topic::new(&deepest).unwrap()), [1, 2, 3]);
    assert_eq!(matching(&routes, &Topic::new(&deepest[2..]).unwrap()), [3]);
}
