// MQTT.js over WebSocket, waiting for the server to end it: says the reason of DISCONNECT and the code of the close frame.
// Usage: waiting.mjs PORT

import { createRequire } from "node:module";

const require = createRequire(`${process.env.DOVETAIL_NODE_MODULES}/`);
const mqtt = require("mqtt");
const { WebSocket } = require("ws");

let socket;
const inner = await mqtt.connectAsync(`ws://127.0.0.1:${process.argv[2]}`, {
  protocolVersion: 5,
  reconnectPeriod: 0,
  createWebsocket: (url, protocols) => (socket = new WebSocket(url, protocols)),
});
inner.on("disconnect", (packet) => console.log(`disconnected with ${packet.reasonCode}`));
socket.on("close", (code) => console.log(`closed with ${code}`));
console.log("connected");
