// SignalR's own client through the hub, in Node and in browsers alike. `signalr.py` does some of the same in Python.

const PATIENCE_MS = 20_000;

export const check = (condition, ...what) => {
  if (!condition) {
    throw new Error(what.map((part) => (part instanceof Error ? part.stack : JSON.stringify(part))).join(" "));
  }
};

// What arrives, to be waited for one by one.
export const queue = () => {
  const arrived = [];
  let wake = () => {};
  return {
    push: (one) => {
      arrived.push(one);
      wake();
    },
    next: async () => {
      const deadline = Date.now() + PATIENCE_MS;
      while (arrived.length === 0) {
        check(Date.now() < deadline, "nothing came");
        await new Promise((done) => {
          const timer = setTimeout(done, PATIENCE_MS);
          wake = () => {
            clearTimeout(timer);
            done();
          };
        });
      }
      return arrived.shift();
    },
    get length() {
      return arrived.length;
    },
  };
};

// The problem that a call fails with: the message of the error is its JSON.
export const problem = async (call) => {
  let result;
  try {
    result = await call;
  } catch (error) {
    return JSON.parse(error.message);
  }
  throw new Error(`it does not fail: ${JSON.stringify(result)}`);
};

const urn = (name) => `urn:dovetail:problem:${name}`;

// A connection to the hub that is not started.
export const build = ({ signalR, msgpack, url, transport, protocol }, change = (builder) => builder) => {
  const hub = protocol === "json" ? new signalR.JsonHubProtocol() : new msgpack.MessagePackHubProtocol();
  // Pings are nothing that a client hears of, except here.
  hub.pings = queue();
  const parse = hub.parseMessages.bind(hub);
  hub.parseMessages = (input, logger) => {
    const messages = parse(input, logger);
    for (const message of messages) {
      if (message.type === signalR.MessageType.Ping) {
        hub.pings.push(message);
      }
    }
    return messages;
  };
  const options = { transport: signalR.HttpTransportType[transport] };
  const connection = change(new signalR.HubConnectionBuilder().configureLogging(signalR.LogLevel.None), options)
    .withUrl(url, options)
    .withHubProtocol(hub)
    .build();
  connection.pings = hub.pings;
  return connection;
};

// The frames of a watch.
export const watch = (connection, ...args) => {
  const frames = queue();
  const subscription = connection.stream("Watch", ...args).subscribe({
    next: frames.push,
    error: (error) => frames.push({ type: "error", error }),
    complete: () => frames.push({ type: "complete" }),
  });
  return { next: frames.next, frames, dispose: () => subscription.dispose() };
};

