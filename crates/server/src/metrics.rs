//! The metrics of what is not the HTTP door's: the process, connections, MQTT, WebSocket and SignalR, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;

use dovetail_door_mqtt::Door as MqttDoor;
use dovetail_door_signalr::Door as SignalRDoor;
use dovetail_door_ws::Door as WsDoor;
use dovetail_net::Counters;
use rustix::time::{ClockId, clock_gettime};

/// What the listeners and the doors besides HTTP's have counted.
pub(crate) struct Counted {
    pub(crate) net: Arc<Counters>,
    pub(crate) mqtt: MqttDoor,
    pub(crate) ws: WsDoor,
    pub(crate) signalr: SignalRDoor,
}

impl Counted {
    /// Appends all of it.
    pub(crate) fn append(&self, text: &mut String) {
        append_process(text);
        append_net(text, &self.net);
        append_mqtt(text, &self.mqtt);
        append_ws(text, &self.ws);
        append_signalr(text, &self.signalr);
    }
}

/// What the operating system knows of the process, under the names that Prometheus gives to every process.
fn append_process(text: &mut String) {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let name = "process_cpu_seconds_total";
    head(text, name, "counter", "CPU that the process has spent, in seconds.");
    let _ = writeln!(text, "{name} {}.{:09}", spent.tv_sec, spent.tv_nsec);
    if let Some(bytes) = resident_bytes() {
        gauge(text, "process_resident_memory_bytes", "Memory of the process that is in RAM.", bytes);
    }
}

/// `None` where the operating system does not say it so.
fn resident_bytes() -> Option<u64> {
    let pages: u64 =
        std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn append_net(text: &mut String, net: &Counters) {
    let net = net.read();
    gauge(text, "dovetail_connections", "Connections that are open now.", net.open as u64);
    counter(text, "dovetail_connections_accepted_total", "Connections accepted.", net.accepted);
    let name = "dovetail_connections_closed_early_total";
    head(text, name, "counter", "Connections closed before they reached a door.");
    let reasons =
        [("over_limit", net.over_limit), ("silent", net.silent), ("tls", net.tls), ("unknown", net.unknown)];
    for (reason, count) in reasons {
        let _ = writeln!(text, "{name}{{reason=\"{reason}\"}} {count}");
    }
    counter(text, "dovetail_accept_pauses_total", "Times that descriptors ran out.", net.pauses);
    counter(text, "dovetail_connection_panics_total", "Connection tasks that panicked.", net.panics);
}

fn append_mqtt(text: &mut String, mqtt: &MqttDoor) {
    let (done, through) = (mqtt.counters().read(), mqtt.traffic());
    let gauges = [
        ("clients", "MQTT clients that are connected now.", mqtt.connected() as u64),
        ("sessions", "MQTT sessions that outlive their connections.", mqtt.sessions() as u64),
        ("subscriptions", "Subscriptions, shared ones included.", through.subscriptions),
        ("shared_subscriptions", "Shared subscriptions.", through.shared_subscriptions),
        ("groups", "Groups of shared subscriptions.", mqtt.groups() as u64),
    ];
    for (name, help, value) in gauges {
        gauge(text, &format!("dovetail_mqtt_{name}"), help, value);
    }
    let counters = [
        ("connects", "MQTT connections accepted.", done.accepted),
        ("connects_refused", "MQTT connections refused.", done.refused),
        ("takeovers", "Connections ended by another with their client id.", done.taken_over),
        ("violations", "Connections ended for breaking the protocol.", done.violations),
        ("writes_refused", "Messages refused.", done.writes_refused),
        ("too_large", "Messages too large for their subscriber.", done.too_large),
        ("expired", "Messages not delivered because their life was over.", done.expired),
        (
            "throttled",
            "Times that a client was read slower because it published faster than it may.",
            done.throttled,
        ),
        ("wills", "Wills published.", done.wills),
        ("bytes_received", "Bytes from MQTT clients.", through.bytes_received),
        ("bytes_sent", "Bytes to MQTT clients.", through.bytes_sent),
        ("packets_received", "Packets from MQTT clients.", through.packets_received),
        ("packets_sent", "Packets to MQTT clients.", through.packets_sent),
        ("publishes_received", "Messages from MQTT clients.", through.publishes_received),
        ("publishes_sent", "Messages to MQTT clients.", through.publishes_sent),
    ];
    counters_of(text, "mqtt", &counters);
}

fn append_ws(text: &mut String, ws: &WsDoor) {
    let done = ws.counters();
    gauge(text, "dovetail_ws_clients", "WebSockets of dovetail.v1 that are open.", done.open);
    gauge(text, "dovetail_ws_watches", "Watches on them.", done.watches);
    let counters = [
        ("connects", "WebSockets of dovetail.v1 accepted.", done.accepted),
        ("requests", "Requests that came on them.", done.requests),
        ("requests_refused", "Requests refused.", done.refused),
        ("frames", "Frames of watches sent.", done.frames),
        ("violations", "WebSockets ended for breaking the protocol.", done.violations),
        ("silent", "WebSockets given up because nothing was heard of them.", done.silent),
    ];
    counters_of(text, "ws", &counters);
}

fn append_signalr(text: &mut String, signalr: &SignalRDoor) {
    let done = signalr.counts();
    let name = "dovetail_signalr_connections";
    head(text, name, "gauge", "SignalR connections that are open now.");
    let open = [
        ("websockets", done.websockets),
        ("server_sent_events", done.event_streams),
        ("long_polling", done.polling),
    ];
    for (transport, count) in open {
        let _ = writeln!(text, "{name}{{transport=\"{transport}\"}} {count}");
    }
    let counters = [
        ("negotiations", "SignalR connections negotiated.", done.negotiations),
        ("refused", "Requests of SignalR refused.", done.refused),
        ("handshakes", "SignalR connections that shook hands.", done.handshakes),
        ("reconnects", "Times that a SignalR connection went on with another socket.", done.reconnects),
        ("timeouts", "SignalR connections ended because the client was silent or away.", done.timeouts),
        ("violations", "SignalR connections ended for breaking the protocol.", done.violations),
        ("invocations", "Methods called and streams asked for.", done.invocations),
        ("messages_received", "Messages from SignalR clients.", done.messages_received),
        ("messages_sent", "Messages to SignalR clients.", done.messages_sent),
        ("bytes_received", "Bytes from SignalR clients.", done.bytes_received),
        ("bytes_sent", "Bytes to SignalR clients.", done.bytes_sent),
    ];
    counters_of(text, "signalr", &counters);
}

/// What a door has counted: names without its own, what they say, and how much it is.
fn counters_of(text: &mut String, door: &str, counters: &[(&str, &str, u64)]) {
    for (name, help, value) in counters {
        counter(text, &format!("dovetail_{door}_{name}_total"), help, *value);
    }
}

fn counter(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, "counter", help);
    let _ = writeln!(text, "{name} {value}");
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, "gauge", help);
    let _ = writeln!(text, "{name} {value}");
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
