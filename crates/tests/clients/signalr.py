"""signalrcore, the SignalR client of Python, through the hub. Usage: signalr.py PORT PROTOCOL FEATURE..., with the protocol
`json` or `messagepack`. Prints a line for each feature that works. `signalr_features.mjs` does more in JavaScript."""

import json
import os
import queue
import sys
import threading

from signalrcore.hub_connection_builder import HubConnectionBuilder
from signalrcore.types import HubProtocolEncoding, HttpTransportType

PATIENCE_S = 20


class Hub:
    """A connection, with answers and errors to be waited for."""

    def __init__(self, port, protocol):
        encoding = HubProtocolEncoding.text if protocol == "json" else HubProtocolEncoding.binary
        self.connection = (
            HubConnectionBuilder()
            .with_url(f"http://127.0.0.1:{port}/-/signalr", options={"transport": HttpTransportType.web_sockets})
            .with_hub_protocol(encoding)
            .build()
        )
        self.opened = queue.Queue()
        self.errors = queue.Queue()
        self.connection.on_open(lambda: self.opened.put(True))
        self.connection.on_error(self.errors.put)
        self.connection.start()
        self.opened.get(timeout=PATIENCE_S)
        # A stream is asked for before its handlers can be named, and what comes between is thrown away.
        self.quiet = threading.Lock()
        transport = self.connection.transport
        hear = transport._on_message

        def hear_in_turn(messages):
            with self.quiet:
                return hear(messages)

        transport._on_message = hear_in_turn

    def invoke(self, method, *arguments):
        """The result of a call that works."""
        answers = queue.Queue()
        self.connection.invoke(method, list(arguments), on_invocation=answers.put)
        return answers.get(timeout=PATIENCE_S).result

    def problem(self, method, *arguments):
        """The problem of a call that fails."""
        self.connection.invoke(method, list(arguments))
        return json.loads(self.errors.get(timeout=PATIENCE_S).error)


def calls(hub, root):
    """Reads, writes and what is refused."""
    put = hub.invoke("Put", f"{root}/a", {"n": 1, "x": 21.5, "name": "é😀"})
    assert put["effect"] == "created", put
    got = hub.invoke("Get", f"{root}/a")
    assert got["resource"]["value"] == {"n": 1, "x": 21.5, "name": "é😀"}, got
    patched = hub.invoke("Patch", f"{root}/a", {"n": None}, {"ifMatch": put["rev"]})
    assert patched["effect"] == "replaced", patched
    stale = hub.problem("Put", f"{root}/a", 1, {"ifMatch": put["rev"]})
    assert stale["type"] == "urn:dovetail:problem:precondition-failed", stale
    batch = hub.invoke("Batch", [{"op": "put", "path": f"{root}/b", "value": 2}])
    assert batch["results"][0]["effect"] == "created", batch
    listed = hub.invoke("List", f"{root}/#")
    assert [item["path"] for item in listed["items"]] == [f"{root}/a", f"{root}/b"], listed
    assert hub.invoke("Delete", f"{root}/a")["effect"] == "deleted"
    gone = hub.problem("Get", f"{root}/a")
    assert gone["type"] == "urn:dovetail:problem:not-found", gone


def change(frames):
    """The one change of the next frame that tells of changes."""
    while True:
        frame = frames.get(timeout=PATIENCE_S)
        if frame["type"] == "change":
            return frame["changes"][0]


def watch(hub, root):
    """A stream of frames."""
    hub.invoke("Put", f"{root}/a", 1)
    frames = queue.Queue()
    handlers = {"next": frames.put, "complete": frames.put, "error": frames.put}
    with hub.quiet:
        hub.connection.stream("Watch", [f"{root}/#"]).subscribe(handlers)
    kinds = [frames.get(timeout=PATIENCE_S)["type"] for _ in range(3)]
    assert kinds == ["baseline-begin", "item", "baseline-end"], kinds
    hub.invoke("Put", f"{root}/a", 2)
    assert change(frames)["value"] == 2
    hub.invoke("Publish", f"{root}/bell", "rings")
    assert change(frames)["op"] == "event"


def changed(hub, root):
    """Calls from the server."""
    frames = queue.Queue()
    hub.connection.on("Changed", frames.put)
    name = hub.invoke("Subscribe", f"{root}/#", {"since": "now"})
    hub.invoke("Put", f"{root}/a", 1)
    while True:
        told, frame = frames.get(timeout=PATIENCE_S)
        assert told == name, told
        if frame["type"] == "change":
            break
    assert frame["changes"][0]["value"] == 1, frame
    hub.invoke("Unsubscribe", name)


FEATURES = {"calls": calls, "watch": watch, "changed": changed}

port, protocol, *names = sys.argv[1:]
for name in names:
    hub = Hub(port, protocol)
    # It is not stopped: that waits for whatever the server says next.
    FEATURES[name](hub, f"python/{protocol}/{name}")
    print(f"{protocol} {name} works", flush=True)
# Its threads do not end with their connections.
os._exit(0)
