//! What is shown, of comparisons with and without everything.

use std::collections::HashSet;

use roxmltree::{Document, Node, ParsingOptions};

use super::conclusions::{advice, promise, sentences};
use super::fixture::{comparison, only, without_cpu};
use super::{charts, page, table};
use crate::compare::figures::{Comparison, Family};

/// Comparisons of every kind that may come.
fn all_kinds() -> Vec<(&'static str, Comparison)> {
    let mut uninterrupted = comparison();
    uninterrupted.workload.interrupted = 0;
    for way in &mut uninterrupted.ways {
        way.without_fallback = None;
        way.with_fallback = None;
    }
    let mut nothing = comparison();
    nothing.ways.clear();
    nothing.rates.clear();
    vec![
        ("everything", comparison()),
        ("without CPU", without_cpu()),
        ("combined alone", only("combined")),
        ("a poll alone", only("poll-etag-1s")),
        ("nobody interrupted", uninterrupted),
        ("without updates", without_updates()),
        ("lost with fallback", lost_with_fallback()),
        ("hostile", hostile()),
        ("nothing", nothing),
    ]
}

fn without_updates() -> Comparison {
    let mut comparison = comparison();
    comparison.workload.updates_per_second = 0.0;
    comparison.rates.clear();
    for way in &mut comparison.ways {
        way.updates = 0;
        way.latency.p50_ms = 0.0;
        way.latency.p99_ms = 0.0;
        way.latency.cdf.clear();
        way.staleness_ms = 0.0;
        way.bytes_per_update = f64::NAN;
        way.cpu_us_per_update = Some(f64::INFINITY);
        for recovery in [&mut way.without_fallback, &mut way.with_fallback].into_iter().flatten() {
            recovery.updates_in_outage = 0;
            recovery.lost = 0;
            recovery.never_current = 0;
        }
    }
    comparison
}

fn lost_with_fallback() -> Comparison {
    let mut comparison = comparison();
    for way in comparison.ways.iter_mut().filter(|way| way.name == "sse") {
        if let Some(recovery) = &mut way.with_fallback {
            recovery.lost = 1;
            recovery.never_current = 1;
        }
    }
    comparison
}

const SCRIPT: &str = "<script>alert(\"1\")</script>&\u{1b}[31m";

fn hostile() -> Comparison {
    let mut comparison = comparison();
    comparison.version = String::from(SCRIPT);
    comparison.machine.system = String::from(SCRIPT);
    comparison.machine.processor = Some(String::from(SCRIPT));
    comparison.workload.server = Some(String::from(SCRIPT));
    for way in &mut comparison.ways {
        way.label = format!("{SCRIPT}{}", way.label);
        for recovery in [&mut way.without_fallback, &mut way.with_fallback].into_iter().flatten() {
            recovery.how = String::from(SCRIPT);
        }
    }
    comparison
}

fn parse(text: &str) -> Document<'_> {
    Document::parse_with_options(text, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })
        .unwrap()
}

fn elements<'a>(document: &'a Document<'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

/// Without colours.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').unwrap().1)
}

#[test]
fn the_table_fits_a_terminal() {
    for (what, comparison) in all_kinds() {
        let plain = table(&comparison, false);
        assert!(!plain.contains(|character: char| character.is_control() && character != '\n'), "{what}");
        for line in plain.lines() {
            assert!(line.chars().count() <= 120, "{what}: {line}");
            assert_eq!(line.trim_end(), line, "{what}");
        }
        assert_eq!(uncoloured(&table(&comparison, true)), plain, "{what}");
    }
}

#[test]
fn the_table_has_a_line_for_each_way() {
    let comparison = comparison();
    let text = table(&comparison, false);
    for way in &comparison.ways {
        let start = way.label.split(" (").next().unwrap();
        let found = text.lines().filter(|line| line.starts_with(start)).count();
        assert!(found >= 1, "{}", way.label);
    }
    // Families stand apart.
    assert!(text.contains("\n\nMQTT 3.1.1, QoS 0 "));
    assert!(text.contains("\n\nSignalR, JSON "));
    let combined = text.lines().find(|line| line.starts_with("REST + MQTT 5")).unwrap();
    let figures: Vec<&str> = combined.trim_start_matches("REST + MQTT 5").split_whitespace().collect();
    assert_eq!(figures, ["0.830", "2.49", "1.08", "133", "0.100", "2.22", "3.20", "–", "0", "%", "1.40"]);
}

