"""Paho: baseline, live, sessions, wills. Usage: paho_client.py PORT 3.1.1|5"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE_S = 20
port, version = int(sys.argv[1]), sys.argv[2]
v5 = version == "5"
prefix = f"paho{version.replace('.', '')}"


class Client:
    """A client whose callbacks fill queues, so that the script can wait for each of them."""

    def __init__(self, name, clean=True, will=None):
        protocol = mqtt.MQTTv5 if v5 else mqtt.MQTTv311
        arguments = {} if v5 else {"clean_session": clean}
        self.inner = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, **arguments)
        self.messages, self.connected, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.inner.on_message = lambda client, data, message: self.messages.put(message)
        self.inner.on_connect = lambda client, data, flags, reason, properties: self.connected.put((flags, reason))
        self.inner.on_subscribe = lambda client, data, id, reasons, properties: self.subscribed.put(reasons)
        if will:
            self.inner.will_set(*will)
        options = {}
        if v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 600
            options = {"clean_start": clean, "properties": properties}
        self.inner.connect("127.0.0.1", port, keepalive=30, **options)
        self.inner.loop_start()
        self.flags, reason = self.connected.get(timeout=PATIENCE_S)
        assert not reason.is_failure, reason

    def subscribe(self, topic, qos):
        self.inner.subscribe(topic, qos)
        reasons = self.subscribed.get(timeout=PATIENCE_S)
        assert [reason.value for reason in reasons] == [qos], reasons

    def publish(self, topic, payload, qos, retain=True):
        self.inner.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def expect(self, topic, payload, retain):
        message = self.messages.get(timeout=PATIENCE_S)
        found = (message.topic, message.payload.decode(), bool(message.retain))
        assert found == (topic, payload, retain), f"{found} instead of {(topic, payload, retain)}"

    def leave(self):
        self.inner.disconnect()
        self.inner.loop_stop()


# Baseline, then live, in every quality of service.
writer, reader = Client(f"{prefix}-writer"), Client(f"{prefix}-reader")
writer.publish(f"{prefix}/a", "one", 1)
reader.subscribe(f"{prefix}/#", 2)
reader.expect(f"{prefix}/a", "one", True)
for qos in (0, 1, 2):
    writer.publish(f"{prefix}/b", f"live {qos}", qos)
    reader.expect(f"{prefix}/b", f"live {qos}", False)
writer.publish(f"{prefix}/event", "now", 1, retain=False)
reader.expect(f"{prefix}/event", "now", False)

# A session ends with its connection, whatever the client asked for, and the server says so: whoever comes back starts
# with a baseline and misses nothing of the state.
sleeper = Client(f"{prefix}-sleeper", clean=False)
sleeper.subscribe(f"{prefix}/missed", 1)
sleeper.leave()
writer.publish(f"{prefix}/missed", "while asleep", 1)
reader.expect(f"{prefix}/missed", "while asleep", False)
sleeper = Client(f"{prefix}-sleeper", clean=False)
assert not sleeper.flags.session_present
sleeper.subscribe(f"{prefix}/missed", 1)
sleeper.expect(f"{prefix}/missed", "while asleep", True)
sleeper.leave()

# A will is published when its client is gone without a word, and not when it leaves in order.
polite = Client(f"{prefix}-polite", will=(f"{prefix}/will", "polite", 1, False))
polite.leave()
mortal = Client(f"{prefix}-mortal", will=(f"{prefix}/will", "mortal", 1, False))
mortal.inner.loop_stop()
mortal.inner.socket().close()
reader.expect(f"{prefix}/will", "mortal", False)

reader.leave()
writer.leave()
print("all well")
