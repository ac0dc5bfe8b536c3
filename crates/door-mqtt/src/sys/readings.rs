//! What is read, and how it is named.

use std::fmt::Display;
use std::time::Instant;

use dovetail_engine::{Engine, Status};
use dovetail_model::Topic;

use super::load::{Load, Stopwatch, WINDOWS};
use crate::{Shared, traffic};

/// Takes readings, and keeps what averages need.
pub(super) struct Readings {
    began: Instant,
    watch: Stopwatch,
    loads: [Load; LOADS.len()],
    /// The most clients that were connected at a look.
    most_clients: usize,
}

/// What is averaged.
const LOADS: [&str; 8] = [
    "messages/received",
    "messages/sent",
    "bytes/received",
    "bytes/sent",
    "publish/received",
    "publish/sent",
    "publish/dropped",
    "connections",
];

/// Readings in the making.
struct Sheet(Vec<(Topic, String)>);

impl Readings {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, watch: Stopwatch::new(now), loads: Default::default(), most_clients: 0 }
    }

    pub(super) fn take(&mut self, shared: &Shared, engine: &Engine, now: Instant) -> Vec<(Topic, String)> {
        let (traffic, done, engine_done) =
            (traffic::sum(&shared.traffic), shared.counters.read(), engine.counters().values());
        let (resources, bytes) = engine.size();
        let (connected, away) = (shared.registry.len(), shared.keeper.away());
        self.most_clients = self.most_clients.max(connected);
        let dropped = engine_done.events_dropped + done.too_large;
        let mut sheet = Sheet(Vec::with_capacity(64));
        sheet.broker("version", concat!("dovetail ", env!("CARGO_PKG_VERSION")));
        let up = now.saturating_duration_since(self.began).as_secs();
        sheet.broker("uptime", format_args!("{up} seconds"));
        sheet.broker("clients/connected", connected);
        sheet.broker("clients/maximum", self.most_clients);
        sheet.broker("clients/disconnected", away);
        sheet.broker("clients/total", connected + away);
        sheet.broker("clients/expired", done.sessions_expired);
        sheet.broker("messages/received", traffic.packets_received);
        sheet.broker("messages/sent", traffic.packets_sent);
        sheet.broker("messages/stored", resources);
        sheet.broker("retained messages/count", resources);
        sheet.broker("store/messages/count", resources);
        sheet.broker("store/messages/bytes", bytes);
        sheet.broker("bytes/received", traffic.bytes_received);
        sheet.broker("bytes/sent", traffic.bytes_sent);
        sheet.broker("publish/messages/received", traffic.publishes_received);
        sheet.broker("publish/messages/sent", traffic.publishes_sent);
        sheet.broker("publish/messages/dropped", dropped);
        sheet.broker("subscriptions/count", traffic.subscriptions);
        sheet.broker("shared_subscriptions/count", traffic.shared_subscriptions);
        let totals = [
            traffic.packets_received,
            traffic.packets_sent,
            traffic.bytes_received,
            traffic.bytes_sent,
            traffic.publishes_received,
            traffic.publishes_sent,
            dropped,
            done.accepted,
        ];
        let since_last = self.watch.lap(now);
        for ((name, load), total) in LOADS.iter().zip(&mut self.loads).zip(totals) {
            for ((window, _), average) in WINDOWS.iter().zip(load.look(total, since_last)) {
                sheet.broker(&format!("load/{name}/{window}"), format_args!("{average:.2}"));
            }
        }
        append_own(&mut sheet, shared, engine);
        sheet.0
    }
}

/// What is this server's own.
fn append_own(sheet: &mut Sheet, shared: &Shared, engine: &Engine) {
    let (done, engine_done) = (shared.counters.read(), engine.counters().values());
    sheet.own("revision", engine.head());
    sheet.own("oldest revision", engine.oldest());
    let state = match engine.status() {
        Status::Ready => "ready".to_owned(),
        Status::ReadOnly(reason) => format!("read-only: {reason}"),
        Status::Stopping => "stopping".to_owned(),
    };
    sheet.own("journal/state", state);
    sheet.own("journal/commits", engine_done.commits);
    sheet.own("journal/changes", engine_done.changes);
    sheet.own("journal/groups", engine_done.groups);
    sheet.own("writes/refused", engine_done.refused + done.writes_refused);
    sheet.own("events/accepted", engine_done.events);
    sheet.own("events/dropped", engine_done.events_dropped);
    sheet.own("feeds/count", engine_done.feeds);
    sheet.own("feeds/behind", engine_done.feeds_behind);
    sheet.own("feeds/catch-ups", engine_done.catch_ups);
    sheet.own("sessions/count", shared.keeper.sessions());
    sheet.own("groups/count", shared.groups.len());
    sheet.own("connects/refused", done.refused);
    sheet.own("connects/taken over", done.taken_over);
    sheet.own("violations", done.violations);
    sheet.own("wills", done.wills);
}

impl Sheet {
    fn broker(&mut self, name: &str, value: impl Display) {
        self.write(&format!("$SYS/broker/{name}"), &value);
    }

    fn own(&mut self, name: &str, value: impl Display) {
        self.write(&format!("$SYS/dovetail/{name}"), &value);
    }

    fn write(&mut self, name: &str, value: &dyn Display) {
        match Topic::new(name) {
            Ok(topic) => self.0.push((topic, value.to_string())),
            Err(error) => debug_assert!(false, "{name} is no topic: {error}"),
        }
    }
}