#[test]
fn what_stays_wrong_is_red_and_what_is_right_green() {
    let lines =
        |comparison: &Comparison| table(comparison, true).lines().map(str::to_owned).collect::<Vec<_>>();
    let line =
        |lines: &[String], name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap().clone();
    let right = line(&lines(&comparison()), "event stream");
    assert!(right.contains("\x1b[31m") && right.contains("\x1b[32m"), "{right:?}");
    let wrong = line(&lines(&lost_with_fallback()), "event stream");
    assert!(!wrong.contains("\x1b[32m"), "{wrong:?}");
    assert!(uncoloured(&wrong).contains("0.2 %") && wrong.contains("not all"), "{wrong:?}");
}

#[test]
fn a_page_is_well_formed_and_asks_nobody() {
    for (what, comparison) in all_kinds() {
        let text = page(&comparison);
        let document = parse(&text);
        for name in ["script", "link", "img", "iframe", "image", "use", "object"] {
            assert_eq!(elements(&document, name).count(), 0, "{what}: {name}");
        }
        for node in document.descendants() {
            for attribute in node.attributes() {
                let name = attribute.name();
                assert!(
                    !["href", "src", "style", "srcset"].contains(&name) && !name.starts_with("on"),
                    "{what}: {name}"
                );
            }
        }
        // What looks like an address is the name of a language and no more.
        let rest = text.replace("http://www.w3.org/1999/xhtml", "").replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "url(", "@import"] {
            assert!(!rest.contains(word), "{what}: {word}");
        }
        for word in ["NaN", "inf ", "inf<"] {
            assert!(!text.contains(word), "{what}: {word}");
        }
    }
}

#[test]
fn a_page_is_told_to_those_who_cannot_see_it() {
    let text = page(&comparison());
    let document = parse(&text);
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let unique: HashSet<&&str> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "ids are there once");
    let pictures: Vec<_> = elements(&document, "svg").collect();
    assert_eq!(pictures.len(), 7);
    for picture in pictures {
        assert_eq!(picture.attribute("role"), Some("img"));
        for id in picture.attribute("aria-labelledby").unwrap().split(' ') {
            let named = picture.descendants().find(|node| node.attribute("id") == Some(id)).unwrap();
            assert!(named.text().is_some_and(|text| text.len() > 10), "{id}");
        }
    }
    assert!(elements(&document, "th").all(|head| head.attribute("scope").is_some()));
    let (heads, rows) = (elements(&document, "h1").count(), elements(&document, "tr").count());
    assert_eq!(heads, 1);
    assert!(rows > comparison().ways.len());
}

#[test]
fn pictures_are_files_too() {
    for (what, comparison) in all_kinds() {
        let charts = charts(&comparison);
        let names: HashSet<&str> = charts.iter().map(|chart| chart.name).collect();
        assert_eq!(names.len(), charts.len(), "{what}");
        for chart in &charts {
            let text = chart.file();
            let document = parse(&text);
            assert_eq!(document.root_element().tag_name().name(), "svg", "{what}");
            assert_eq!(elements(&document, "style").count(), 1, "{what}");
            for node in document.descendants().filter(Node::is_element) {
                for name in ["x", "y", "cx", "cy", "width", "height"] {
                    let number = node.attribute(name).filter(|value| !value.ends_with('%'));
                    let number = number.map(|value| value.parse::<f64>().unwrap());
                    assert!(
                        number.is_none_or(|value| (-1.0..5_000.0).contains(&value)),
                        "{what}, {}: {node:?}",
                        chart.name
                    );
                }
            }
        }
    }
}

#[test]
fn there_are_only_pictures_of_what_was_measured() {
    let names =
        |comparison: &Comparison| charts(comparison).iter().map(|chart| chart.name).collect::<Vec<_>>();
    assert_eq!(
        names(&comparison()),
        ["latency", "latency-push", "rates", "crossover-bytes", "crossover-cpu", "lost", "recovery"]
    );
    assert!(!names(&without_cpu()).contains(&"crossover-cpu"));
    assert_eq!(names(&only("combined")), ["latency", "rates", "recovery"]);
    assert!(!names(&without_updates()).contains(&"latency"));
    let mut uninterrupted = comparison();
    for way in &mut uninterrupted.ways {
        way.without_fallback = None;
        way.with_fallback = None;
    }
    assert!(names(&uninterrupted).iter().all(|name| !["lost", "recovery"].contains(name)));
}

fn said(comparison: &Comparison) -> String {
    sentences(comparison).join("\n")
}

