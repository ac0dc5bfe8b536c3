"""Python clients through the features of MQTT. Usage: driver.py CLIENT TRANSPORT VERSION PORT FEATURE...

CLIENT is `paho` or `gmqtt`, TRANSPORT `tcp` or `websockets`, VERSION `3.1`, `3.1.1` or `5`. Prints a line for each feature
that works, and ends at the first that does not. `driver.mjs` does the same in JavaScript; the two read alike.
"""

import asyncio
import queue
import socket
import sys
import threading
import urllib.request

PATIENCE_S = 20
client_name, transport, version, port = *sys.argv[1:4], int(sys.argv[4])
v5 = version == "5"
root = f"{client_name}/{transport}/{version}"
# What clients call the properties of a message, as they arrive.
PROPERTIES = ("user", "response_topic", "correlation", "expiry", "content_type")


class Message:
    def __init__(self, topic, payload, qos, retain, **properties):
        self.topic, self.payload, self.qos, self.retain = topic, bytes(payload), qos, bool(retain)
        for name in PROPERTIES:
            setattr(self, name, properties.get(name))


class Client:
    """What the features need of a client; subclasses fill the queues."""

    def __init__(self):
        self.messages, self.connected, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()

    def next(self):
        return self.messages.get(timeout=PATIENCE_S)

    def expect(self, topic, payload, qos=None, retain=None):
        message = self.next()
        found = (message.topic, message.payload, message.qos, message.retain)
        wanted = (topic, payload, found[2] if qos is None else qos, found[3] if retain is None else retain)
        assert found == wanted, f"{found} instead of {wanted}"
        return message


class Paho(Client):
    def __init__(self, name, will=None, clean=True, expiry_s=0):
        super().__init__()
        import paho.mqtt.client as mqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        protocol = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
        self.properties_of = lambda kind: Properties(getattr(PacketTypes, kind))
        arguments = {} if v5 else {"clean_session": clean}
        self.inner = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, transport=transport, **arguments
        )
        self.inner.on_message = lambda client, data, message: self.messages.put(self.read(message))
        self.inner.on_connect = lambda client, data, flags, reason, properties: self.connected.put((flags, reason))
        self.inner.on_subscribe = lambda client, data, id, reasons, properties: self.subscribed.put(reasons)
        if will:
            self.inner.will_set(*will)
        options = {}
        if v5:
            properties = self.properties_of("CONNECT")
            properties.SessionExpiryInterval = expiry_s
            options = {"clean_start": clean, "properties": properties}
        self.inner.connect("127.0.0.1", port, keepalive=30, **options)
        self.inner.loop_start()
        flags, reason = self.connected.get(timeout=PATIENCE_S)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    @staticmethod
    def read(message):
        properties = getattr(message, "properties", None)
        get = lambda name: getattr(properties, name, None)
        return Message(
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            user=get("UserProperty"),
            response_topic=get("ResponseTopic"),
            correlation=get("CorrelationData"),
            expiry=get("MessageExpiryInterval"),
            content_type=get("ContentType"),
        )

    def publish(self, topic, payload, qos=1, retain=False, user=None, alias=None, **more):
        properties = self.properties_of("PUBLISH") if v5 else None
        names = {
            "response_topic": "ResponseTopic",
            "correlation": "CorrelationData",
            "expiry": "MessageExpiryInterval",
            "content_type": "ContentType",
        }
        for name, value in more.items():
            setattr(properties, names[name], value)
        for pair in user or []:
            properties.UserProperty = pair
        if alias:
            properties.TopicAlias = alias
        self.inner.publish(topic, payload, qos, retain, properties).wait_for_publish(PATIENCE_S)

    def subscribe(self, topic, qos):
        self.inner.subscribe(topic, qos)
        reasons = self.subscribed.get(timeout=PATIENCE_S)
        assert [reason.value for reason in reasons] == [qos], reasons

    def vanish(self):
        self.inner.loop_stop()
        # Neither DISCONNECT nor a close frame.
        sock = self.inner.socket()
        sock = getattr(sock, "_socket", sock)
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def leave(self):
        self.inner.disconnect()
        self.inner.loop_stop()


