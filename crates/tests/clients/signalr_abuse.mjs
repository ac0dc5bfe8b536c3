// What no good client does to the hub. Usage: signalr_abuse.mjs PORT. Prints a line for each kind of abuse that the server
// answers as it should; after each it must still serve.

import { request } from "node:http";
import { createRequire } from "node:module";
import { check, queue } from "./signalr_features.mjs";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const { WebSocket } = require("ws");

const [port] = process.argv.slice(2);
const hub = `127.0.0.1:${port}/-/signalr`;
const EVIL = "http://evil.example";
const FLOOD = 3000;
const AT_ONCE = 50;

// A request as it is; `fetch` would not send every field.
const send = (method, target, headers = {}, body = "") =>
  new Promise((done, failed) => {
    const sent = request(`http://${hub}${target}`, { method, headers }, async (answer) => {
      // A stream that is opened does not end.
      if (answer.headers["content-type"]?.startsWith("text/event-stream")) {
        return done({ status: answer.statusCode, close: () => sent.destroy() });
      }
      let text = "";
      for await (const piece of answer) {
        text += piece;
      }
      done({ status: answer.statusCode, headers: answer.headers, text });
    });
    sent.once("error", failed);
    sent.end(body);
  });

const negotiate = async () => {
  const { status, text } = await send("POST", "/negotiate?negotiateVersion=1");
  check(status === 200, status, text);
  return JSON.parse(text).connectionToken;
};

// A WebSocket, or the status of the answer that refuses it.
const open = (query = "", options = {}) =>
  new Promise((done, failed) => {
    const socket = new WebSocket(`ws://${hub}${query}`, options);
    const messages = queue();
    socket.on("message", (data) => messages.push(data));
    socket.on("close", (code) => messages.push({ closed: code }));
    socket.once("open", () => done({ socket, messages }));
    socket.once("unexpected-response", (_, answer) => done({ status: answer.statusCode }));
    socket.once("error", failed);
  });

const greet = async (protocol) => {
  const { socket, messages } = await open();
  socket.send(`{"protocol":"${protocol}","version":1}\x1e`);
  const answer = String(await messages.next());
  check(answer === "{}\x1e", answer);
  return { socket, messages };
};

// What the server says before it closes, and the code.
const end = async (messages) => {
  const said = [];
  for (;;) {
    const message = await messages.next();
    if (message.closed) {
      return { said: Buffer.concat(said), code: message.closed };
    }
    said.push(Buffer.from(message));
  }
};

const bytes = (...parts) => Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part))));
const framed = (body) => bytes([body.length], body);

