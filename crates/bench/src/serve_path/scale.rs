//! A large tree: how fast it starts, how much memory it takes, and how long it takes to say what changed.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::Context;
use crate::cpu::resident_bytes;
use crate::http;
use crate::load::percentile;
use crate::load::publishers::{self, Until};
use crate::report::{Progress, Rows, Target};
use crate::servers::Server;

const PAYLOAD_BYTES: u64 = 100;
const CLIENTS: u64 = 64;
const CHANGED: usize = 100;

/// How often `since` is asked.
const ASKED: usize = 50;

pub(super) fn run(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    let server = context.places.dovetail()?;
    let empty = resident_bytes(server.pid())?;
    let topics = context.resources.div_ceil(CLIENTS);
    progress.step(&format!("writing {} resources", topics * CLIENTS));
    let plan = publishers::Plan {
        clients: CLIENTS as usize,
        in_flight: 64,
        payload: PAYLOAD_BYTES as usize,
        topics_per_client: topics,
        retain: true,
        until: Until::EachTopic(1),
    };
    let filled = publishers::run(server.addr(), server.pid(), plan)?;
    rows.row("new resources over MQTT", "/s", Target::None).value(filled.per_second);
    let overhead = |server: &Server| -> Result<f64> {
        let resident = resident_bytes(server.pid())?.saturating_sub(empty) as f64;
        Ok(resident / (topics * CLIENTS) as f64 - PAYLOAD_BYTES as f64)
    };
    let bytes = overhead(&server)?;
    rows.row("memory over the payload, after writing", "B", Target::AtMost(400.0)).value(bytes);
    since(&server, rows, progress)?;

    progress.step("starting again after a stop");
    let dir = server.stop()?;
    let started = Instant::now();
    let server = context.places.dovetail_on(dir)?;
    rows.row("start-up after a stop", "ms", Target::AtMost(2000.0))
        .value(started.elapsed().as_secs_f64() * 1e3);
    let bytes = overhead(&server)?;
    rows.row("memory over the payload, after start-up", "B", Target::AtMost(400.0)).value(bytes);
    complete(&server, topics)?;

    progress.step("starting again after kill -9");
    http::put(server.addr(), "/bench/last", b"1")?;
    let dir = server.kill();
    let started = Instant::now();
    let server = context.places.dovetail_on(dir)?;
    rows.row("start-up after kill -9", "ms", Target::AtMost(2000.0))
        .value(started.elapsed().as_secs_f64() * 1e3);
    complete(&server, topics)
}

fn since(server: &Server, rows: &mut Rows, progress: &Progress) -> Result<()> {
    progress.step("asking what changed");
    let head = http::get(server.addr(), "/bench/c0/t0")?;
    let head = head.header("dovetail-revision").context("a GET told no revision")?.to_owned();
    for n in 0..CHANGED {
        http::put(
            server.addr(),
            &format!("/bench/c{}/t{n}", n as u64 % CLIENTS),
            format!("new {n}").as_bytes(),
        )?;
    }
    let mut samples = Vec::new();
    for _ in 0..ASKED {
        let asked = Instant::now();
        let answer = http::get(server.addr(), &format!("/?since={head}"))?;
        samples.push(asked.elapsed().as_nanos() as u64);
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "`since` was answered {}: {text}", answer.status);
        let items = text.matches("\"new ").count();
        ensure!(items == CHANGED, "`since` told {items} of {CHANGED} changes: {text:.300}");
    }
    let p50_ms = percentile(&mut samples, 0.5) as f64 / 1e6;
    rows.row("`since`, 100 changed of the large tree, p50", "ms", Target::AtMost(5.0)).value(p50_ms);
    Ok(())
}

/// The last written resource of each client is there again.
fn complete(server: &Server, topics: u64) -> Result<()> {
    for client in 0..CLIENTS {
        let path = format!("/bench/c{client}/t{}", topics - 1);
        let answer = http::get(server.addr(), &path)?;
        ensure!(answer.status == 200, "{path} is gone after the start: {}", answer.status);
        ensure!(answer.body.len() as u64 == PAYLOAD_BYTES, "{path} has {} bytes", answer.body.len());
    }
    Ok(())
}
