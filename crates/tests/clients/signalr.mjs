// SignalR's own client in Node. Usage: signalr.mjs PORT TRANSPORT/PROTOCOL... -- FEATURE... with the transports and the
// protocols as SignalR calls them. Prints a line for each feature that works.

import { createRequire } from "node:module";
import { run } from "./signalr_features.mjs";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const signalR = require("@microsoft/signalr");
const msgpack = require("@microsoft/signalr-protocol-msgpack");

const [port, ...rest] = process.argv.slice(2);
const split = rest.indexOf("--");
const http = `http://127.0.0.1:${port}`;
for (const kind of rest.slice(0, split)) {
  const [transport, protocol] = kind.split("/");
  const setting = { signalR, msgpack, url: `${http}/-/signalr`, http, transport, protocol, root: `node/${kind}` };
  await run(setting, rest.slice(split + 1), (line) => console.log(line));
}
process.exit();
