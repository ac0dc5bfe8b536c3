// MQTT.js in headless Chromium through the features of `features.mjs`. Usage: browser.mjs PORT VERSION:FEATURE,FEATURE...
// Prints a line for each feature that works. With `browser.mjs PORT PAGE` it opens a page instead, with the packages that it
// loads replaced by the installed ones, until it is killed.

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

// The address of a file of a package, with its version: https://…/NAME@VERSION/FILE.
const packaged = /https:\/\/[^"]*?\/((?:@[^/"]+\/)?[^/@"]+)@[^/"]*\/([^"]*)/;
const routes = {
  "/": async () => ["text/html", page ? (await readFile(page, "utf8")).replace(packaged, "installed/$1/$2") : await own("browser.html")],
  "/features.mjs": async () => ["text/javascript", await own("features.mjs")],
  "/mqtt.js": async () => ["text/javascript", await readFile(`${process.env.DOVETAIL_NODE_MODULES}/mqtt/dist/mqtt.min.js`)],
  "/setting": async () => ["application/json", JSON.stringify({ server, versions })],
};
const elsewhere = async (url) => {
  if (url.startsWith("/stored/")) {
    return fetch(`http://${server}${url.slice("/stored".length)}`);
  }
  if (url.startsWith("/installed/")) {
    return new Response(await readFile(`${process.env.DOVETAIL_NODE_MODULES}${url.slice("/installed".length)}`));
  }
};
process.exit(await show(routes, elsewhere));
