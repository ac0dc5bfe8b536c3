// The WebSocket of browsers, as Node has it: every call of dovetail.v1, watches, and coming back. Usage:
// websocket.mjs ADDRESS. Prints a line for each thing that works.

import assert from "node:assert/strict";

const address = process.argv[2];

// A connection with promises for answers and queues for watches.
const connect = async (subprotocol) => {
  const socket = new WebSocket(`ws://${address}/-/ws`, subprotocol);
  const answers = new Map();
  const watches = new Map();
  const others = queue();
  let ids = 0;
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.watch !== undefined) {
      watches.get(frame.watch)?.push(frame);
    } else if (answers.has(frame.id)) {
      answers.get(frame.id)(frame);
      answers.delete(frame.id);
    } else {
      others.push(frame);
    }
  };
  const closed = new Promise((resolve) => (socket.onclose = resolve));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("not connected"));
  });
  const call = (type, members) => {
    const id = ++ids;
    const answer = new Promise((resolve) => answers.set(id, resolve));
    socket.send(JSON.stringify({ type, id, ...members }));
    return answer;
  };
  const done = async (type, members) => {
    const answer = await call(type, members);
    assert.equal(answer.type, "result", JSON.stringify(answer));
    return answer;
  };
  const refused = async (name, type, members) => {
    const answer = await call(type, members);
    assert.equal(answer.problem?.type, `urn:dovetail:problem:${name}`, JSON.stringify(answer));
    return answer.problem;
  };
  const watch = (id, members) => {
    watches.set(id, queue());
    socket.send(JSON.stringify({ type: "watch", id, ...members }));
    return watches.get(id);
  };
  return { socket, closed, others, call, done, refused, watch };
};

const queue = () => {
  const items = [];
  const waiting = [];
  return {
    push: (item) => (waiting.length > 0 ? waiting.shift()(item) : items.push(item)),
    next: () => (items.length > 0 ? Promise.resolve(items.shift()) : new Promise((come) => waiting.push(come))),
  };
};

const patience = setTimeout(() => {
  console.error("something did not come");
  process.exit(1);
}, 40_000);
const works = (what) => console.log(`${what} works`);

const plain = await connect();
assert.equal(plain.socket.protocol, "");
assert.equal((await plain.others.next()).protocol, "dovetail.v1");
plain.socket.close(1000, "enough");
assert.equal((await plain.closed).code, 1000);
works("no subprotocol");

const one = await connect("dovetail.v1");
assert.equal(one.socket.protocol, "dovetail.v1");
const hello = await one.others.next();
assert.equal(hello.type, "hello");
works("hello");

const created = await one.done("put", { path: "ws/a", value: { n: 1 }, ifNoneMatch: "*" });
assert.equal(created.effect, "created");
const got = await one.done("get", { path: "ws/a" });
assert.deepEqual([got.resource.value, got.resource.rev], [{ n: 1 }, created.rev]);
const replaced = await one.done("put", { path: "ws/a", value: { n: 2 }, ifMatch: created.rev });
assert.equal(replaced.effect, "replaced");
const stale = await one.refused("precondition-failed", "put", { path: "ws/a", value: 3, ifMatch: created.rev });
assert.equal(stale.current, replaced.rev);
await one.refused("precondition-failed", "delete", { path: "ws/a", ifNoneMatch: "*" });
await one.done("patch", { path: "ws/a", value: { m: [1, 2] } });
await one.done("patch", {
  path: "ws/a",
  contentType: "application/json-patch+json",
  value: [{ op: "replace", path: "/m/0", value: 9 }],
});
assert.deepEqual((await one.done("get", { path: "ws/a" })).resource.value, { n: 2, m: [9, 2] });
await one.refused("conflict", "patch", {
  path: "ws/a",
  contentType: "application/json-patch+json",
  value: [{ op: "test", path: "/n", value: 7 }],
});
await one.done("put", { path: "ws/b", text: "warm", contentType: "text/plain", ttl: 3600 });
await one.done("put", { path: "ws/c", base64: "/w==" });
const bytes = (await one.done("get", { path: "ws/c" })).resource;
assert.equal(bytes.base64, "/w==");
works("put, get and patch");