const features = (setting) => {
  const { http, protocol, root } = setting;
  const use = async (work) => {
    const connection = build(setting);
    await connection.start();
    try {
      await work(connection);
    } finally {
      await connection.stop();
    }
  };
  const expect = async (frames, type) => {
    const frame = await frames.next();
    check(frame.type === type, frame, "instead of", type, frame.error);
    return frame;
  };
  // The next change, past what only says how far the feed is.
  const change = async (frames) => {
    let frame = await frames.next();
    while (frame.type === "progress") {
      frame = await frames.next();
    }
    check(frame.type === "change" && frame.changes.length === 1, frame, "instead of one change", frame.error);
    return { ...frame.changes[0], rev: frame.rev };
  };

  return {
    calls: () =>
      use(async (connection) => {
        const path = `${root}/lamp`;
        const put = await connection.invoke("Put", path, { on: true, level: 21.5, big: 2 ** 53 - 1, name: "é\u{1f600}\n" });
        check(put.effect === "created" && put.rev, put);
        const got = await connection.invoke("Get", path);
        check(got.resource.path === path && got.resource.rev === put.rev, got);
        check(got.resource.value.level === 21.5 && got.resource.value.big === 2 ** 53 - 1, got);
        check(got.resource.value.on === true && got.resource.value.name === "é\u{1f600}\n", got);
        const patched = await connection.invoke("Patch", path, { on: null, color: [1, -2, null] }, { ifMatch: put.rev });
        check(patched.effect === "replaced", patched);
        const { value } = (await connection.invoke("gEt", path)).resource;
        check(!("on" in value) && value.color.length === 3 && value.color[1] === -2, value);
        const stale = await problem(connection.invoke("Put", path, 1, { ifMatch: put.rev }));
        check(stale.type === urn("precondition-failed") && stale.status === 412, stale);
        const listed = await connection.invoke("List", `${root}/#`);
        check(listed.items.length === 1 && listed.items[0].path === path && listed.rev, listed);
        const deleted = await connection.invoke("Delete", path);
        check(deleted.effect === "deleted", deleted);
        const gone = await problem(connection.invoke("Get", path));
        check(gone.type === urn("not-found") && gone.status === 404, gone);
        const wrong = await problem(connection.invoke("Put", `${root}/+/x`, 1));
        check(wrong.type === urn("invalid-name"), wrong);
      }),

    payloads: () =>
      use(async (connection) => {
        await connection.invoke("Put", `${root}/text`, null, { text: "hello", contentType: "text/plain" });
        const text = await connection.invoke("Get", `${root}/text`);
        check(text.resource.text === "hello" && text.resource.contentType === "text/plain", text);
        await connection.invoke("Put", `${root}/bytes`, null, { base64: "AP/+" });
        const bytes = await connection.invoke("Get", `${root}/bytes`);
        check(bytes.resource.base64 === "AP/+", bytes);
        // MessagePack has bytes and dates of its own, which JSON has as text.
        const values = protocol === "json" ? ["AP/+", "2024-02-29T01:59:28Z"] : [new Uint8Array([0, 255, 254]), new Date(1709171968000)];
        await connection.invoke("Put", `${root}/values`, values);
        const { value } = (await connection.invoke("Get", `${root}/values`)).resource;
        check(value[0] === "AP/+" && value[1].startsWith("2024-02-29T01:59:28"), value);
        // What others can store and not every program can hold is told as text.
        const body = String.raw`{"half":"\ud800","beyond":1e400}`;
        const stored = await fetch(`${http}/${root}/odd`, { method: "PUT", headers: { "content-type": "application/json" }, body });
        check(stored.ok, stored.status);
        const odd = await connection.invoke("Get", `${root}/odd`);
        check(odd.resource.text === body, odd);
      }),

    batch: () =>
      use(async (connection) => {
        const writes = [1, 2, 3].map((n) => ({ op: "put", path: `${root}/b/${n}`, value: n }));
        const done = await connection.invoke("Batch", writes);
        check(done.results.length === 3 && done.results.every((one) => one.effect === "created"), done);
        const first = await connection.invoke("List", `${root}/b/+`, { limit: 2 });
        check(first.items.length === 2 && first.next && first.rev === done.rev, first);
        const last = await connection.invoke("List", `${root}/b/+`, { limit: 2, after: first.next });
        check(last.items.length === 1 && last.items[0].value === 3 && !last.next, last);
        const refused = await problem(connection.invoke("Batch", [{ op: "delete", path: `${root}/b/1` }, { op: "delete", path: `${root}/b/1`, ifMatch: "*" }]));
        check(refused.status >= 400 && refused.type.startsWith(urn("")), refused);
      }),

    watch: () =>
      use(async (connection) => {
        const filter = `${root}/w/#`;
        await connection.invoke("Put", `${root}/w/a`, 1);
        const frames = watch(connection, filter);
        await expect(frames, "baseline-begin");
        check((await expect(frames, "item")).value === 1);
        const { rev } = await expect(frames, "baseline-end");
        await connection.invoke("Put", `${root}/w/a`, 2);
        check((await change(frames)).value === 2);
        await connection.invoke("Publish", `${root}/w/bell`, { rings: 1 });
        const event = await change(frames);
        check(event.op === "event" && event.value.rings === 1, event);
        await connection.invoke("Delete", `${root}/w/a`);
        check((await change(frames)).op === "delete");
        frames.dispose();
        // From before, every state; and from now on, without events.
        await connection.invoke("Put", `${root}/w/b`, 3);
        const again = watch(connection, filter, { since: rev, mode: "every" });
        check((await change(again)).value === 2);
        check((await change(again)).op === "delete");
        check((await change(again)).value === 3);
        const quiet = watch(connection, filter, { since: "now", events: false });
        await connection.invoke("Publish", `${root}/w/bell`, 1);
        check((await change(again)).op === "event");
        await connection.invoke("Put", `${root}/w/b`, 4);
        check((await change(again)).value === 4);
        check((await change(quiet)).value === 4);
        check(frames.frames.length === 0, "what was disposed says more");
        const refused = watch(connection, "a/#/b");
        const { error } = await expect(refused, "error");
        check(JSON.parse(error.message).type === urn("invalid-name") || JSON.parse(error.message).status === 400, error);
      }),

    // Fire and forget, and calls from the server.
    changed: () =>
      use(async (connection) => {
        const frames = queue();
        connection.on("Changed", (id, frame) => frames.push({ ...frame, id }));
        const one = await connection.invoke("Subscribe", `${root}/c/one`, { since: "now" });
        const both = await connection.invoke("Subscribe", `${root}/c/+`, { since: "now" });
        check(typeof one === "string" && one !== both, one, both);
        const heard = async () => {
          let frame = await frames.next();
          while (frame.type === "progress") {
            frame = await frames.next();
          }
          check(frame.type === "change", frame);
          return `${frame.id} ${frame.changes[0].value}`;
        };
        await connection.send("Put", `${root}/c/one`, 1);
        const all = [await heard(), await heard()].sort();
        check(String(all) === String([`${one} 1`, `${both} 1`].sort()), all);
        await connection.invoke("Unsubscribe", one);
        await connection.send("Put", `${root}/c/one`, 2);
        await connection.send("Put", `${root}/c/two`, 3);
        check((await heard()) === `${both} 2` && (await heard()) === `${both} 3` && frames.length === 0);
        const unknown = await problem(connection.invoke("Unsubscribe", one));
        check(unknown.type.startsWith(urn("")), unknown);
      }),

    upload: () =>
      use(async (connection) => {
        const path = `${root}/u`;
        const frames = watch(connection, path, { since: "now", mode: "every" });
        const subject = new setting.signalR.Subject();
        const done = connection.invoke("PutStream", path, subject);
        for (let n = 1; n <= 20; n++) {
          subject.next({ n });
        }
        subject.complete();
        const { rev, count } = await done;
        check(count === 20 && rev, rev, count);
        for (let n = 1; n <= 20; n++) {
          const { value } = await change(frames);
          check(value.n === n, value, "instead of", n);
        }
        check((await connection.invoke("Get", path)).resource.rev === rev);
        // One that the sender breaks off.
        const broken = new setting.signalR.Subject();
        const failed = connection.invoke("PutStream", path, broken);
        broken.next({ n: 21 });
        check((await change(frames)).value.n === 21);
        broken.error(new Error("no more"));
        const reason = await failed.then(
          (result) => check(false, "it does not fail", result),
          (error) => error.message,
        );
        check(reason.length > 0);
        await connection.invoke("Put", path, 22);
        check((await change(frames)).value === 22);
      }),

    large: () =>
      use(async (connection) => {
        const text = "0123456789abcdef".repeat(50_000);
        const stored = await fetch(`${http}/${root}/large`, { method: "PUT", headers: { "content-type": "text/plain" }, body: text });
        check(stored.ok, stored.status);
        const { resource } = await connection.invoke("Get", `${root}/large`);
        check(resource.text === text, resource.text?.length);
        const part = text.slice(0, 30_000);
        await connection.invoke("Put", `${root}/part`, part);
        check((await connection.invoke("Get", `${root}/part`)).resource.value === part);
        // One message more than may be ends the connection, which is told why.
        const { message } = await connection.invoke("Put", `${root}/part`, text.slice(0, 40_000)).catch((error) => error);
        check(message?.includes("more than 32768 bytes"), message);
      }),

    // Many calls at once, each with its own answer.
    many: () =>
      use(async (connection) => {
        const calls = Array.from({ length: 200 }, (_, n) => connection.invoke("Put", `${root}/m/${n % 10}`, n));
        const revs = (await Promise.all(calls)).map(({ rev }) => Number(rev.split(".")[1]));
        check(revs.every((rev, n) => n === 0 || rev > revs[n - 1]), "not in their order", revs);
        check((await connection.invoke("List", `${root}/m/+`)).items.every(({ value }) => value >= 190));
      }),

    unknown: () =>
      use(async (connection) => {
        const refused = await problem(connection.invoke("Format", "c:"));
        check(refused.type.startsWith(urn("")) && refused.status === 404 || refused.status === 400, refused);
        const frames = watch(connection, `${root}/#`, { colour: "red" });
        check(JSON.parse((await expect(frames, "error")).error.message).status === 400);
        const excess = await problem(connection.invoke("Get", "a", {}, 3));
        check(excess.status === 400, excess);
        // Watch is a stream, and Get is none: either ends with an error and not the connection.
        const wrongs = [connection.invoke("Watch", `${root}/#`), new Promise((done, failed) => connection.stream("Get", `${root}/x`).subscribe({ next: done, complete: done, error: failed }))];
        for (const wrong of wrongs) {
          check((await problem(wrong)).status >= 400);
        }
        await connection.invoke("Put", `${root}/still`, 1);
      }),

    // The server says that it is there when it has nothing to say.
    ping: () =>
      use(async (connection) => {
        await connection.pings.next();
        check(connection.state === "Connected", connection.state);
      }),
  };
};

// Runs the named features of one setting: the libraries `signalR` and `msgpack`, the `url` of the hub, `http` of the server,
// `transport`, `protocol`, and the `root` of what it writes.
export const run = async (setting, names, say) => {
  const all = features(setting);
  for (const name of names) {
    try {
      await all[name]();
    } catch (error) {
      throw new Error(`${setting.transport} ${setting.protocol} ${name}: ${error.stack}`);
    }
    await say(`${setting.transport} ${setting.protocol} ${name} works`);
  }
};
