//! The server that is measured: one that was started for it, or one that runs already.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};

use super::copies::Kind;
use super::course::{Course, Spot};
use super::options::Settings;
use super::ways::{Version, Way};
use super::writer::{Writer, greeting};
use crate::cpu::Sample;
use crate::load::client::{Client, Greeting};
use crate::load::run::Run;
use crate::servers::{Places, Server};
use crate::wire::{self, Five, HERE, Service};

/// Where servers come from, and what is left on one that is not ours.
pub(super) struct Targets {
    places: Places,
    remote: Option<Spot>,
    /// First level of everything that is written.
    prefix: String,
    /// Servers given out so far.
    count: Cell<usize>,
    /// What was written on a server that is not ours, and followed how.
    left: RefCell<Vec<(Rc<Course>, Option<Way>)>>,
    resources: usize,
}

/// A server that is measured.
pub(super) struct Target {
    server: Option<Server>,
    pub(super) spot: Spot,
    /// What the resources of this measurement are below.
    pub(super) collection: String,
}

/// What a server has spent so far.
pub(super) enum Spent {
    Sample(Sample),
    Seconds(f64),
}

/// What a server says of itself.
#[derive(Debug, Default, PartialEq)]
struct OwnWords {
    cpu_s: Option<f64>,
    resident: Option<f64>,
}

impl Targets {
    /// Starts nothing yet.
    pub(super) fn new(settings: &Settings) -> Self {
        let authorization = settings
            .token
            .as_ref()
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let remote = settings.server.as_ref().map(|remote| Spot {
            addr: remote.addr,
            fields: format!("Host: {}\r\n{authorization}", remote.host),
            token: settings.token.clone(),
        });
        let random = RandomState::new().hash_one(std::process::id()) as u32;
        Self {
            places: Places { dovetail: settings.dovetail.clone(), dir: settings.dir.clone() },
            remote,
            prefix: format!("bench-{random:08x}"),
            count: Cell::new(0),
            left: RefCell::default(),
            resources: settings.resources,
        }
    }

    /// What everything that is written is below.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The server for the next measurement, with nothing in the collection. Names have the same length each time, because
    /// they are part of what is moved.
    pub(super) fn next(&self) -> Result<Target> {
        let collection = format!("{}/{:03}", self.prefix, self.count.get());
        self.count.set(self.count.get() + 1);
        if let Some(spot) = &self.remote {
            return Ok(Target { server: None, spot: spot.clone(), collection });
        }
        let server = self.places.dovetail()?;
        let spot = Spot { addr: server.addr(), fields: HERE.to_owned(), token: None };
        Ok(Target { server: Some(server), spot, collection })
    }

    /// Resources are about to be made there, and followed.
    pub(super) fn makes(&self, course: &Rc<Course>, way: Option<Way>) {
        if self.remote.is_some() {
            self.left.borrow_mut().push((Rc::clone(course), way));
        }
    }

    /// Deletes what was written on a server that is not ours, and ends the sessions there.
    pub(super) async fn clean(&self) -> Result<()> {
        let left = self.left.take();
        let (Some(spot), false) = (&self.remote, left.is_empty()) else {
            return Ok(());
        };
        let mut writer = Writer::connect(spot, format!("{}-cleaner", self.prefix), &Run::new()).await?;
        for (course, way) in left {
            end_sessions(&course, way).await?;
            writer.delete((0..self.resources).map(|resource| course.topic(resource))).await?;
        }
        Ok(())
    }
}

impl Target {
    /// Resident bytes of the server once it has nothing to do, if they can be seen.
    pub(super) async fn resident(&self) -> Result<Option<f64>> {
        match &self.server {
            Some(server) => Ok(Some(server.resident_bytes()? as f64)),
            None => Ok(self.own_words().await?.resident),
        }
    }

    /// CPU of the server so far, if it can be seen.
    pub(super) async fn spent(&self) -> Result<Option<Spent>> {
        match &self.server {
            Some(server) => Ok(Some(Spent::Sample(Sample::take(server.pid())?))),
            None => Ok(self.own_words().await?.cpu_s.map(Spent::Seconds)),
        }
    }

    async fn own_words(&self) -> Result<OwnWords> {
        let mut client = Client::connect(self.spot.addr, &Greeting::None).await?;
        let request = format!("GET /-/metrics HTTP/1.1\r\n{}\r\n", self.spot.fields);
        let answer = client.ask(&Run::new(), request.as_bytes()).await?;
        ensure!(answer.status == 200, "/-/metrics was answered {}", answer.status);
        Ok(OwnWords::of(&String::from_utf8_lossy(&answer.body)))
    }
}

impl OwnWords {
    /// The names are those that Prometheus gives to every process.
    fn of(metrics: &str) -> Self {
        let value = |name: &str| {
            metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
        };
        Self { cpu_s: value("process_cpu_seconds_total"), resident: value("process_resident_memory_bytes") }
    }
}

/// Microseconds of CPU from one time to another, if the server's CPU can be seen.
pub(super) fn cpu_us(from: Option<Spent>, to: Option<Spent>) -> Option<f64> {
    match (from?, to?) {
        (Spent::Sample(from), Spent::Sample(to)) => Some(from.until(&to) as f64 / 1e3),
        (Spent::Seconds(from), Spent::Seconds(to)) => Some((to - from) * 1e6),
        _ => None,
    }
}

/// Takes away the sessions that were made for this way.
async fn end_sessions(course: &Course, way: Option<Way>) -> Result<()> {
    let Some(Way::Mqtt { version, service: Service::One, .. }) = way else {
        return Ok(());
    };
    let durable: Vec<usize> = {
        let ledger = course.ledger.borrow();
        (0..ledger.watchers()).filter(|&n| ledger.kind(n) == Kind::WithFallback).collect()
    };
    for watcher in durable {
        let five = (version == Version::V5).then(Five::default);
        let id = course.client_id(&watcher.to_string());
        let greeting = greeting(&course.spot, id, true, five);
        let client = Client::connect(course.spot.addr, &greeting).await.context("ending a session")?;
        client.write(wire::DISCONNECT).await?;
    }
    Ok(())
}

/// What the server has to be able to do before anything is measured: answer.
pub(super) async fn greet(spot: &Spot) -> Result<()> {
    let mut client = Client::connect(spot.addr, &Greeting::None).await?;
    let request = format!("GET /-/ready HTTP/1.1\r\n{}\r\n", spot.fields);
    let answer = client.ask(&Run::new(), request.as_bytes()).await.context("GET /-/ready")?;
    ensure!(answer.status == 200, "the server is not ready: {}", String::from_utf8_lossy(&answer.body));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_say_what_it_spends() {
        let text = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.25\n\
                    process_resident_memory_bytes 4096\nprocess_resident_memory_bytes_max 9\n";
        assert_eq!(OwnWords::of(text), OwnWords { cpu_s: Some(1.25), resident: Some(4096.0) });
        assert_eq!(OwnWords::of("dovetail_connections 3\n"), OwnWords::default());
    }
}