const both = { writes: [{ op: "put", path: "ws/d", value: 1 }, { op: "delete", path: "ws/c" }], idempotencyKey: "k1" };
const batch = await one.done("batch", both);
assert.deepEqual(batch.results.map((result) => result.effect), ["created", "deleted"]);
assert.equal((await one.done("batch", both)).rev, batch.rev);
await one.refused("idempotency-key-reused", "batch", { ...both, writes: both.writes.slice(1) });
const half = { writes: [{ op: "put", path: "ws/e", value: 1 }, { op: "put", path: "ws/d", value: 2, ifNoneMatch: "*" }] };
assert.equal((await one.refused("precondition-failed", "batch", half)).index, 1);
await one.refused("not-found", "get", { path: "ws/e" });
assert.equal((await one.done("delete", { path: "ws/d" })).effect, "deleted");
works("batch and delete");

const paths = [];
let after;
do {
  const page = await one.done("list", { filter: "ws/#", limit: 1, after });
  paths.push(...page.items.map((item) => item.path));
  after = page.next;
} while (after);
assert.deepEqual(paths, ["ws/a", "ws/b"]);
works("list");

for (const [name, type, members] of [
  ["bad-request", "put", { path: "ws/a" }],
  ["bad-request", "put", { path: "ws/a", value: 1, ifmatch: "*" }],
  ["bad-request", "nothing", {}],
  ["invalid-name", "get", { path: "ws/#" }],
  ["invalid-revision", "put", { path: "ws/a", value: 1, ifMatch: "1" }],
  ["reserved-name", "put", { path: "$SYS/a", value: 1 }],
  ["forbidden", "watch", { filter: "$dovetail/#" }],
  ["not-found", "unwatch", { watch: "none" }],
  ["position-gone", "list", { filter: "ws/#", after: "zzzzzzzz.1/ws/a" }],
  ["too-large", "put", { path: "ws/a", text: "x".repeat(hello.limits.payloadBytes + 1) }],
  ["unsupported-media-type", "patch", { path: "ws/a", contentType: "text/plain", text: "x" }],
  ["empty-representation", "put", { path: "ws/a", text: "" }],
  ["unprocessable", "batch", { writes: [] }],
]) {
  await one.refused(name, type, members);
}
works("problems");

const every = one.watch("every", { filter: "ws/#", mode: "every", since: "now" });
const state = one.watch("state", { filter: "ws/a" });
let at = (await every.next()).rev;
assert.equal((await state.next()).type, "baseline-begin");
assert.equal((await state.next()).path, "ws/a");
assert.equal((await state.next()).type, "baseline-end");
const answers = await Promise.all([...Array(50).keys()].map((n) => one.call("put", { path: "ws/a", value: n })));
for (const [n, answer] of answers.entries()) {
  const frame = await every.next();
  assert.deepEqual([frame.after, frame.rev, frame.changes[0].value], [at, answer.rev, n]);
  at = frame.rev;
}
await one.done("publish", { path: "ws/bell", text: "ding" });
const event = await every.next();
assert.deepEqual([event.changes[0].op, event.changes[0].text], ["event", "ding"]);
one.socket.send(JSON.stringify({ type: "watch", id: "state", filter: "ws/a" }));
assert.equal((await one.others.next()).problem.type, "urn:dovetail:problem:conflict");
await one.done("unwatch", { watch: "every" });
works("watch and unwatch");

const two = await connect("dovetail.v1");
await two.others.next();
const position = at;
for (const value of ["x", "y"]) {
  await one.done("put", { path: "ws/a", value });
}
const missed = two.watch("w", { filter: "ws/#", mode: "every", since: position });
let told = position;
for (const value of ["x", "y"]) {
  const frame = await missed.next();
  assert.deepEqual([frame.after, frame.changes[0].value], [told, value]);
  told = frame.rev;
}
const lost = two.watch("other", { filter: "ws/a", since: "zzzzzzzz.1" });
assert.deepEqual([(await lost.next()).reason, (await lost.next()).type], ["epoch", "baseline-begin"]);
works("coming back");

console.log("waiting");
const bye = await two.others.next();
assert.deepEqual([bye.type, bye.reason, bye.retry], ["bye", "shutdown", true]);
assert.ok(bye.retryAfterMs >= hello.retry.minMs && bye.retryAfterMs <= hello.retry.maxMs);
assert.equal((await two.closed).code, 1001);
works("bye");
clearTimeout(patience);