const abuses = {
  "messages that announce more than they hold": async () => {
    const bombs = ["\xdd\xff\xff\xff\xff", "\xdf\x7f\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff\x01", "\xdc\xff\xff", "\x91".repeat(100)];
    for (const bomb of bombs) {
      for (const before of ["", "\x96\x01\x80\xc0\xa3Get", "\x96\x01\x80\xc0\xa3Get\x91", "\x94\x02\x80\xa11", "\x92\x01"]) {
        const { socket, messages } = await greet("messagepack");
        socket.send(framed(bytes(before, bomb)));
        const { said } = await end(messages);
        check(said[2] === 7, [...said], "is no close message after", [...bytes(before, bomb)]);
      }
    }
    // A length of 2 GiB, and one of no end.
    for (const length of [[0xff, 0xff, 0xff, 0xff, 0x07], [0x80, 0x80, 0x80, 0x80, 0x80]]) {
      const { socket, messages } = await greet("messagepack");
      socket.send(bytes(length));
      const { said } = await end(messages);
      check(said[2] === 7, [...said]);
    }
  },

  "records that are no messages": async () => {
    for (const record of ["", "x", "[]", "{}", '{"type":1}', '{"type":1,"target":"Get","arguments":{}}', '{"type":8,"sequenceId":-1}', `{"type":2,"invocationId":"1","item":${"[".repeat(9999)}`]) {
      const { socket, messages } = await greet("json");
      socket.send(`${record}\x1e`);
      const { said } = await end(messages);
      const close = JSON.parse(String(said).slice(0, -1));
      check(close.type === 7 && close.error.length > 0, close);
    }
    // A record without end.
    const { socket, messages } = await greet("json");
    socket.on("error", () => {});
    socket.send("x".repeat(900_000));
    const { said, code } = await end(messages);
    check(code === 1009 || JSON.parse(String(said).slice(0, -1)).type === 7, code, String(said));
  },

  "handshakes that are none": async () => {
    for (const [text, word] of [['{"protocol":"xml","version":1}\x1e', "xml"], ['{"protocol":"json","version":9}\x1e', "9"], ["{}\x1e", "handshake"], ["x".repeat(20_000), ""]]) {
      const { socket, messages } = await open();
      socket.on("error", () => {});
      socket.send(text);
      const { said } = await end(messages);
      check(JSON.parse(String(said).slice(0, -1)).error.includes(word), String(said));
    }
  },

  "tokens that are none": async () => {
    for (const [method, target, status] of [
      ["GET", "?id=nonsense", 404],
      ["POST", "?id=nonsense", 404],
      ["DELETE", "?id=nonsense", 404],
      ["GET", "", 400],
      ["POST", "", 400],
      ["DELETE", "", 400],
    ]) {
      const answer = await send(method, target);
      check(answer.status === status, method, target, answer.status, answer.text);
    }
    check((await send("GET", "?id=nonsense", { accept: "text/event-stream" })).status === 404);
    check((await open("?id=nonsense")).status === 404);
  },

  "messages in pieces": async () => {
    const call = '{"type":1,"invocationId":"1","target":"Put","arguments":["abuse/pieces",1]}\x1e';
    // The handshake and a call at once, and a call byte by byte.
    const { socket, messages } = await open();
    socket.send(`{"protocol":"json","version":1}\x1e${call}`);
    let said = "";
    while (said.split("\x1e").length < 3) {
      said += String(await messages.next());
    }
    check(said.startsWith("{}\x1e{") && said.includes('"rev"'), said);
    for (const byte of call) {
      socket.send(byte);
    }
    check(JSON.parse(String(await messages.next()).slice(0, -1)).result.rev);
    socket.close();
    // The same in requests.
    const token = await negotiate();
    check((await send("GET", `?id=${token}`)).status === 200);
    const post = async (body) => check((await send("POST", `?id=${token}`, {}, body)).status < 300);
    await post('{"protocol":"json",');
    await post(`"version":1}\x1e${call.slice(0, 20)}`);
    check((await send("GET", `?id=${token}`)).text === "{}\x1e");
    await post(call.slice(20));
    const { text } = await send("GET", `?id=${token}`);
    check(JSON.parse(text.slice(0, -1)).result.rev, text);
    // A poll that another one takes the place of ends, and so does the last one when the connection does.
    const replaced = send("GET", `?id=${token}`);
    const last = send("GET", `?id=${token}`);
    const first = await Promise.race([replaced, last]);
    check(first.status === 204, first.status);
    check((await send("DELETE", `?id=${token}`)).status < 300);
    for (const poll of [replaced, last]) {
      check((await poll).status === 204, (await poll).status);
    }
    check((await send("GET", `?id=${token}`)).status === 404);
  },

  "two transports of one token": async () => {
    const token = await negotiate();
    const { socket, messages } = await open(`?id=${token}`);
    check((await open(`?id=${token}`)).status === 409);
    const second = await send("GET", `?id=${token}`, { accept: "text/event-stream" });
    check(second.status >= 400, second.status);
    socket.send('{"protocol":"json","version":1}\x1e');
    check(String(await messages.next()) === "{}\x1e", "the first is disturbed");
    socket.close();
    const other = await negotiate();
    const stream = await send("GET", `?id=${other}`, { accept: "text/event-stream" });
    check(stream.status === 200, stream.status);
    check((await open(`?id=${other}`)).status >= 400);
    stream.close();
  },

  "pages of other sites": async () => {
    const headers = { origin: EVIL };
    check((await send("POST", "/negotiate?negotiateVersion=1", headers)).status === 403);
    check((await open("", { origin: EVIL })).status === 403);
    const preflight = await send("OPTIONS", "/negotiate", { ...headers, "access-control-request-method": "POST" });
    check(!preflight.headers["access-control-allow-origin"], preflight.headers);
    const token = await negotiate();
    check((await send("POST", `?id=${token}`, headers, '{"protocol":"json","version":1}\x1e')).status === 403);
  },

  // It may be refused, and must not cost more than a little.
  "a flood of negotiations": async () => {
    const statuses = {};
    let left = FLOOD;
    const flood = async () => {
      while (left-- > 0) {
        const { status } = await send("POST", "/negotiate?negotiateVersion=1");
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, flood));
    check(Object.keys(statuses).every((status) => ["200", "429", "503"].includes(status)), statuses);
  },
};

for (const [name, abuse] of Object.entries(abuses)) {
  try {
    await abuse();
    const { socket, messages } = await greet("json");
    socket.send('{"type":1,"invocationId":"1","target":"Put","arguments":["abuse/after",1]}\x1e');
    const answer = JSON.parse(String(await messages.next()).slice(0, -1));
    check(answer.type === 3 && answer.result?.rev, answer);
    socket.close();
  } catch (error) {
    console.log(`${name}: ${error.stack}`);
    process.exit(1);
  }
  console.log(`survived ${name}`);
}
process.exit();
