// MQTT.js in headless Chromium through the features of `features.mjs`. Usage: browser.mjs PORT VERSION:FEATURE,FEATURE...
// Prints a line for each feature that works. With `browser.mjs PORT PAGE` it opens a page instead, with its MQTT.js
// replaced by the installed one, until it is killed.

import { readFile } from "node:fs/promises";
import { own, show } from "./chromium.mjs";

const [port, ...rest] = process.argv.slice(2);
const server = `127.0.0.1:${port}`;
const page = rest[0].endsWith(".html") ? rest[0] : undefined;
const versions = page
  ? []
  : rest.map((part) => {
      const [version, names] = part.split(":");
      return { version: Number(version), names: names.split(",") };
    });

const routes = {
  "/": async () => ["text/html", page ? (await readFile(page, "utf8")).replace(/https:[^"]*/, "mqtt.js") : await own("browser.html")],
  "/features.mjs": async () => ["text/javascript", await own("features.mjs")],
  "/mqtt.js": async () => ["text/javascript", await readFile(`${process.env.DOVETAIL_NODE_MODULES}/mqtt/dist/mqtt.min.js`)],
  "/setting": async () => ["application/json", JSON.stringify({ server, versions })],
};
const stored = async (url) => (url.startsWith("/stored/") ? fetch(`http://${server}${url.slice("/stored".length)}`) : undefined);
process.exit(await show(routes, stored));
