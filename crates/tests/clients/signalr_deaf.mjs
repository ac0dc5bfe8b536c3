// Clients that ask and do not listen. Usage: signalr_deaf.mjs PORT. Each asks for a large resource over and over and for
// every change, and reads none of it. Says "asked" when the server has worked for others after that, and stays.

import { createRequire } from "node:module";
import { check } from "./signalr_features.mjs";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const { WebSocket } = require("ws");

const CLIENTS = 20;
const CALLS = 1000;
const WRITES = 200;

const [port] = process.argv.slice(2);
const http = `http://127.0.0.1:${port}`;
const put = async (path, body) => {
  const { ok, status } = await fetch(`${http}/${path}`, { method: "PUT", headers: { "content-type": "text/plain" }, body });
  check(ok, status);
};
await put("deaf/large", "x".repeat(800_000));

const sockets = await Promise.all(
  Array.from(
    { length: CLIENTS },
    () =>
      new Promise((done, failed) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/-/signalr`);
        socket.once("error", failed);
        socket.once("open", () => socket.send('{"protocol":"json","version":1}\x1e'));
        socket.once("message", () => done(socket));
      }),
  ),
);
for (const socket of sockets) {
  socket.pause();
  socket.on("error", () => {});
  socket.send('{"type":4,"invocationId":"w","target":"Watch","arguments":["deaf/#",{"mode":"every"}]}\x1e');
  for (let id = 0; id < CALLS; id++) {
    socket.send(`{"type":1,"invocationId":"${id}","target":"Get","arguments":["deaf/large"]}\x1e`);
  }
}
for (let n = 0; n < WRITES; n++) {
  await put("deaf/other", `${n} `.repeat(1000));
}
console.log("asked");
setInterval(() => {}, 1000);
