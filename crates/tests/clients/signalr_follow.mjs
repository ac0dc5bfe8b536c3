// A watch that goes on where it was after its connection is gone. Usage: signalr_follow.mjs PORT TRANSPORT PROTOCOL LAST. It
// follows every state of `follow/n`, prints each number once, and ends well after LAST if it saw every number from 1 in order.

import { createRequire } from "node:module";
import { build, check, queue } from "./signalr_features.mjs";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const signalR = require("@microsoft/signalr");
const msgpack = require("@microsoft/signalr-protocol-msgpack");

const RETRY_MS = 50;
const RETRIES = 400;

const [port, transport, protocol, last] = process.argv.slice(2);
const setting = { signalR, msgpack, url: `http://127.0.0.1:${port}/-/signalr`, transport, protocol };
const connection = build(setting, (builder) => builder.withAutomaticReconnect(Array(RETRIES).fill(RETRY_MS)));

let since;
const frames = queue();
const follow = () => {
  connection.stream("Watch", "follow/n", { mode: "every", since }).subscribe({
    next: frames.push,
    // It ends with its connection, and is asked for again with the next one.
    error: () => {},
    complete: () => {},
  });
};
connection.onreconnecting(() => console.log("reconnecting"));
connection.onreconnected(() => {
  console.log("reconnected");
  follow();
});
connection.onclose((error) => frames.push({ type: "closed", error: `${error}` }));
await connection.start();
follow();
console.log("connected");

for (let number = 1; number <= Number(last); ) {
  const frame = await frames.next();
  check(["baseline-begin", "baseline-end", "item", "change", "progress"].includes(frame.type), frame);
  const entries = frame.type === "item" ? [frame] : frame.changes ?? [];
  for (const { value } of entries) {
    check(value === number, value, "instead of", number);
    console.log(`saw ${value}`);
    number++;
  }
  // Within a baseline there is no position yet.
  if (frame.type !== "item" && frame.type !== "baseline-begin") {
    since = frame.rev;
  }
}
await connection.stop();
process.exit();
