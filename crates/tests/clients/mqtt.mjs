// MQTT.js: baseline, live, requests and a refused write. Usage: mqtt.mjs PORT 4|5

import { createRequire } from "node:module";
import { once } from "node:events";
import assert from "node:assert/strict";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const mqtt = require("mqtt");

const [port, version] = process.argv.slice(2).map(Number);
const prefix = `js${version}`;
const connect = () => mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: version, reconnectPeriod: 0 });

const writer = await connect();
const reader = await connect();
await writer.publishAsync(`${prefix}/a`, "one", { qos: 1, retain: true });

const next = async () => {
  const [topic, payload, packet] = await once(reader, "message", { signal: AbortSignal.timeout(20_000) });
  return [topic, payload.toString(), packet.retain];
};

let message = next();
const granted = await reader.subscribeAsync(`${prefix}/#`, { qos: 1 });
assert.equal(granted[0].qos, 1);
assert.deepEqual(await message, [`${prefix}/a`, "one", true]);

message = next();
await writer.publishAsync(`${prefix}/b`, "two", { qos: 2, retain: true });
assert.deepEqual(await message, [`${prefix}/b`, "two", false]);

if (version === 5) {
  // A write whose condition fails is refused with a reason, and nobody is told of it.
  const refused = writer.publishAsync(`${prefix}/b`, "three", {
    qos: 1,
    retain: true,
    properties: { userProperties: { "if-match": "00000001.1" } },
  });
  await assert.rejects(refused, (error) => error.code === 0x83);
}

message = next();
await writer.publishAsync(`${prefix}/b`, "", { qos: 1, retain: true });
assert.deepEqual(await message, [`${prefix}/b`, "", false]);

await Promise.all([reader.endAsync(), writer.endAsync()]);
console.log("all well");
