//! A watcher that is told: over MQTT, or a door of the web.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, interval_at};

use super::copies::Kind;
use super::poll::catch_up;
use super::watcher::{Entry, Watcher};
use super::ways::Version;
use crate::load::client::{Client, Greeting};
use crate::load::door::{Door, HEAD_END, Mark, Watch};
use crate::wire::{self, Five, Message, Service};

/// Topic aliases that a client takes which takes some: as many as the server gives.
const ALIASES: u16 = 16;

/// How long a session may be away, in seconds.
const SESSION_EXPIRY_S: u32 = 600;

/// How often a client of the web that says nothing shows that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// A connection that is told.
pub(super) struct Push {
    client: Client,
    door: Door,
}

impl Push {
    /// Subscribes over MQTT. The fallback of `QoS` 1 is a session. That of `QoS` 0 is to take all retained messages again: a
    /// session does not know that what was under way at the cut never came, because nobody acknowledges it.
    pub(super) async fn mqtt(
        watcher: &Watcher,
        version: Version,
        service: Service,
        aliases: bool,
        entry: Entry,
    ) -> Result<Self> {
        let has_session = watcher.kind == Kind::WithFallback && service == Service::One;
        let resumes = entry == Entry::Resume && has_session;
        let five = (version == Version::V5).then(|| Five {
            session_expiry_s: if has_session { SESSION_EXPIRY_S } else { 0 },
            aliases: if aliases { ALIASES } else { 0 },
            is_live_only: entry == Entry::Again,
            since: None,
        });
        let filters = if resumes { Vec::new() } else { vec![watcher.course.filter()] };
        let push = Self::subscribe(watcher, !has_session, filters, service, five).await?;
        ensure!(!resumes || push.client.has_session, "the server does not know the session");
        Ok(push)
    }

    /// Reads by REST what there is, or what came after the position, and subscribes from there. Without fallback the
    /// second time from now.
    pub(super) async fn combined(watcher: &Watcher, entry: Entry) -> Result<Self> {
        if entry != Entry::Again {
            catch_up(watcher).await?;
        }
        let position = watcher.position.borrow().clone();
        let since = if entry == Entry::Again { Some(String::from("now")) } else { position };
        let five = Five { since, ..Five::default() };
        Self::subscribe(watcher, true, vec![watcher.course.filter()], Service::Zero, Some(five)).await
    }

    async fn subscribe(
        watcher: &Watcher,
        is_clean: bool,
        filters: Vec<String>,
        service: Service,
        five: Option<Five>,
    ) -> Result<Self> {
        let course = &watcher.course;
        let greeting = Greeting::Mqtt {
            id: course.client_id(&watcher.number.to_string()),
            is_clean,
            filters,
            service,
            five,
            password: course.spot.token.clone(),
        };
        let traffic = watcher.account.traffic.clone();
        let client = Client::connect_counted(course.spot.addr, &greeting, traffic).await?;
        Ok(Self { client, door: Door::Mqtt })
    }

    /// Watches through a door of the web. An event stream has no `now`: without a revision it begins with the state.
    pub(super) async fn web(watcher: &Watcher, door: Door, entry: Entry) -> Result<Self> {
        let (course, position) = (&watcher.course, watcher.position.borrow().clone());
        let traffic = watcher.account.traffic.clone();
        let mut client = Client::connect_counted(course.spot.addr, &Greeting::None, traffic).await?;
        door.greet(&mut client, &course.spot.fields).await?;
        let since = match entry {
            Entry::First => None,
            Entry::Again if door == Door::Sse => None,
            Entry::Again => Some("now"),
            Entry::Resume => Some(position.as_deref().context("it was told nothing before the cut")?),
        };
        let (filter, path) = (course.filter(), format!("{}/", course.collection));
        let watch = Watch { fields: &course.spot.fields, filter: &filter, path: &path, since };
        let request = door.request(&watch);
        match (door, entry) {
            (Door::Sse, _) => door.ask(&mut client, &request, HEAD_END).await?,
            // It is the first thing that a watch from now says.
            (Door::SignalRMessagePack, Entry::Again) => door.ask(&mut client, &request, "progress").await?,
            (_, Entry::Again) => door.ask(&mut client, &request, "\"progress\"").await?,
            _ => client.write(&request).await?,
        }
        Ok(Self { client, door })
    }

    /// Takes what comes.
    pub(super) async fn follow(&mut self, watcher: &Watcher) -> Result<()> {
        let sign = self.door.sign_of_life();
        let mut signs = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
        let mut answers = Vec::new();
        loop {
            tokio::select! {
                taken = take_some(&mut self.client, self.door, watcher, &mut answers) => taken?,
                _ = signs.tick(), if !sign.is_empty() => self.client.write(&sign).await?,
            }
            if !answers.is_empty() {
                self.client.write(&answers).await?;
                answers.clear();
            }
        }
    }

    /// Cuts the connection off.
    pub(super) fn cut(self) -> Result<()> {
        self.client.cut()
    }
}

/// Waits for bytes, and takes what is whole; `answers` are the acknowledgements due.
async fn take_some(client: &mut Client, door: Door, watcher: &Watcher, answers: &mut Vec<u8>) -> Result<()> {
    let run = &watcher.course.run;
    if door != Door::Mqtt {
        return client.read(run, |bytes| take_marks(watcher, bytes)).await;
    }
    client
        .read_packets(run, |packet| {
            take_marks(watcher, packet)?;
            if let Some((first, id)) = Message::of(packet).and_then(|message| message.answer) {
                wire::acknowledge(answers, first, id);
            }
            Ok(())
        })
        .await
}

fn take_marks(watcher: &Watcher, bytes: &[u8]) -> Result<usize> {
    let keeps_position = watcher.kind == Kind::WithFallback;
    Mark::find_behind(bytes, watcher.course.payload, |before, mark| {
        watcher.take(mark)?;
        if keeps_position && let Some(revision) = revision_in(before) {
            *watcher.position.borrow_mut() = Some(revision.to_owned());
        }
        Ok(())
    })
}

/// The last revision in what stands before a payload: that of its change, or of the frame around it. Whoever has taken
/// the payload may go on from there, at the cost of hearing something twice.
fn revision_in(bytes: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"rev";
    /// What stands between name and value in JSON, MessagePack and MQTT.
    const BETWEEN: usize = 3;
    let at = bytes.windows(NAME.len()).rposition(|window| window == NAME)? + NAME.len();
    let value = bytes.get(at..)?;
    let start = value.iter().take(BETWEEN + 1).position(u8::is_ascii_alphanumeric)?;
    let value = &value[start..];
    let is_of_it = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'.';
    let end = value.iter().position(|byte| !is_of_it(byte)).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok().filter(|revision| revision.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_found_in_every_format() {
        for (bytes, revision) in [
            (
                &br#""after":"abcdefgh.1","rev":"abcdefgh.2","changes":[{"rev":"abcdefgh.3","text":""#[..],
                Some("abcdefgh.3"),
            ),
            (b"\x26\0\x03rev\0\x0aabcdefgh.4\x26\0\x05after\0\x0aabcdefgh.3", Some("abcdefgh.4")),
            (b"\xa3rev\xaaabcdefgh.5\xa4text\xd9\xc8", Some("abcdefgh.5")),
            (b"\xa3rev\xd9\x20abcdefgh.5555555555\xa4text", Some("abcdefgh.5555555555")),
            (b"nothing", None),
            (b"rev", None),
            (b"\"rev\":12", None),
        ] {
            assert_eq!(revision_in(bytes), revision, "{bytes:?}");
        }
    }
}
