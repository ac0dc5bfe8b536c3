//! What can be typed.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use dovetail_model::{Filter, Revision, Topic};

use crate::names;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed in another way
  2  the command line is wrong
  3  there is no such resource
  4  a precondition does not hold
  5  the server cannot be reached
  6  not allowed
  7  the position can no longer be resumed";

macro_rules! examples {
    ($($line:literal),+ $(,)?) => {
        const_str(&[concat!("Examples:\n", $("  ", $line, "\n"),+)], EXIT_CODES)
    };
}

fn const_str(parts: &[&str], codes: &str) -> String {
    format!("{}\n{codes}", parts.concat())
}

/// What a client does.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Print the contents of a resource
    #[command(after_help = examples!(
        "dovetail get plant/7/temp",
        "dovetail get plant/7/temp --json",
    ))]
    Get(Get),
    /// List resources
    #[command(after_help = examples!(
        "dovetail ls plant",
        "dovetail ls 'plant/+/temp' --json",
    ))]
    Ls(List),
    /// Write a resource and print the revision of the write
    #[command(after_help = examples!(
        "dovetail put plant/7/temp 21.5",
        "dovetail put plant/7/photo --type image/jpeg - < photo.jpg",
        "dovetail put plant/7/temp 22 --if-match k3f9x2ab.1042",
    ))]
    Put(Put),
    /// Change a resource by a JSON merge patch or a JSON patch
    #[command(after_help = examples!(
        r#"dovetail patch plant/7 '{"name":"north"}'"#,
        r#"dovetail patch plant/7 --json-patch '[{"op":"remove","path":"/name"}]'"#,
    ))]
    Patch(Patch),
    /// Delete a resource
    #[command(after_help = examples!("dovetail delete plant/7/temp"))]
    Delete(Delete),
    /// Publish an event: delivered to whoever watches, and not stored
    #[command(after_help = examples!("dovetail publish plant/7/alarm 'too hot'"))]
    Publish(Publish),
    /// Follow resources: their state, then every change
    #[command(after_help = examples!(
        "dovetail watch 'plant/#'",
        "dovetail watch 'plant/+/temp' --json --since k3f9x2ab.1042",
        "dovetail watch 'plant/#' --via mqtt --every",
    ))]
    Watch(Watch),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// Which server, and who asks.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// Where the server is
    #[arg(long, value_name = "URL", env = "DOVETAIL_SERVER", default_value = "http://127.0.0.1:8080")]
    pub server: String,
    /// A token that says who asks
    #[arg(long, value_name = "TOKEN", env = "DOVETAIL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// A name and a password that say who asks
    #[arg(
        long,
        value_name = "NAME:PASSWORD",
        env = "DOVETAIL_USER",
        hide_env_values = true,
        conflicts_with = "token"
    )]
    pub user: Option<String>,
}

