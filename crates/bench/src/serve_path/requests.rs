//! Writes and reads, alone and from many connections.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Context, beside, micros, remark_syscalls};
use crate::child::Running;
use crate::floor::disk;
use crate::http;
use crate::load::exchange::{self, Request, Watcher};
use crate::load::publishers::{self, Until};
use crate::load::run::Figures;
use crate::report::{Progress, Rows, Target, median};
use crate::servers::{FILE_BYTES, FILE_PATH, Server};

/// Bytes of a written body.
pub(super) const BODY_BYTES: usize = 200;

/// Bytes of a journal record that holds such a body: the body, its path, its type and the record's own fields.
pub(super) const RECORD_BYTES: usize = 300;

/// Retained publishes of this scenario carry so many bytes.
const PUBLISH_BYTES: usize = 100;

/// The disk's temper changes within seconds, so all of a repeat is measured in slices, in turn, and each takes the median of
/// its own.
pub(super) const SLICES: u32 = 4;

pub(super) fn put_alone(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    progress.step("lone fdatasync, round trip, SET and PUT, in turn");
    let dir = context.places.fresh_dir()?;
    let echo = Running::own(&["hop", "none"])?;
    let (redis, etcd) = (context.places.redis()?, context.places.etcd()?);
    let dovetail = context.places.dovetail()?;
    let block = exchange::Plan {
        request: Request::Block { size: BODY_BYTES },
        connections: 1,
        watcher: Watcher::None,
        warm_up: context.warm_up() / SLICES,
        measure: context.measure / SLICES,
    };
    let (mut syncs, mut trips, mut puts, mut cpus) = (vec![], vec![], vec![], vec![]);
    let mut sets = Beside::new("Redis, appendfsync always: lone SET");
    let mut etcd_puts = Beside::new("etcd, by its JSON gateway: lone put");
    let mut syscalls = BTreeMap::new();
    for _ in 0..SLICES {
        syncs.push(micros(disk::lone_sync_ns(dir.path(), RECORD_BYTES, block.measure)?));
        trips.push(micros(exchange::run(echo.addr, echo.pid(), block)?.figures.p50_ns));
        if let Some(redis) = &redis {
            let plan = exchange::Plan { request: Request::RedisSet { value: BODY_BYTES }, ..block };
            sets.add(&measure(redis, plan)?);
        }
        if let Some(etcd) = &etcd {
            let plan = exchange::Plan { request: Request::EtcdPut { value: BODY_BYTES }, ..block };
            etcd_puts.add(&measure(etcd, plan)?);
        }
        let plan = exchange::Plan { request: Request::HttpPut { body: BODY_BYTES }, ..block };
        let figures = measure(&dovetail, plan)?;
        puts.push(micros(figures.p50_ns));
        cpus.push(figures.cpu_ns / 1e3);
        syscalls = figures.syscalls;
    }
    let (sync, trip) = (median(syncs.into_iter()), median(trips.into_iter()));
    let row = rows
        .row("lone PUT, p50", "µs", Target::RatioAtMost(2.5))
        .floor("fdatasync + round trip", sync + trip);
    row.value(median(puts.into_iter()));
    remark_syscalls(row, &syscalls);
    let cpu = median(cpus.into_iter());
    rows.row("  its server CPU", "µs", Target::None).value(cpu);
    rows.row("  the lone fdatasync", "µs", Target::None).value(sync);
    rows.row("  the round trip", "µs", Target::None).value(trip);
    sets.show(rows, cpu);
    etcd_puts.show(rows, cpu);
    Ok(())
}

/// What a peer does in the slices of a repeat.
struct Beside {
    what: &'static str,
    p50s: Vec<f64>,
    cpus: Vec<f64>,
}

impl Beside {
    fn new(what: &'static str) -> Self {
        Self { what, p50s: Vec::new(), cpus: Vec::new() }
    }

    fn add(&mut self, figures: &Figures) {
        self.p50s.push(micros(figures.p50_ns));
        self.cpus.push(figures.cpu_ns / 1e3);
    }

    /// Adds its latency, and its CPU beside Dovetail's, which took `cpu`.
    fn show(self, rows: &mut Rows, cpu: f64) {
        if self.p50s.is_empty() {
            return;
        }
        rows.row(&format!("  {}, p50", self.what), "µs", Target::None).value(median(self.p50s.into_iter()));
        rows.row(&format!("  {}, server CPU", self.what), "µs", Target::None)
            .value(median(self.cpus.into_iter()))
            .floor("Dovetail", cpu);
    }
}

