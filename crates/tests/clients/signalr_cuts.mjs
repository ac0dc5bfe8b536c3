// Stateful reconnect: calls and a watch over a WebSocket that is cut again and again, of which neither notices anything. Usage:
// signalr_cuts.mjs PORT PROXY PROTOCOL CUTS; the WebSocket goes through the port PROXY, which cuts the first CUTS connections.

import { createRequire } from "node:module";
import { build, check, watch } from "./signalr_features.mjs";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const signalR = require("@microsoft/signalr");
const msgpack = require("@microsoft/signalr-protocol-msgpack");
const { WebSocket } = require("ws");

const [port, proxy, protocol, cuts] = process.argv.slice(2);
let opened = 0;
class Through extends WebSocket {
  constructor(url, ...rest) {
    super(url.replace(`:${port}/`, `:${proxy}/`), ...rest);
    opened++;
  }
}
const setting = { signalR, msgpack, url: `http://127.0.0.1:${port}/-/signalr`, transport: "WebSockets", protocol };
const connection = build(setting, (builder, options) => {
  options.WebSocket = Through;
  return builder.withStatefulReconnect();
});
connection.onclose((error) => {
  console.log(`closed after ${opened} connections: ${error?.stack ?? error}`);
  process.exit(1);
});
await connection.start();

const frames = watch(connection, "cuts/n", { mode: "every", since: "now" });
let first;
let previous = 0;
let sent = 0;
// Some calls are always under way, so that a cut hits requests and answers.
const under = [];
const next = () => {
  const number = ++sent;
  under.push(
    connection.invoke("Put", "cuts/n", number).then(({ rev }) => {
      const at = Number(rev.split(".")[1]);
      check(at > previous, at, "after", previous);
      first ??= at;
      previous = at;
    }),
  );
};
for (let n = 0; n < 4; n++) {
  next();
}
for (let number = 1; opened <= Number(cuts) || number <= sent; ) {
  const frame = await frames.next();
  check(frame.type === "change" || frame.type === "progress", frame, frame.error);
  for (const { value } of frame.changes ?? []) {
    check(value === number, value, "instead of", number);
    number++;
    if (opened <= Number(cuts)) {
      await under.shift();
      next();
    }
  }
}
await Promise.all(under);
check(sent === previous - first + 1, sent, "calls are commits", first, "to", previous);
console.log(`${sent} calls over ${opened} connections`);
process.exit();
