use super::*;
use crate::compare::show::fixture::{comparison, only, without_cpu};

/// Within one in a thousand.
fn near(found: f64, expected: f64) -> bool {
    (found / expected - 1.0).abs() < 1e-3
}

fn kind<'a>(comparison: &'a Comparison, name: &str) -> Kind<'a> {
    kinds(comparison).into_iter().find(|kind| kind.name == name).unwrap()
}

#[test]
fn names_of_kinds_have_no_interval() {
    for (name, expected) in [
        ("poll-etag-1s", "poll-etag"),
        ("poll-100ms", "poll"),
        ("poll-etag", "poll-etag"),
        ("poll", "poll"),
        ("mqtt5-qos1", "mqtt5-qos1"),
    ] {
        assert_eq!(stem(name), expected);
    }
}

#[test]
fn kinds_know_their_intervals() {
    let comparison = comparison();
    let found: Vec<(&str, &str, Vec<f64>)> = kinds(&comparison)
        .iter()
        .map(|kind| (kind.name, kind.label, kind.ways.iter().map(|polling| polling.every).collect()))
        .collect();
    let every = vec![0.1, 1.0, 10.0];
    assert_eq!(
        found,
        [
            ("poll-plain", "polling", every.clone()),
            ("poll-etag", "polling with ETag", every.clone()),
            ("poll-since", "polling for changes (?since=)", every),
        ]
    );
}

#[test]
fn the_model_says_what_was_measured_and_what_lies_between() {
    let comparison = comparison();
    for name in ["poll-plain", "poll-etag", "poll-since"] {
        let kind = kind(&comparison, name);
        let model = Model::of(&comparison, &kind).unwrap();
        for polling in &kind.ways {
            let measured = bytes_per_second(&comparison, polling.way);
            let modelled = model.bytes_per_second(polling.every);
            assert!(near(modelled, measured), "{name} every {}: {modelled} for {measured}", polling.every);
            let cpu = cpu_per_second(&comparison, polling.way).unwrap();
            assert!(
                near(model.cpu_per_second(polling.every).unwrap(), cpu),
                "{name} every {}",
                polling.every
            );
        }
    }
}

#[test]
fn crossovers_are_where_costs_are_equal() {
    let comparison = comparison();
    let reference = push(&comparison).unwrap();
    assert_eq!(reference.name, "combined");
    let bytes = bytes_per_second(&comparison, reference);
    assert!(near(bytes, 133.0 * 50.0));
    // A whole answer of 14.5 kB is worth 2.18 s of pushes.
    let plain = Model::of(&comparison, &kind(&comparison, "poll-plain")).unwrap();
    assert!(
        matches!(plain.bytes_crossover(bytes), Crossover::From(every) if near(every, 14_500.0 / 6_650.0))
    );
    // At that rate no poll is without news, so ETag helps by nothing.
    let etag = Model::of(&comparison, &kind(&comparison, "poll-etag")).unwrap();
    assert!(matches!(etag.bytes_crossover(bytes), Crossover::From(every) if near(every, 14_560.0 / 6_650.0)));
    for name in ["poll-plain", "poll-etag", "poll-since"] {
        let model = Model::of(&comparison, &kind(&comparison, name)).unwrap();
        let Crossover::From(every) = model.bytes_crossover(bytes) else { panic!("{name}") };
        assert!(near(model.bytes_per_second(every), bytes), "{name}");
        let cpu = cpu_per_second(&comparison, reference).unwrap();
        let Some(Crossover::From(every)) = model.cpu_crossover(cpu) else { panic!("{name}") };
        assert!(near(model.cpu_per_second(every).unwrap(), cpu), "{name}");
    }
}

#[test]
fn there_may_be_no_crossover() {
    let comparison = comparison();
    let model = Model::of(&comparison, &kind(&comparison, "poll-plain")).unwrap();
    let cases = [
        (f64::INFINITY, Crossover::Always),
        (model.bytes_per_second(SHORTEST), Crossover::Always),
        (model.bytes_per_second(LONGEST) * 0.99, Crossover::Never),
        (0.0, Crossover::Never),
    ];
    for (push, expected) in cases {
        assert_eq!(model.bytes_crossover(push), expected, "{push}");
    }
}

#[test]
fn rare_updates_make_conditional_polls_small() {
    let mut comparison = comparison();
    comparison.workload.updates_per_second = 0.01;
    let model = Model::of(&comparison, &kind(&comparison, "poll-etag")).unwrap();
    // One poll in a hundred finds something: 262 + 14,298 × (1 − e^−0.01) bytes.
    assert!(near(model.bytes_per_second(1.0), 262.0 + 14_298.0 * (1.0 - (-0.01_f64).exp())));
    // In a day 864 updates come: an answer with one of them in it costs less than to be told all.
    assert!(matches!(model.bytes_crossover(133.0 * 0.01), Crossover::From(every) if every > 3_600.0));
}

#[test]
fn without_unchanged_polls_the_answer_to_since_is_drawn_as_a_line() {
    let mut comparison = comparison();
    for way in &mut comparison.ways {
        if let Some(poll) = &mut way.poll {
            poll.unchanged_bytes = None;
        }
    }
    let model = Model::of(&comparison, &kind(&comparison, "poll-since")).unwrap();
    assert!(near(model.idle_bytes, 330.0), "{}", model.idle_bytes);
    let News::Each(each) = &model.news else { panic!("{:?}", model.news) };
    assert!(each.len() == 3 && each.iter().all(|(_, bytes)| near(*bytes, 142.0)), "{each:?}");
    // One interval gives no line.
    let mut once = comparison.clone();
    once.ways.retain(|way| way.name == "poll-since-1s");
    let model = Model::of(&once, &kind(&once, "poll-since")).unwrap();
    assert!(matches!(model.news, News::Whole(0.0)));
}