pub(super) fn put_many(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const NAME: &str = "PUT on 256 connections, pushed to a subscriber: CPU";
    let plan = |request, watcher| exchange::Plan {
        request,
        connections: 256,
        watcher,
        warm_up: context.warm_up(),
        measure: context.measure,
    };
    if let Some(nginx) = context.places.nginx()? {
        progress.step("nginx, GET on 256 connections");
        let figures = measure(&nginx, plan(Request::HttpGet { path: FILE_PATH }, Watcher::None))?;
        rows.row(NAME, "µs", Target::RatioAtMost(1.6)).floor("nginx GET", figures.cpu_ns / 1e3);
        rows.row("  nginx, GETs", "/s", Target::None).value(figures.per_second);
    }
    if let Some(redis) = context.places.redis()? {
        progress.step("redis, SET on 256 connections");
        let figures = measure(&redis, plan(Request::RedisSet { value: BODY_BYTES }, Watcher::None))?;
        rows.row("  Redis, appendfsync always: CPU per SET", "µs", Target::None).value(figures.cpu_ns / 1e3);
        rows.row("  Redis, SETs", "/s", Target::None).value(figures.per_second);
    }
    let mut etcd_cpu = None;
    if let Some(etcd) = context.places.etcd()? {
        progress.step("etcd, put on 256 connections");
        let figures = measure(&etcd, plan(Request::EtcdPut { value: BODY_BYTES }, Watcher::None))?;
        etcd_cpu = Some(figures.cpu_ns / 1e3);
        rows.row("  etcd, puts", "/s", Target::None).value(figures.per_second);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, PUT on 256 connections");
    let plan = plan(Request::HttpPut { body: BODY_BYTES }, Watcher::Mqtt);
    let exchange::Outcome { figures, pushed, .. } = exchange::run(server.addr(), server.pid(), plan)?;
    let row = rows.row(NAME, "µs", Target::RatioAtMost(1.6)).value(figures.cpu_ns / 1e3);
    remark_syscalls(row, &figures.syscalls);
    beside(rows, [("  etcd, by its JSON gateway: CPU per put", etcd_cpu)], &figures);
    rows.row("  its PUTs", "/s", Target::None).value(figures.per_second);
    rows.row("  its PUTs, p99", "ms", Target::None).value(figures.p99_ns as f64 / 1e6);
    rows.row("  messages pushed per PUT", "", Target::None).value(pushed);
    Ok(())
}

pub(super) fn publish(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let plan = publishers::Plan {
        clients: 64,
        in_flight: 16,
        payload: PUBLISH_BYTES,
        topics_per_client: 100,
        retain: true,
        until: Until::Time { warm_up: context.warm_up(), measure: context.measure },
    };
    if let Some(mosquitto) = context.places.mosquitto()? {
        progress.step("mosquitto, retained publishes");
        let figures = publishers::run(mosquitto.addr(), mosquitto.pid(), plan)?;
        rows.row("  mosquitto, nothing durable: CPU per publish", "µs", Target::None)
            .value(figures.cpu_ns / 1e3);
        rows.row("  mosquitto, nothing durable: publishes", "/s", Target::None).value(figures.per_second);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, retained publishes");
    let figures = publishers::run(server.addr(), server.pid(), plan)?;
    rows.row("retained QoS 1 publishes, 64 × 16", "/s", Target::AtLeast(80_000.0)).value(figures.per_second);
    let row = rows
        .row("retained QoS 1 publishes, 64 × 16: CPU", "µs", Target::AtMost(8.0))
        .value(figures.cpu_ns / 1e3);
    remark_syscalls(row, &figures.syscalls);
    Ok(())
}

pub(super) fn get(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const NAME: &str = "GET of 200 bytes on 64 connections: CPU";
    let plan = exchange::Plan {
        request: Request::HttpGet { path: FILE_PATH },
        connections: 64,
        watcher: Watcher::None,
        warm_up: context.warm_up(),
        measure: context.measure,
    };
    if let Some(nginx) = context.places.nginx()? {
        progress.step("nginx, GET on 64 connections");
        let figures = measure(&nginx, plan)?;
        rows.row(NAME, "µs", Target::RatioAtMost(1.0)).floor("nginx GET", figures.cpu_ns / 1e3);
        rows.row("  nginx, GETs", "/s", Target::None).value(figures.per_second);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, GET on 64 connections");
    http::put(server.addr(), FILE_PATH, &[b'.'; FILE_BYTES])?;
    let figures = measure(&server, plan)?;
    let row = rows.row(NAME, "µs", Target::RatioAtMost(1.0)).value(figures.cpu_ns / 1e3);
    remark_syscalls(row, &figures.syscalls);
    rows.row("  its GETs", "/s", Target::None).value(figures.per_second);
    Ok(())
}

pub(super) fn measure(server: &Server, plan: exchange::Plan) -> Result<Figures> {
    Ok(exchange::run(server.addr(), server.pid(), plan)?.figures)
}
