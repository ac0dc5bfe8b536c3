//! The metrics of what is not the HTTP door's: connections, MQTT and WebSocket, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;

use dovetail_door_mqtt::Door;
use dovetail_door_signalr::Door as SignalRDoor;
use dovetail_door_ws::Door as WsDoor;
use dovetail_net::Counters;

/// Appends what the listeners and the doors of MQTT and WebSocket have counted.
pub(crate) fn append(text: &mut String, net: &Arc<Counters>, mqtt: &Door, ws: &WsDoor) {
    let (net, done) = (net.read(), mqtt.counters().read());
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
    gauge(text, "dovetail_mqtt_clients", "MQTT clients that are connected now.", mqtt.connected() as u64);
    let sessions = mqtt.sessions() as u64;
    gauge(text, "dovetail_mqtt_sessions", "MQTT sessions that outlive their connections.", sessions);
    counter(text, "dovetail_mqtt_connects_total", "MQTT connections accepted.", done.accepted);
    counter(text, "dovetail_mqtt_connects_refused_total", "MQTT connections refused.", done.refused);
    counter(
        text,
        "dovetail_mqtt_takeovers_total",
        "Connections ended by another with their client id.",
        done.taken_over,
    );
    counter(
        text,
        "dovetail_mqtt_violations_total",
        "Connections ended for breaking the protocol.",
        done.violations,
    );
    counter(text, "dovetail_mqtt_writes_refused_total", "Messages refused.", done.writes_refused);
    counter(
        text,
        "dovetail_mqtt_too_large_total",
        "Messages too large for their subscriber.",
        done.too_large,
    );
    counter(
        text,
        "dovetail_mqtt_expired_total",
        "Messages not delivered because their life was over.",
        done.expired,
    );
    counter(
        text,
        "dovetail_mqtt_throttled_total",
        "Times that a client was read slower because it published faster than it may.",
        done.throttled,
    );
    counter(text, "dovetail_mqtt_wills_total", "Wills published.", done.wills);
    append_traffic(text, mqtt);
    append_ws(text, ws);
}

/// Appends what the door of SignalR has done.
pub(crate) fn append_signalr(text: &mut String, signalr: &SignalRDoor) {
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
    for (name, help, value) in counters {
        counter(text, &format!("dovetail_signalr_{name}_total"), help, value);
    }
}

/// What the door of `dovetail.v1` has done.
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
    for (name, help, value) in counters {
        counter(text, &format!("dovetail_ws_{name}_total"), help, value);
    }
}

/// What has gone through the MQTT door.
fn append_traffic(text: &mut String, mqtt: &Door) {
    let through = mqtt.traffic();
    let counters = [
        ("bytes_received", "Bytes from MQTT clients.", through.bytes_received),
        ("bytes_sent", "Bytes to MQTT clients.", through.bytes_sent),
        ("packets_received", "Packets from MQTT clients.", through.packets_received),
        ("packets_sent", "Packets to MQTT clients.", through.packets_sent),
        ("publishes_received", "Messages from MQTT clients.", through.publishes_received),
        ("publishes_sent", "Messages to MQTT clients.", through.publishes_sent),
    ];
    for (name, help, value) in counters {
        counter(text, &format!("dovetail_mqtt_{name}_total"), help, value);
    }
    let gauges = [
        ("subscriptions", "Subscriptions, shared ones included.", through.subscriptions),
        ("shared_subscriptions", "Shared subscriptions.", through.shared_subscriptions),
        ("groups", "Groups of shared subscriptions.", mqtt.groups() as u64),
    ];
    for (name, help, value) in gauges {
        gauge(text, &format!("dovetail_mqtt_{name}"), help, value);
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
