//! `watch`: prints what a feed tells until it is stopped.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use dovetail_client::{Interruption, Item, Start, WatchOptions};
use dovetail_model::Epoch;

use crate::args::{self, Via};
use crate::connection::{client, mqtt};
use crate::failure::{Failure, with_causes};
use crate::show;

const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Prints items until the server refuses for good or nobody reads them.
pub(crate) async fn watch(watch: args::Watch) -> Result<(), Failure> {
    let client = client(&watch.connection)?;
    let via = match watch.via {
        Via::Sse => dovetail_client::Via::Sse,
        Via::Poll => dovetail_client::Via::Poll,
        Via::Mqtt => dovetail_client::Via::Mqtt(mqtt(&client, watch.mqtt.as_deref())?),
    };
    let start = watch.since.map_or(Start::Baseline, Start::After);
    let options = WatchOptions { start, every: watch.every, ..WatchOptions::default() };
    let mut epoch = watch.since.map(|since| since.epoch);
    let mut feed = client.watch(watch.filter, via, options);
    loop {
        let item = feed.next().await.map_err(Failure::of)?;
        match &item {
            Item::Interrupted(interruption) => {
                warn(interruption);
                continue;
            }
            Item::BaselineBegin(rev) => epoch = Some(rev.epoch),
            _ => {}
        }
        let mut out = anstream::stdout().lock();
        if watch.json {
            // Only a resource needs the epoch, and it comes after the begin of its baseline.
            let epoch = epoch.unwrap_or(Epoch::from_random(1));
            if let Some(line) = show::item_json(&item, epoch) {
                writeln!(out, "{line}")?;
            }
        } else {
            write!(out, "{}", show::item(&item))?;
        }
        out.flush()?;
    }
}

/// Says that the feed is interrupted, so that silence is not taken for peace.
fn warn(interruption: &Interruption) {
    let Interruption { error, retry_in, attempt } = interruption;
    let seconds = retry_in.as_secs_f64();
    // Without standard error there is nobody to warn.
    let _ = writeln!(
        anstream::stderr(),
        "{WARNING}warning:{WARNING:#} {}; attempt {attempt} in {seconds:.1} s",
        with_causes(error)
    );
}
