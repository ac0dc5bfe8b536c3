//! Everything that is retained, at once.

use anyhow::Result;

use super::{Context, remark_syscalls};
use crate::child::Running;
use crate::load::publishers::{self, Until};
use crate::load::retained::{self, Plan};
use crate::load::run::Figures;
use crate::report::{Progress, Rows, Target};
use crate::servers::Server;

const CLIENTS: usize = 50;
const TOPICS_PER_CLIENT: u64 = 2_000;
const PAYLOAD_BYTES: usize = 100;

pub(super) fn run(context: &Context, rows: &mut Rows, progress: &Progress) -> Result<()> {
    const NAME: &str = "`#` on 100,000 retained: CPU per message";
    let plan = Plan {
        clients: CLIENTS,
        topics_per_client: TOPICS_PER_CLIENT,
        warm_up: context.warm_up(),
        measure: context.measure,
    };
    progress.step("floor, large writes");
    let (clients, topics) = (CLIENTS.to_string(), TOPICS_PER_CLIENT.to_string());
    let pour = Running::own(&["pour", &clients, &topics, &PAYLOAD_BYTES.to_string()])?;
    let figures = retained::run(pour.addr, pour.pid(), plan)?;
    rows.row(NAME, "µs", Target::AtMost(2.0)).floor("large writes", figures.cpu_ns / 1e3);
    rows.row("  the floor's messages", "/s", Target::None).value(figures.per_second);
    drop(pour);
    if let Some(server) = context.places.mosquitto()? {
        progress.step("mosquitto, 100,000 retained");
        let figures = filled(&server, plan)?;
        rows.row("  mosquitto", "µs", Target::None).value(figures.cpu_ns / 1e3);
        rows.row("  mosquitto messages", "/s", Target::None).value(figures.per_second);
    }
    let server = context.places.dovetail()?;
    progress.step("dovetail, 100,000 retained");
    let figures = filled(&server, plan)?;
    let row = rows.row(NAME, "µs", Target::AtMost(2.0)).value(figures.cpu_ns / 1e3);
    remark_syscalls(row, &figures.syscalls);
    rows.row("`#` on 100,000 retained: messages", "/s", Target::AtLeast(500_000.0)).value(figures.per_second);
    let all_ms = figures.p50_ns as f64 / 1e6;
    rows.row("  from SUBSCRIBE to the last of them, p50", "ms", Target::None).value(all_ms);
    Ok(())
}

fn filled(server: &Server, plan: Plan) -> Result<Figures> {
    let fill = publishers::Plan {
        clients: CLIENTS,
        in_flight: 16,
        payload: PAYLOAD_BYTES,
        topics_per_client: TOPICS_PER_CLIENT,
        retain: true,
        until: Until::EachTopic(1),
    };
    publishers::run(server.addr(), server.pid(), fill)?;
    server.rest()?;
    retained::run(server.addr(), server.pid(), plan)
}