class Gmqtt(Client):
    loop = None

    def __init__(self, name, will=None, clean=True, expiry_s=0):
        super().__init__()
        import gmqtt

        self.gmqtt = gmqtt
        if Gmqtt.loop is None:
            Gmqtt.loop = asyncio.new_event_loop()
            threading.Thread(target=Gmqtt.loop.run_forever, daemon=True).start()
        self.wait(self.open(name, will, clean, expiry_s))

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, Gmqtt.loop).result(PATIENCE_S)

    async def open(self, name, will, clean, expiry_s):
        options = {"session_expiry_interval": expiry_s} if v5 else {}
        message = self.gmqtt.Message(will[0], will[1], qos=will[2], retain=will[3]) if will else None
        self.inner = self.gmqtt.Client(name, clean_session=clean, will_message=message, **options)
        self.inner.set_config({"reconnect_retries": 0})
        self.inner.on_message = self.on_message
        self.inner.on_connect = lambda client, flags, reason, properties: self.connected.put(flags)
        self.inner.on_subscribe = lambda client, id, reasons, properties: self.subscribed.put(reasons)
        await self.inner.connect("127.0.0.1", port, version=5 if v5 else 4)
        self.session_present = bool(self.connected.get(timeout=PATIENCE_S) & 1)

    def on_message(self, client, topic, payload, qos, properties):
        one = lambda name: (properties.get(name) or [None])[0]
        self.messages.put(
            Message(
                topic,
                payload,
                qos,
                properties["retain"],
                user=properties.get("user_property"),
                response_topic=one("response_topic"),
                correlation=one("correlation_data"),
                expiry=one("message_expiry_interval"),
                content_type=one("content_type"),
            )
        )
        return 0

    def publish(self, topic, payload, qos=1, retain=False, user=None, alias=None, **more):
        names = {
            "response_topic": "response_topic",
            "correlation": "correlation_data",
            "expiry": "message_expiry_interval",
            "content_type": "content_type",
        }
        properties = {names[name]: value for name, value in more.items()}
        if user:
            properties["user_property"] = user
        if alias:
            properties["topic_alias"] = alias

        async def go():
            self.inner.publish(topic, payload, qos=qos, retain=retain, **properties)
            await self.inner._persistent_storage.wait_empty()

        self.wait(go())

    def subscribe(self, topic, qos):
        async def go():
            self.inner.subscribe(topic, qos=qos)

        self.wait(go())
        reasons = self.subscribed.get(timeout=PATIENCE_S)
        assert list(reasons) == [qos], reasons

    def vanish(self):
        async def go():
            self.inner._connection._transport.abort()

        self.wait(go())

    def leave(self):
        self.wait(self.inner.disconnect())


Make = {"paho": Paho, "gmqtt": Gmqtt}[client_name]
numbers = iter(range(1000))


def fresh():
    return f"{client_name}{transport[0]}{version.replace('.', '')}{next(numbers)}"


def make(name=None, **options):
    return Make(name or fresh(), **options)


def status(topic):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{topic}", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def qos(topic):
    """Every quality of service in both directions, in order, the largest message among them."""
    writer, reader = make(), make()
    reader.subscribe(f"{topic}/#", 2)
    payloads = [b"", b"x", bytes(range(256)) * 4_000]
    for level in (0, 1, 2):
        for number, payload in enumerate(payloads):
            writer.publish(f"{topic}/{level}/{number}", payload, level)
        for number, payload in enumerate(payloads):
            reader.expect(f"{topic}/{level}/{number}", payload, retain=False)
    for level in (0, 1, 2):
        one = make()
        one.subscribe(f"{topic}/level", level)
        writer.publish(f"{topic}/level", b"for all", 2)
        one.expect(f"{topic}/level", b"for all", qos=level)
        one.leave()
    writer.leave()
    reader.leave()


def retained(topic):
    """A retained message is a resource, until it is deleted."""
    writer = make()
    writer.publish(f"{topic}/a", b"one", 1, retain=True)
    assert status(f"{topic}/a") == (200, b"one")
    reader = make()
    reader.subscribe(f"{topic}/#", 1)
    reader.expect(f"{topic}/a", b"one", retain=True)
    writer.publish(f"{topic}/a", b"", 1, retain=True)
    reader.expect(f"{topic}/a", b"", retain=False)
    assert status(f"{topic}/a")[0] == 404
    writer.publish(f"{topic}/b", b"two", 2, retain=True)
    late = make()
    late.subscribe(f"{topic}/#", 1)
    late.expect(f"{topic}/b", b"two", retain=True)
    for client in (writer, reader, late):
        client.leave()


def will(topic):
    """Published when its client is gone without a word, and not when it leaves in order."""
    reader = make()
    reader.subscribe(f"{topic}/#", 1)
    polite = make(will=(f"{topic}/polite", b"gone", 1, True))
    polite.leave()
    mortal = make(will=(f"{topic}/mortal", b"gone", 1, True))
    mortal.vanish()
    reader.expect(f"{topic}/mortal", b"gone")
    assert status(f"{topic}/polite")[0] == 404
    assert status(f"{topic}/mortal") == (200, b"gone")
    reader.leave()


