//! The one writer: it makes the resources, writes them when they are due, and deletes them.

use std::rc::Rc;

use anyhow::Result;

use super::course::{Course, Spot};
use super::schedule::Update;
use crate::load::alarm::Alarm;
use crate::load::client::Greeting;
use crate::load::door::Mark;
use crate::load::run::Run;
use crate::load::writer;
use crate::wire::{Five, Service};

/// The writer's connection.
pub(super) struct Writer(writer::Writer);

impl Writer {
    /// Connects, with this client id.
    pub(super) async fn connect(spot: &Spot, id: String, run: &Rc<Run>) -> Result<Self> {
        writer::Writer::connect(spot.addr, &greeting(spot, id, true, None), run).await.map(Self)
    }

    /// Makes all resources, each with the write of its number.
    pub(super) async fn make(&mut self, course: &Course, resources: usize) -> Result<()> {
        let payload =
            |resource: usize| Mark { sequence: resource as u64, sent_ns: 0 }.payload(course.payload);
        self.0.write_all((0..resources).map(|resource| (course.topic(resource), payload(resource)))).await
    }

    /// Deletes these resources.
    pub(super) async fn delete(&mut self, topics: impl Iterator<Item = String>) -> Result<()> {
        self.0.write_all(topics.map(|topic| (topic, Vec::new()))).await
    }

    /// Writes each update when it is due. Returns when all are acknowledged.
    pub(super) async fn write(mut self, course: &Course, updates: &[Update]) -> Result<()> {
        let (alarm, began) = (Alarm::new()?, course.begun().await);
        for (index, update) in updates.iter().enumerate() {
            loop {
                tokio::select! {
                    rung = alarm.until(began + update.due) => { rung?; break }
                    taken = self.0.take_acknowledgements() => taken?,
                }
            }
            let sequence = course.ledger.borrow().sequence(index);
            let mark = Mark { sequence, sent_ns: update.due.as_nanos() as u64 };
            self.0.send(&course.topic(update.resource), &mark.payload(course.payload)).await?;
        }
        self.0.wait_for_all().await
    }
}

/// How a client of MQTT introduces itself that has nothing to subscribe to.
pub(super) fn greeting(spot: &Spot, id: String, is_clean: bool, five: Option<Five>) -> Greeting {
    let (filters, service) = (Vec::new(), Service::Zero);
    Greeting::Mqtt { id, is_clean, filters, service, five, password: spot.token.clone() }
}
