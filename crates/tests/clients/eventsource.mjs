// The EventSource of browsers, for Node: baseline, sync, live; and after a cut, what came since. Usage: eventsource.mjs URL

import { createRequire } from "node:module";
import { createServer, connect } from "node:net";
import assert from "node:assert/strict";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const { EventSource } = require("eventsource");

const url = new URL(process.argv[2]);
const put = async (path, text) => {
  const answer = await fetch(new URL(path, url), { method: "PUT", body: text, headers: { "content-type": "text/plain" } });
  assert.ok(answer.ok, `PUT ${path}: ${answer.status}`);
  return answer.headers.get("etag").replaceAll('"', "");
};

// Between the client and the server, so that the connection can be cut.
const open = new Set();
const relay = createServer((client) => {
  const server = connect(url.port, url.hostname);
  client.pipe(server).pipe(client);
  for (const socket of [client, server]) {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
  }
});
await new Promise((ready) => relay.listen(0, "127.0.0.1", ready));

await put("/sse/a", "one");
const source = new EventSource(`http://127.0.0.1:${relay.address().port}/sse/%23`);
const waiting = [];
const events = [];
for (const name of ["baseline-begin", "item", "sync", "change", "reset"]) {
  source.addEventListener(name, (event) => {
    events.push({ name, id: event.lastEventId, data: JSON.parse(event.data) });
    waiting.shift()?.();
  });
}
const next = async (name) => {
  const deadline = setTimeout(() => {
    console.error(`waited for ${name}; next is ${JSON.stringify(events[0])}`);
    process.exit(1);
  }, 20_000);
  while (events.length === 0) {
    await new Promise((come) => waiting.push(come));
  }
  clearTimeout(deadline);
  const event = events.shift();
  assert.equal(event.name, name, JSON.stringify(event));
  return event;
};

await next("baseline-begin");
const item = await next("item");
assert.deepEqual([item.data.path, item.data.text], ["sse/a", "one"]);
const sync = await next("sync");
assert.equal(sync.id, sync.data.rev);

const second = await put("/sse/a", "two");
const live = await next("change");
assert.equal(live.data.after, sync.data.rev);
assert.equal(live.data.rev, second);
assert.equal(live.id, second);
assert.equal(live.data.changes[0].text, "two");

// Cut the connection; what is written meanwhile comes when the browser's own retry is through, and no baseline before it.
for (const socket of open) {
  socket.destroy();
}
await put("/sse/b", "three");
const fetched = await next("change");
assert.equal(fetched.data.after, second);
assert.equal(fetched.data.changes[0].text, "three");

source.close();
relay.close();
for (const socket of open) {
  socket.destroy();
}
console.log("all well");