def session(topic):
    """A session waits for its client: its subscriptions, and what came meanwhile, in order."""
    writer, name = make(), fresh()
    sleeper = lambda: make(name, clean=False, expiry_s=600)
    first = sleeper()
    assert not first.session_present
    first.subscribe(f"{topic}/#", 2)
    first.leave()
    for number, retain in ((1, True), (2, False), (3, True)):
        writer.publish(f"{topic}/a", b"asleep %d" % number, 1, retain=retain)
    second = sleeper()
    assert second.session_present
    for number in (1, 2, 3):
        second.expect(f"{topic}/a", b"asleep %d" % number, qos=1)
    writer.publish(f"{topic}/a", b"awake", 2)
    second.expect(f"{topic}/a", b"awake", qos=2)
    second.vanish()
    writer.publish(f"{topic}/b", b"gone", 2)
    third = sleeper()
    assert third.session_present
    # Most programs subscribe again whenever they connect. They get the state once more, and lose nothing.
    third.subscribe(f"{topic}/#", 2)
    found = {(message.topic, message.payload, message.retain) for message in (third.next(), third.next())}
    assert found == {(f"{topic}/b", b"gone", False), (f"{topic}/a", b"asleep 3", True)}, found
    third.leave()
    last = make(name)
    assert not last.session_present
    last.leave()
    writer.leave()


def share(topic):
    """Each message goes to one member of a group, and all of them to somebody."""
    writer, first, second = make(), make(), make()
    second.messages = first.messages
    for member in (first, second):
        member.subscribe(f"$share/crew/{topic}/#", 1)
    wanted = {b"%d" % number for number in range(20)}
    for payload in wanted:
        writer.publish(f"{topic}/jobs", payload, 1)
    found = [first.next().payload for _ in wanted]
    assert (len(found), set(found)) == (20, wanted), found
    for client in (writer, first, second):
        client.leave()


def alias(topic):
    """A topic that is said once and then by its number."""
    writer, reader = make(), make()
    reader.subscribe(f"{topic}/#", 1)
    writer.publish(f"{topic}/long/name", b"1", alias=7)
    writer.publish("", b"2", alias=7)
    writer.publish(f"{topic}/other", b"3", alias=7)
    writer.publish("", b"4", alias=7)
    for name, payload in (("long/name", b"1"), ("long/name", b"2"), ("other", b"3"), ("other", b"4")):
        reader.expect(f"{topic}/{name}", payload)
    writer.leave()
    reader.leave()


def expiry(topic):
    """What is left of a life is told, and its end is a delete."""
    writer, reader = make(), make()
    writer.publish(f"{topic}/long", b"here", 1, retain=True, expiry=100)
    reader.subscribe(f"{topic}/#", 1)
    left = reader.expect(f"{topic}/long", b"here").expiry
    assert 90 <= left <= 100, left
    writer.publish(f"{topic}/short", b"here", 1, retain=True, expiry=1)
    reader.expect(f"{topic}/short", b"here")
    reader.expect(f"{topic}/short", b"")
    assert status(f"{topic}/short")[0] == 404
    writer.leave()
    reader.leave()


def request(topic):
    """A question that says where to answer."""
    asker, teller = make(), make()
    teller.subscribe(f"{topic}/questions", 1)
    asker.subscribe(f"{topic}/answers/me", 1)
    asker.publish(f"{topic}/questions", b"6 * 7", response_topic=f"{topic}/answers/me", correlation=b"\x00\xff7")
    question = teller.expect(f"{topic}/questions", b"6 * 7")
    teller.publish(question.response_topic, b"42", correlation=question.correlation)
    answer = asker.expect(f"{topic}/answers/me", b"42")
    assert answer.correlation == b"\x00\xff7", answer.correlation
    asker.leave()
    teller.leave()


def user(topic):
    """User properties arrive in order, kept with what is retained."""
    pairs = [("unit", "°C"), ("tag", "a"), ("tag", "b"), ("empty", "")]
    writer, reader = make(), make()
    writer.publish(f"{topic}/a", b"21", 1, retain=True, user=pairs, content_type="text/plain")
    reader.subscribe(f"{topic}/#", 1)
    message = reader.expect(f"{topic}/a", b"21", retain=True)
    assert (list(map(tuple, message.user)), message.content_type) == (pairs, "text/plain"), message.user
    writer.publish(f"{topic}/b", b"22", 1, user=pairs[1:])
    message = reader.expect(f"{topic}/b", b"22", retain=False)
    assert list(map(tuple, message.user)) == pairs[1:], message.user
    writer.leave()
    reader.leave()


for feature in sys.argv[5:]:
    globals()[feature](f"{root}/{feature}")
    print(f"{feature} works", flush=True)