/// Arguments of `get`.
#[derive(Args, Clone, Debug)]
pub struct Get {
    /// The name of the resource, like plant/7/temp
    #[arg(value_parser = names::topic)]
    pub path: Topic,
    /// Wait until the server has this revision: with that of a write, the write is seen
    #[arg(long, value_name = "TOKEN")]
    pub min_revision: Option<Revision>,
    /// Print a JSON object with revision, content type and contents
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Arguments of `ls`.
#[derive(Args, Clone, Debug)]
pub struct List {
    /// A filter like 'plant/+/temp' or 'plant/#'; a name lists it and everything below it
    #[arg(value_parser = names::filter_below, default_value = "#")]
    pub filter: Filter,
    /// Print a JSON object for each resource, one a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Conditions of a write.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Conditions")]
pub struct Conditions {
    /// Write only if the last change of the resource has this revision
    #[arg(long, value_name = "TOKEN")]
    pub if_match: Option<Revision>,
    /// Write only if there is no such resource
    #[arg(long, conflicts_with = "if_match")]
    pub if_absent: bool,
    /// A name for this write: repeated under the same key it happens at most once
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub idempotency_key: Option<String>,
}

/// Arguments of `put`.
#[derive(Args, Clone, Debug)]
pub struct Put {
    /// The name of the resource, like plant/7/temp
    #[arg(value_parser = names::topic)]
    pub path: Topic,
    /// The contents; `-` or nothing reads standard input
    #[arg(allow_hyphen_values = true)]
    pub value: Option<String>,
    /// The media type; by default JSON, text or bytes, whichever the contents are first
    #[arg(long = "type", value_name = "MEDIA_TYPE")]
    pub content_type: Option<String>,
    /// How long the resource lives, like 30s, 5m, 2h or 7d
    #[arg(long, value_name = "DURATION", value_parser = names::duration)]
    pub ttl: Option<Duration>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub conditions: Conditions,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Arguments of `patch`.
#[derive(Args, Clone, Debug)]
pub struct Patch {
    /// The name of the resource, like plant/7
    #[arg(value_parser = names::topic)]
    pub path: Topic,
    /// The patch; `-` or nothing reads standard input
    #[arg(allow_hyphen_values = true)]
    pub patch: Option<String>,
    /// The patch is a JSON patch (RFC 6902) and not a merge patch (RFC 7396)
    #[arg(long)]
    pub json_patch: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub conditions: Conditions,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Arguments of `delete`.
#[derive(Args, Clone, Debug)]
pub struct Delete {
    /// The name of the resource, like plant/7/temp
    #[arg(value_parser = names::topic)]
    pub path: Topic,
    /// Delete only if the last change of the resource has this revision
    #[arg(long, value_name = "TOKEN")]
    pub if_match: Option<Revision>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Arguments of `publish`.
#[derive(Args, Clone, Debug)]
pub struct Publish {
    /// The topic, like plant/7/alarm
    #[arg(value_parser = names::topic)]
    pub path: Topic,
    /// The contents; `-` or nothing reads standard input
    #[arg(allow_hyphen_values = true)]
    pub value: Option<String>,
    /// The media type; by default JSON, text or bytes, whichever the contents are first
    #[arg(long = "type", value_name = "MEDIA_TYPE")]
    pub content_type: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Arguments of `watch`.
#[derive(Args, Clone, Debug)]
pub struct Watch {
    /// A name or a filter like 'plant/+/temp' or 'plant/#'
    #[arg(value_parser = names::filter)]
    pub filter: Filter,
    /// Start after this position instead of with the current state
    #[arg(long, value_name = "TOKEN")]
    pub since: Option<Revision>,
    /// Tell every entry of the journal; otherwise, behind, only the newest state of each resource
    #[arg(long)]
    pub every: bool,
    /// How the changes come
    #[arg(long, value_enum, default_value_t = Via::Sse)]
    pub via: Via,
    /// Where MQTT is spoken, for --via mqtt; by default port 1883 of the server
    #[arg(long, value_name = "HOST:PORT", env = "DOVETAIL_MQTT")]
    pub mqtt: Option<String>,
    /// Print each item of the feed as a JSON object, one a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help")]
    pub connection: Connection,
}

/// Arguments of `completions`.
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// What carries a watch.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// Server-sent events
    Sse,
    /// MQTT 5
    Mqtt,
    /// Requests that wait for news
    Poll,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use clap::FromArgMatches as _;

    use super::*;

    fn program() -> clap::Command {
        Command::augment_subcommands(clap::Command::new("dovetail"))
    }

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("dovetail").chain(line.split(' '));
        Command::from_arg_matches(&program().try_get_matches_from(words)?)
    }

    #[test]
    fn the_interface_contradicts_itself_nowhere() {
        program().debug_assert();
    }

    #[test]
    fn every_example_in_the_help_can_be_typed() {
        for command in program().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for example in help.lines().filter_map(|line| line.trim().strip_prefix("dovetail ")) {
                // What a shell would take away.
                let typed = example.split(" < ").next().unwrap().replace('\'', "").replace("too hot", "hot");
                assert!(parse(&typed).is_ok(), "{example}: {:?}", parse(&typed));
            }
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "get",
            "get a/+",
            "put a 1 --if-match x",
            "put a 1 --if-match k3f9x2ab.1 --if-absent",
            "put a 1 --ttl 0",
            "watch a# ",
            "watch a --via pigeon",
            "get a --token t --user n:p",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let Ok(Command::Put(put)) = parse("put a -1 --ttl 5m --if-absent") else { panic!("refused") };
        assert_eq!((put.value.as_deref(), put.ttl), (Some("-1"), Some(Duration::from_mins(5))));
    }
}
