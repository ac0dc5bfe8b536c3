// Headless Chromium with one page, which a small server of its own serves.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

// A file beside this one.
export const own = (name) => readFile(new URL(name, import.meta.url));

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
  "--disable-extensions",
  "--disable-breakpad",
  "--disable-crash-reporter",
  "--disable-default-apps",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--no-default-browser-check",
  "--password-store=basic",
];

// Serves `routes`, each a function that gives the type and the body, and opens the page of "/". What the page posts to "/line" is
// printed; what it posts to "/end" is the exit code, which is given when Chromium is gone. `fallback` answers other requests.
export const show = async (routes, fallback = async () => undefined) => {
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
    const other = await fallback(request.url);
    if (other) {
      return answer.writeHead(other.status).end(Buffer.from(await other.arrayBuffer()));
    }
    const [type, body] = (await routes[request.url]?.()) ?? [];
    return type ? answer.writeHead(200, { "content-type": type }).end(body) : answer.writeHead(404).end();
  });
  await new Promise((ready) => pages.listen(0, "127.0.0.1", ready));

  const profile = await mkdtemp(join(tmpdir(), "dovetail-chromium-"));
  const address = `http://localhost:${pages.address().port}/`;
  // Nothing of it is shared with another one that runs at the same time: it would keep certificates and crash reports at home.
  const chromium = spawn("chromium", [...flags, `--user-data-dir=${profile}`, address], {
    stdio: "ignore",
    detached: true,
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
  });
  chromium.once("exit", (code) => end(code || 1));
  process.once("SIGTERM", () => end(0));

  const code = await ended;
  if (chromium.exitCode === null) {
    const gone = new Promise((done) => chromium.once("exit", done));
    process.kill(-chromium.pid, "SIGKILL");
    await gone;
  }
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  return code;
};
