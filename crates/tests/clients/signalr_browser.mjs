// SignalR's own client in headless Chromium. Usage: signalr_browser.mjs PORT TRANSPORT/PROTOCOL... -- FEATURE..., like
// `signalr.mjs`.

import { readFile } from "node:fs/promises";
import { own, show } from "./chromium.mjs";

const [port, ...rest] = process.argv.slice(2);
const split = rest.indexOf("--");
const installed = (name) => async () => ["text/javascript", await readFile(`${process.env.DOVETAIL_NODE_MODULES}/@microsoft/${name}`)];
const setting = { server: `http://127.0.0.1:${port}`, kinds: rest.slice(0, split), names: rest.slice(split + 1) };
process.exit(
  await show({
    "/": async () => ["text/html", await own("signalr.html")],
    "/signalr_features.mjs": async () => ["text/javascript", await own("signalr_features.mjs")],
    "/signalr.js": installed("signalr/dist/browser/signalr.min.js"),
    "/msgpack.js": installed("signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.min.js"),
    "/setting": async () => ["application/json", JSON.stringify(setting)],
  }),
);