#[test]
fn sentences_say_what_the_figures_say() {
    let all = said(&comparison());
    for part in [
        "At 50 updates/s, combined moved 22 times fewer bytes and took 3.7 times less server CPU than polling every 100 ms, which \
         still was 52 times staler while nobody was interrupted (50.4 ms on average against 976 µs).",
        "Than polling for changes: 1.5 times fewer bytes and 1.5 times less server CPU.",
        "polls would have to come every 1.95 ms or sooner. That was not measured",
        "polling moves fewer bytes than combined: 2.18 s (polling), 2.19 s (polling with ETag), ",
        "above 109 updates/s (polling every 1 s)",
        "325 of them take a hundredth of a core",
        "never learned of up to 6.8 % of what was written meanwhile (8 of 11 ways).",
        "With a fallback nothing was lost, and every watcher was current again.",
    ] {
        assert!(all.contains(part), "{part}\nis not in\n{all}");
    }
}

#[test]
fn where_polling_wins_it_is_said() {
    let mut comparison = comparison();
    for way in comparison.ways.iter_mut().filter(|way| way.family == Family::Combined) {
        way.bytes_per_update = 29_000.0;
        way.cpu_us_per_update = Some(8.2);
        way.latency.cdf.iter_mut().for_each(|point| point.0 *= 490.0);
    }
    let all = said(&comparison);
    for part in [
        "combined moved 10 times more bytes and took hardly less server CPU than polling every 100 ms, which was 9.5 times fresher",
        "polling moves fewer bytes than combined: 10.0 ms (polling), ",
    ] {
        assert!(all.contains(part), "{part}\nis not in\n{all}");
    }
    assert!(!all.contains("To be as fresh"), "{all}");
}

#[test]
fn nothing_is_said_that_was_not_measured() {
    assert!(!said(&without_cpu()).contains("CPU"));
    assert_eq!(said(&without_updates()), "Nothing was updated, so nothing can be said.");
    let alone = said(&only("poll-plain-1s"));
    assert!(!alone.contains("combined") && alone.contains("Few watchers"), "{alone}");
    assert!(said(&only("combined")).starts_with("With a fallback nothing was lost"));
    let lost = said(&lost_with_fallback());
    assert!(
        lost.contains(
            "these left watchers with wrong copies: event stream. With the others nothing was lost."
        ),
        "{lost}"
    );
    assert!(!lost.contains("With a fallback nothing"), "{lost}");
    let mut busy = comparison();
    busy.ways[9].generator_share = 0.9;
    assert!(said(&busy).contains(
        "busy for more than 80 % of the time, so that latencies are partly its own: long-polling."
    ));
    assert!(!said(&comparison()).contains("generator"));
    let mut safe = comparison();
    for recovery in safe.ways.iter_mut().filter_map(|way| way.without_fallback.as_mut()) {
        recovery.lost = 0;
    }
    assert!(said(&safe).contains("Even without a fallback nothing was lost"));
}

#[test]
fn the_promise_is_held_against_every_kind() {
    let kept = promise(&comparison()).unwrap();
    assert!(
        kept.ends_with(
            "at least 5 times fewer bytes and 10 times less server CPU than polling. Here that is kept beside polling, polling with \
             ETag, polling for changes."
        ),
        "{kept}"
    );
    assert!(promise(&without_cpu()).unwrap().contains("Here that is not to be told beside polling, "));
    let mut dear = comparison();
    for way in dear.ways.iter_mut().filter(|way| way.family == Family::Combined) {
        way.bytes_per_update = 700.0;
        way.latency.cdf.iter_mut().for_each(|point| point.0 *= 20.0);
    }
    assert!(promise(&dear).unwrap().contains("NOT kept beside"), "{:?}", promise(&dear));
    assert_eq!(promise(&only("combined")), None);
}

#[test]
fn there_is_advice_for_each_family() {
    let families: Vec<Family> = advice(&comparison()).into_iter().map(|(family, _)| family).collect();
    let all = [
        Family::Polling,
        Family::LongPoll,
        Family::Mqtt,
        Family::WebSocket,
        Family::Sse,
        Family::SignalR,
        Family::Combined,
    ];
    assert_eq!(families, all);
    let mqtt = advice(&comparison()).swap_remove(2).1;
    assert!(mqtt.contains("MQTT 5, QoS 0, aliases: 99 of 100 updates within 2.46 ms"), "{mqtt}");
    assert!(
        mqtt.contains("these lost updates: MQTT 3.1.1, QoS 0; MQTT 5, QoS 0; MQTT 5, QoS 0, aliases."),
        "{mqtt}"
    );
}
