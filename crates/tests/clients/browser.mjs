// MQTT.js in headless Chromium through the features of `features.mjs`. Usage: browser.mjs PORT VERSION:FEATURE,FEATURE...
// Prints a line for each feature that works. With `browser.mjs PORT PAGE` it opens a page instead, with its MQTT.js
// replaced by the installed one, until it is killed.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [port, ...rest] = process.argv.slice(2);
const server = `127.0.0.1:${port}`;
const page = rest[0].endsWith(".html") ? rest[0] : undefined;
const versions = page
  ? []
  : rest.map((part) => {
      const [version, names] = part.split(":");
      return { version: Number(version), names: names.split(",") };
    });

const own = (name) => readFile(new URL(name, import.meta.url));
const routes = {
  "/": async () => ["text/html", page ? (await readFile(page, "utf8")).replace(/https:[^"]*/, "mqtt.js") : await own("browser.html")],
  "/features.mjs": async () => ["text/javascript", await own("features.mjs")],
  "/mqtt.js": async () => ["text/javascript", await readFile(`${process.env.DOVETAIL_NODE_MODULES}/mqtt/dist/mqtt.min.js`)],
  "/setting": async () => ["application/json", JSON.stringify({ server, versions })],
};
let end;
const ended = new Promise((resolve) => (end = resolve));

const pages = createServer(async (request, answer) => {
  if (request.method === "POST") {
    const pieces = [];
    for await (const piece of request) {
      pieces.push(piece);
    }
    const text = Buffer.concat(pieces).toString();
    answer.end();
    return request.url === "/end" ? end(Number(text)) : console.log(text);
  }
  if (request.url.startsWith("/stored/")) {
    const found = await fetch(`http://${server}${request.url.slice("/stored".length)}`);
    return answer.writeHead(found.status).end(Buffer.from(await found.arrayBuffer()));
  }
  const [type, body] = (await routes[request.url]?.()) ?? [];
  return type ? answer.writeHead(200, { "content-type": type }).end(body) : answer.writeHead(404).end();
});
await new Promise((ready) => pages.listen(0, "127.0.0.1", ready));

const profile = await mkdtemp(join(tmpdir(), "dovetail-chromium-"));
const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  `--user-data-dir=${profile}`,
];
const address = `http://localhost:${pages.address().port}/`;
const chromium = spawn("chromium", [...flags, address], { stdio: "ignore", detached: true });
chromium.once("exit", (code) => end(code || 1));
process.once("SIGTERM", () => end(0));

const code = await ended;
if (chromium.exitCode === null) {
  const gone = new Promise((done) => chromium.once("exit", done));
  process.kill(-chromium.pid, "SIGKILL");
  await gone;
}
await rm(profile, { recursive: true, force: true, maxRetries: 5 });
process.exit(code);
