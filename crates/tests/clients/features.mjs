// MQTT.js through the features of MQTT, in Node and in browsers alike. `driver.py` does the same in Python; the two read
// alike.

const PATIENCE_MS = 20_000;
const bytes = (text) => new TextEncoder().encode(text);
const text = (bytes) => new TextDecoder().decode(bytes);

const check = (condition, ...what) => {
  if (!condition) {
    throw new Error(what.map((part) => JSON.stringify(part)).join(" "));
  }
};

// The features for one client, version and server: `mqtt` is the library, `url` where MQTT is spoken, `http` where HTTP is.
export const features = ({ mqtt, url, http, version, root }) => {
  let number = 0;

  // It takes aliases only where asked for: MQTT.js forgets the topic of a message with QoS 2 that has one.
  const make = async ({ will, clean = true, expiry = 0, id, aliases } = {}) => {
    const protocol = version === 3 ? { protocolId: "MQIsdp" } : {};
    const sessions = version === 5 ? { properties: { sessionExpiryInterval: expiry, topicAliasMaximum: aliases } } : {};
    const inner = mqtt.connect(url, {
      ...protocol,
      ...sessions,
      protocolVersion: version,
      clientId: id ?? `${root.replaceAll("/", "")}${number++}`,
      clean,
      will,
      reconnectPeriod: 0,
      connectTimeout: PATIENCE_MS,
    });
    const arrived = [];
    let wake = () => {};
    inner.on("message", (topic, payload, packet) => {
      arrived.push({ topic, payload, qos: packet.qos, retain: packet.retain, ...packet.properties });
      wake();
    });
    const connack = await new Promise((connected, failed) => inner.once("connect", connected).once("error", failed));
    const next = async () => {
      const deadline = Date.now() + PATIENCE_MS;
      while (arrived.length === 0) {
        check(Date.now() < deadline, "no message came");
        await new Promise((done) => {
          const timer = setTimeout(done, PATIENCE_MS);
          wake = () => {
            clearTimeout(timer);
            done();
          };
        });
      }
      return arrived.shift();
    };
    return {
      inner,
      next,
      sessionPresent: connack.sessionPresent,
      expect: async (topic, payload, wanted = {}) => {
        const message = await next();
        check(message.topic === topic, message.topic, "instead of", topic);
        const found = message.payload;
        const same = found.length === payload.length && payload.every((byte, index) => byte === found[index]);
        check(same, text(found.slice(0, 40)), "instead of", text(payload.slice(0, 40)), "in", topic);
        for (const [name, value] of Object.entries(wanted)) {
          check(message[name] === value, name, message[name], "instead of", value, "in", topic);
        }
        return message;
      },
      publish: (topic, payload, options = {}) => inner.publishAsync(topic, payload, { qos: 1, ...options }),
      subscribe: async (topic, qos) => {
        const granted = await inner.subscribeAsync(topic, { qos });
        check(granted[0].qos === qos, granted);
      },
      // Without DISCONNECT.
      vanish: () => inner.stream.destroy(),
      leave: () => inner.endAsync(),
    };
  };

  const status = async (topic) => {
    const answer = await fetch(`${http}/${topic}`);
    return `${answer.status} ${answer.ok ? await answer.text() : ""}`.trim();
  };

  const leave = (...clients) => Promise.all(clients.map((client) => client.leave()));

  return {
    // Every quality of service in both directions, in order, the largest message among them.
    async qos(topic) {
      const [writer, reader] = [await make(), await make()];
      await reader.subscribe(`${topic}/#`, 2);
      const payloads = [bytes(""), bytes("x"), Uint8Array.from({ length: 1_024_000 }, (_, index) => index % 251)];
      for (const qos of [0, 1, 2]) {
        for (const [index, payload] of payloads.entries()) {
          await writer.publish(`${topic}/${qos}/${index}`, payload, { qos });
        }
        for (const [index, payload] of payloads.entries()) {
          await reader.expect(`${topic}/${qos}/${index}`, payload, { retain: false });
        }
      }
      for (const qos of [0, 1, 2]) {
        const one = await make();
        await one.subscribe(`${topic}/level`, qos);
        await writer.publish(`${topic}/level`, bytes("for all"), { qos: 2 });
        await one.expect(`${topic}/level`, bytes("for all"), { qos });
        await one.leave();
      }
      await leave(writer, reader);
    },

    // A retained message is a resource, until it is deleted.
    async retained(topic) {
      const [writer, reader, late] = [await make(), await make(), await make()];
      await writer.publish(`${topic}/a`, "one", { retain: true });
      check((await status(`${topic}/a`)) === "200 one", "not stored");
      await reader.subscribe(`${topic}/#`, 1);
      await reader.expect(`${topic}/a`, bytes("one"), { retain: true });
      await writer.publish(`${topic}/a`, "", { retain: true });
      await reader.expect(`${topic}/a`, bytes(""), { retain: false });
      check((await status(`${topic}/a`)) === "404", "not deleted");
      await writer.publish(`${topic}/b`, "two", { qos: 2, retain: true });
      await late.subscribe(`${topic}/#`, 1);
      await late.expect(`${topic}/b`, bytes("two"), { retain: true });
      await leave(writer, reader, late);
    },

    // Published when its client is gone without a word, and not when it leaves in order.
    async will(topic) {
      const will = (name) => ({ topic: `${topic}/${name}`, payload: "gone", qos: 1, retain: true });
      const reader = await make();
      await reader.subscribe(`${topic}/#`, 1);
      const polite = await make({ will: will("polite") });
      await polite.leave();
      const mortal = await make({ will: will("mortal") });
      mortal.vanish();
      await reader.expect(`${topic}/mortal`, bytes("gone"));
      check((await status(`${topic}/polite`)) === "404", "a will of who left in order");
      check((await status(`${topic}/mortal`)) === "200 gone", "no will");
      await reader.leave();
    },

    // A session waits for its client: its subscriptions, and what came meanwhile, in order.
    async session(topic) {
      const [writer, id] = [await make(), `${root.replaceAll("/", "")}sleeper`];
      const sleeper = () => make({ id, clean: false, expiry: 600 });
      const first = await sleeper();
      check(!first.sessionPresent, "a session before the first");
      await first.subscribe(`${topic}/#`, 2);
      await first.leave();
      for (const [number, retain] of [[1, true], [2, false], [3, true]]) {
        await writer.publish(`${topic}/a`, `asleep ${number}`, { retain });
      }
      const second = await sleeper();
      check(second.sessionPresent, "no session after a good-bye");
      for (const number of [1, 2, 3]) {
        await second.expect(`${topic}/a`, bytes(`asleep ${number}`), { qos: 1 });
      }
      await writer.publish(`${topic}/a`, "awake", { qos: 2 });
      await second.expect(`${topic}/a`, bytes("awake"), { qos: 2 });
      second.vanish();
      await writer.publish(`${topic}/b`, "gone", { qos: 2 });
      const third = await sleeper();
      check(third.sessionPresent, "no session after vanishing");
      // Most programs subscribe again whenever they connect. They get the state once more, and lose nothing.
      await third.subscribe(`${topic}/#`, 2);
      const found = [await third.next(), await third.next()];
      const said = found.map((message) => `${message.topic} ${text(message.payload)} ${message.retain}`).sort();
      check(said.join() === `${topic}/a asleep 3 true,${topic}/b gone false`, said);
      await third.leave();
      const last = await make({ id });
      check(!last.sessionPresent, "a session after a clean start");
      await leave(last, writer);
    },

    // Each message goes to one member of a group, and all of them to somebody.
    async share(topic) {
      const [writer, ...members] = [await make(), await make(), await make()];
      const wanted = Array.from({ length: 20 }, (_, number) => `${number}`);
      const found = [];
      const all = new Promise((done, failed) => {
        setTimeout(() => failed(new Error(`only ${found}`)), PATIENCE_MS);
        for (const member of members) {
          member.inner.on("message", (_, payload) => {
            found.push(text(payload));
            if (found.length === wanted.length) {
              done();
            }
          });
        }
      });
      for (const member of members) {
        await member.subscribe(`$share/crew/${topic}/#`, 1);
      }
      for (const payload of wanted) {
        await writer.publish(`${topic}/jobs`, payload);
      }
      await all;
      check(found.toSorted().join() === wanted.toSorted().join(), found);
      await leave(writer, ...members);
    },

    // A topic that is said once and then by its number.
    async alias(topic) {
      const [writer, reader] = [await make(), await make({ aliases: 10 })];
      await reader.subscribe(`${topic}/#`, 1);
      const said = [["long/name", "1"], ["", "2"], ["other", "3"], ["", "4"]];
      for (const [name, payload] of said) {
        const full = name === "" ? "" : `${topic}/${name}`;
        await writer.publish(full, payload, { properties: { topicAlias: 7 } });
      }
      for (const [name, payload] of [["long/name", "1"], ["long/name", "2"], ["other", "3"], ["other", "4"]]) {
        await reader.expect(`${topic}/${name}`, bytes(payload));
      }
      await leave(writer, reader);
    },

    // What is left of a life is told, and its end is a delete.
    async expiry(topic) {
      const [writer, reader] = [await make(), await make()];
      const publish = (name, seconds) =>
        writer.publish(`${topic}/${name}`, "here", { retain: true, properties: { messageExpiryInterval: seconds } });
      await publish("long", 100);
      await reader.subscribe(`${topic}/#`, 1);
      const left = (await reader.expect(`${topic}/long`, bytes("here"))).messageExpiryInterval;
      check(left >= 90 && left <= 100, left, "seconds left");
      await publish("short", 1);
      await reader.expect(`${topic}/short`, bytes("here"));
      await reader.expect(`${topic}/short`, bytes(""));
      check((await status(`${topic}/short`)) === "404", "not deleted");
      await leave(writer, reader);
    },

    // A question that says where to answer.
    async request(topic) {
      const [asker, teller] = [await make(), await make()];
      await teller.subscribe(`${topic}/questions`, 1);
      await asker.subscribe(`${topic}/answers/me`, 1);
      const properties = { responseTopic: `${topic}/answers/me`, correlationData: Uint8Array.of(0, 255, 55) };
      await asker.publish(`${topic}/questions`, "6 * 7", { properties });
      const question = await teller.expect(`${topic}/questions`, bytes("6 * 7"));
      await teller.publish(question.responseTopic, "42", {
        properties: { correlationData: question.correlationData },
      });
      const answer = await asker.expect(`${topic}/answers/me`, bytes("42"));
      check([...answer.correlationData].join() === "0,255,55", [...answer.correlationData]);
      await leave(asker, teller);
    },

    // User properties arrive in order, kept with what is retained.
    async user(topic) {
      const userProperties = { unit: "°C", tag: ["a", "b"], empty: "" };
      const [writer, reader] = [await make(), await make()];
      const same = (message) => JSON.stringify(message.userProperties) === JSON.stringify(userProperties);
      const properties = { userProperties, contentType: "text/plain" };
      await writer.publish(`${topic}/a`, "21", { retain: true, properties });
      await reader.subscribe(`${topic}/#`, 1);
      const kept = await reader.expect(`${topic}/a`, bytes("21"), { retain: true, contentType: "text/plain" });
      check(same(kept), kept.userProperties);
      await writer.publish(`${topic}/b`, "22", { properties: { userProperties } });
      const live = await reader.expect(`${topic}/b`, bytes("22"), { retain: false });
      check(same(live), live.userProperties);
      await leave(writer, reader);
    },

    // A write whose condition fails is refused with a reason, and nobody is told of it.
    async refusal(topic) {
      const writer = await make();
      await writer.publish(`${topic}/a`, "one", { retain: true });
      const properties = { userProperties: { "if-match": "00000001.1" } };
      const refused = await writer.publish(`${topic}/a`, "two", { retain: true, properties }).then(
        () => "taken",
        (error) => error.code,
      );
      check(refused === 0x83, refused);
      check((await status(`${topic}/a`)) === "200 one", "changed");
      await writer.leave();
    },
  };
};

// Runs the features by name, and tells `report` of each that works.
export const run = async (setting, names, report) => {
  const all = features(setting);
  for (const name of names) {
    try {
      await all[name](`${setting.root}/${name}`);
    } catch (error) {
      throw new Error(`${name}: ${error.stack ?? error}`);
    }
    report(`${name} works`);
  }
};
