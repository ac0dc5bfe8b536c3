//! From a durable write to its push.

use anyhow::Result;

use super::requests::{BODY_BYTES, RECORD_BYTES, SLICES, measure};
use super::{Context, micros};
use crate::child::Running;
use crate::floor::disk;
use crate::load::exchange::{self, Plan, Request, Watcher};
use crate::report::{Progress, Rows, Target, median};
use crate::servers::Server;

/// Writers at the same time.
const WRITERS: usize = 256;

pub(super) fn run(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let redis = context.places.redis()?;
    alone(context, redis.as_ref(), rows, progress)?;
    many(context, redis.as_ref(), rows, progress)
}

/// One writer, in slices: the floor is what a write and its push cannot do without.
fn alone(context: &Context, redis: Option<&Server>, rows: &mut Rows, progress: &Progress) -> Result<()> {
    progress.step("lone fdatasync, round trip, and a write until it is pushed, in turn");
    let dir = context.places.fresh_dir()?;
    let echo = Running::own(&["hop", "none"])?;
    let dovetail = context.places.dovetail()?;
    let slice = Plan {
        request: Request::Block { size: BODY_BYTES },
        connections: 1,
        watcher: Watcher::None,
        warm_up: context.warm_up() / SLICES,
        measure: context.measure / SLICES,
    };
    let (mut floors, mut pushes, mut peers) = (vec![], vec![], vec![]);
    for _ in 0..SLICES {
        let sync = disk::lone_sync_ns(dir.path(), RECORD_BYTES, slice.measure)?;
        let trip = exchange::run(echo.addr, echo.pid(), slice)?.figures.p50_ns;
        floors.push(micros(sync + trip));
        pushes.push(pushed(&dovetail, mqtt(slice))?);
        if let Some(redis) = redis {
            peers.push(pushed(redis, channel(slice))?);
        }
    }
    rows.row("lone PUT to its push, p50", "µs", Target::RatioAtMost(1.6))
        .value(median(pushes.into_iter()))
        .floor("fdatasync + two hops", median(floors.into_iter()));
    if redis.is_some() {
        rows.row("  Redis, lone MULTI SET PUBLISH EXEC to its push, p50", "µs", Target::None)
            .value(median(peers.into_iter()));
    }
    Ok(())
}

/// Many writers, in slices: the peer answers when the write is durable, and pushes nothing.
fn many(context: &Context, redis: Option<&Server>, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const OURS: [(&str, Request); 2] = [
        ("publish with QoS 1", Request::MqttPut { payload: BODY_BYTES }),
        ("PUT", Request::HttpPut { body: BODY_BYTES }),
    ];
    progress.step("256 writers: SET, and a write until it is pushed, in turn");
    let dovetail = context.places.dovetail()?;
    let slice = Plan {
        request: Request::RedisSet { value: BODY_BYTES },
        connections: WRITERS,
        watcher: Watcher::None,
        warm_up: context.warm_up() / SLICES,
        measure: context.measure / SLICES,
    };
    let (mut sets, mut peers) = (vec![], vec![]);
    let mut ours = OURS.map(|_| Pushes::default());
    for _ in 0..SLICES {
        if let Some(redis) = redis {
            sets.push(micros(measure(redis, slice)?.p50_ns));
            peers.push(pushed(redis, channel(slice))?);
        }
        for ((_, request), pushes) in OURS.into_iter().zip(&mut ours) {
            let plan = Plan { request, watcher: Watcher::Mqtt, ..slice };
            let seen = exchange::run(dovetail.addr(), dovetail.pid(), plan)?;
            pushes.p50s.push(micros(seen.push_ns[0]));
            pushes.p99s.push(micros(seen.push_ns[1]));
            pushes.per_second.push(seen.figures.per_second);
            pushes.per_write.push(seen.pushed);
        }
    }
    let middle = |values: &[f64]| median(values.iter().copied());
    for ((name, _), pushes) in OURS.into_iter().zip(&ours) {
        let name_of_row = format!("256 writers, {name} to its push, p50");
        let row = rows.row(&name_of_row, "µs", Target::RatioAtMost(1.5)).value(middle(&pushes.p50s));
        if redis.is_some() {
            row.floor("Redis, SET answered", middle(&sets));
        }
        let mut shown = |what: &str, unit, values: &[f64]| {
            rows.row(&format!("  {name}, {what}"), unit, Target::None).value(middle(values));
        };
        shown("p99", "µs", &pushes.p99s);
        shown("writes", "/s", &pushes.per_second);
        shown("pushed per write", "", &pushes.per_write);
    }
    if redis.is_some() {
        rows.row("  Redis, MULTI SET PUBLISH EXEC to its push, p50", "µs", Target::None)
            .value(middle(&peers));
    }
    Ok(())
}

/// What was seen of one way to write, a value for each slice.
#[derive(Default)]
struct Pushes {
    p50s: Vec<f64>,
    p99s: Vec<f64>,
    per_second: Vec<f64>,
    per_write: Vec<f64>,
}

/// Written by PUT over HTTP, pushed over MQTT.
fn mqtt(plan: Plan) -> Plan {
    Plan { request: Request::HttpPut { body: BODY_BYTES }, watcher: Watcher::Mqtt, ..plan }
}

/// What people write by hand where they have Redis.
fn channel(plan: Plan) -> Plan {
    Plan { request: Request::RedisSetAndPublish { value: BODY_BYTES }, watcher: Watcher::Redis, ..plan }
}

/// The median microseconds from a write to its push.
fn pushed(server: &Server, plan: Plan) -> Result<f64> {
    Ok(micros(exchange::run(server.addr(), server.pid(), plan)?.push_ns[0]))
}
