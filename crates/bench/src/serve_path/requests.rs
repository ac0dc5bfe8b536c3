//! Writes and reads, alone and from many connections.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Context, remark_syscalls};
use crate::child::Running;
use crate::floor::disk;
use crate::http;
use crate::load::exchange::{self, Request};
use crate::load::publishers::{self, Until};
use crate::load::run::Figures;
use crate::report::{Progress, Rows, Target, median};
use crate::servers::{FILE_BYTES, FILE_PATH, Server};

/// Bytes of a written body.
const BODY_BYTES: usize = 200;

/// Bytes of a journal record that holds such a body: the body, its path, its type and the record's own fields.
const RECORD_BYTES: usize = 300;

/// Retained publishes of this scenario carry so many bytes.
const PUBLISH_BYTES: usize = 100;

/// The disk's temper changes within seconds, so all of a repeat is measured in slices, in turn, and each takes the median of
/// its own.
const SLICES: u32 = 4;

pub(super) fn put_alone(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    progress.step("lone fdatasync, round trip, SET and PUT, in turn");
    let dir = context.places.fresh_dir()?;
    let echo = Running::own(&["hop", "none"])?;
    let (redis, dovetail) = (context.places.redis()?, context.places.dovetail()?);
    let block = exchange::Plan {
        request: Request::Block { size: BODY_BYTES },
        connections: 1,
        watched: false,
        warm_up: context.warm_up() / SLICES,
        measure: context.measure / SLICES,
    };
    let micros = |ns: u64| ns as f64 / 1e3;
    let (mut syncs, mut trips, mut sets, mut puts, mut cpus) = (vec![], vec![], vec![], vec![], vec![]);
    let mut syscalls = BTreeMap::new();
    for _ in 0..SLICES {
        syncs.push(micros(disk::lone_sync_ns(dir.path(), RECORD_BYTES, block.measure)?));
        trips.push(micros(exchange::run(echo.addr, echo.pid(), block)?.figures.p50_ns));
        if let Some(redis) = &redis {
            let plan = exchange::Plan { request: Request::RedisSet { value: BODY_BYTES }, ..block };
            sets.push(micros(measure(redis, plan)?.p50_ns));
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
    rows.row("  its server CPU", "µs", Target::None).value(median(cpus.into_iter()));
    rows.row("  the lone fdatasync", "µs", Target::None).value(sync);
    rows.row("  the round trip", "µs", Target::None).value(trip);
    if redis.is_some() {
        rows.row("  Redis, appendfsync always: lone SET, p50", "µs", Target::None)
            .value(median(sets.into_iter()));
    }
    Ok(())
}

pub(super) fn put_many(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const NAME: &str = "PUT on 256 connections, pushed to a subscriber: CPU";
    let plan = |request, watched| exchange::Plan {
        request,
        connections: 256,
        watched,
        warm_up: context.warm_up(),
        measure: context.measure,
    };
    if let Some(nginx) = context.places.nginx()? {
        progress.step("nginx, GET on 256 connections");
        let figures = measure(&nginx, plan(Request::HttpGet { path: FILE_PATH }, false))?;
        rows.row(NAME, "µs", Target::RatioAtMost(1.6)).floor("nginx GET", figures.cpu_ns / 1e3);
        rows.row("  nginx, GETs", "/s", Target::None).value(figures.per_second);
    }
    if let Some(redis) = context.places.redis()? {
        progress.step("redis, SET on 256 connections");
        let figures = measure(&redis, plan(Request::RedisSet { value: BODY_BYTES }, false))?;
        rows.row("  Redis, appendfsync always: CPU per SET", "µs", Target::None).value(figures.cpu_ns / 1e3);
        rows.row("  Redis, SETs", "/s", Target::None).value(figures.per_second);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, PUT on 256 connections");
    let plan = plan(Request::HttpPut { body: BODY_BYTES }, true);
    let exchange::Outcome { figures, pushed } = exchange::run(server.addr(), server.pid(), plan)?;
    let row = rows.row(NAME, "µs", Target::RatioAtMost(1.6)).value(figures.cpu_ns / 1e3);
    remark_syscalls(row, &figures.syscalls);
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
        watched: false,
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

fn measure(server: &Server, plan: exchange::Plan) -> Result<Figures> {
    Ok(exchange::run(server.addr(), server.pid(), plan)?.figures)
}