#[test]
fn at_equal_staleness_polling_costs_at_least_what_was_measured() {
    let comparison = comparison();
    let found = at_equal_staleness(&comparison);
    assert_eq!(found.len(), 3);
    for beside in &found {
        assert!(near(beside.polling.every, 0.1));
        assert_eq!(beside.push.name, "combined");
        // Half an interval and a little, beside the mean of a push.
        assert!(near(beside.polling_staleness_ms, 50.4));
        assert!(near(beside.push_staleness_ms, 1.1765 * 0.83));
        assert!(near(beside.fresh_every, 2.0 * 1.1765 * 0.83 / 1e3));
        assert!(beside.extrapolated.bytes >= beside.measured.bytes);
        assert!(beside.extrapolated.cpu >= beside.measured.cpu);
        assert_eq!(beside.keeps_promise(), Some(true));
    }
    // 14.5 kB ten times a second, beside 133 bytes fifty times.
    assert!(near(found[0].measured.bytes, 14_500.0 * 10.0 / (133.0 * 50.0)));
    // The cheapest answer of `since` is the one without news.
    assert!(near(found[2].extrapolated.bytes, 330.0 / found[2].fresh_every / (133.0 * 50.0)));
}

#[test]
fn nothing_is_promised_where_polling_is_fresher_or_cpu_unseen() {
    let mut fresher = comparison();
    for way in &mut fresher.ways {
        if way.family == Family::Combined {
            way.latency.cdf.iter_mut().for_each(|point| point.0 *= 60.0);
        }
    }
    let found = at_equal_staleness(&fresher);
    assert!(found.iter().all(|beside| beside.staler() < 1.0 && beside.keeps_promise().is_none()));
    // It could not be as fresh at a longer interval than was measured.
    assert!(found.iter().all(|beside| near(beside.fresh_every, 0.1)));

    let unseen = without_cpu();
    let found = at_equal_staleness(&unseen);
    assert!(found.iter().all(|beside| beside.measured.cpu.is_none() && beside.extrapolated.cpu.is_none()));
    assert!(found.iter().all(|beside| beside.keeps_promise().is_none()));
}

#[test]
fn a_dear_push_breaks_the_promise() {
    let mut comparison = comparison();
    for way in &mut comparison.ways {
        if way.family == Family::Combined {
            way.latency.cdf.iter_mut().for_each(|point| point.0 *= 40.0);
            way.bytes_per_update = 2_000.0;
        }
    }
    assert!(at_equal_staleness(&comparison).iter().any(|beside| beside.keeps_promise() == Some(false)));
}

#[test]
fn without_the_combined_way_the_leanest_push_stands_in() {
    let mut comparison = comparison();
    comparison.ways.retain(|way| way.family != Family::Combined);
    assert_eq!(push(&comparison).unwrap().name, "mqtt5-qos0-alias");
    assert!(push(&only("poll-plain-1s")).is_none());
    assert!(at_equal_staleness(&only("poll-plain-1s")).is_empty());
    assert!(at_equal_staleness(&only("combined")).is_empty());
}

#[test]
fn nothing_is_computed_from_no_updates() {
    let mut comparison = comparison();
    comparison.workload.updates_per_second = 0.0;
    for way in &mut comparison.ways {
        way.updates = 0;
        way.bytes_per_update = 0.0;
        way.cpu_us_per_update = Some(0.0);
        way.latency.cdf.clear();
    }
    assert!(at_equal_staleness(&comparison).is_empty());
    let model = Model::of(&comparison, &kind(&comparison, "poll-since")).unwrap();
    assert!(near(model.bytes_per_second(1.0), 330.0));
    assert_eq!(model.bytes_crossover(0.0), Crossover::Never);
}

#[test]
fn rates_cross_only_where_they_were_measured() {
    let comparison = comparison();
    let way = |name: &str| comparison.ways.iter().find(|way| way.name == name).unwrap();
    // Whole answers every second are 14.5 kB a second at every rate: push moves that at 109 updates a second.
    let found = rate_crossovers(&comparison, way("poll-plain-1s"));
    assert_eq!(found.len(), 1);
    assert!(found[0].polling_above && near(found[0].rate, 14_500.0 / 133.0), "{found:?}");
    // Of ETag the same; of since a second answer skips what was overwritten.
    assert_eq!(rate_crossovers(&comparison, way("poll-etag-1s")).len(), 1);
    let since = rate_crossovers(&comparison, way("poll-since-1s"));
    assert!(since.iter().all(|crossing| crossing.polling_above), "{since:?}");
    // At other intervals there is one point, and no line through it.
    assert!(rate_crossovers(&comparison, way("poll-plain-100ms")).is_empty());
}

#[test]
fn a_rate_that_was_measured_twice_counts_once() {
    let mut comparison = comparison();
    comparison.rates.push(RateFigures {
        name: String::from("combined"),
        updates_per_second: 50.0,
        bytes_per_second: 9_999.0,
        cpu_us_per_second: None,
        staleness_ms: 1.0,
    });
    let combined = push(&comparison).unwrap();
    let own = bytes_per_second(&comparison, combined);
    let points = over_rates(&comparison, combined, |rate| Some(rate.bytes_per_second), Some(own));
    assert_eq!(points.len(), 6);
    assert!(points.iter().any(|point| near(point.0, 50.0) && near(point.1, own)));
}
