// MQTT.js in Node through the features of `features.mjs`. Usage: driver.mjs TRANSPORT VERSION PORT FEATURE... with the
// transport `tcp` or `ws` and the version 3 (for 3.1), 4 (for 3.1.1) or 5. Prints a line for each feature that works.

import { createRequire } from "node:module";
import { run } from "./features.mjs";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const mqtt = require("mqtt");

const [transport, version, port, ...names] = process.argv.slice(2);
const url = transport === "tcp" ? `mqtt://127.0.0.1:${port}` : `ws://127.0.0.1:${port}/any/path`;
const setting = { mqtt, url, http: `http://127.0.0.1:${port}`, version: Number(version), root: `js/${transport}/${version}` };
await run(setting, names, (line) => console.log(line));
process.exit();
