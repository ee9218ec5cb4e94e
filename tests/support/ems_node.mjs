// An EMS on the reference server of Socket.IO, in Node; tests/support/ems.py starts it and knows its output.
// Arguments: --port=N, --socketio=4|2, --transports=websocket,polling, --namespace=/name, --tls=FILE (key and
// certificate), --no-ack. It writes and reads the same lines as ems_server.py, of the orders only {"emit": [...]}.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import readline from "node:readline";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    socketio: { type: "string", default: "4" },
    transports: { type: "string", default: "polling,websocket" },
    namespace: { type: "string", default: "/" },
    tls: { type: "string" },
    "no-ack": { type: "boolean", default: false },
  },
});

const say = (what) =>
  process.stdout.write(
    `${JSON.stringify(what, (_, value) => (value?.type === "Buffer" ? { base64: Buffer.from(value.data).toString("base64") } : value))}\n`,
  );

const pem = options.tls && readFileSync(options.tls);
const server = pem ? https.createServer({ key: pem, cert: pem }) : http.createServer();
const settings = { transports: options.transports.split(","), pingInterval: 5000, pingTimeout: 5000 };
const require = createRequire(import.meta.url);
const io = options.socketio === "2" ? require("socket.io-2")(server, settings) : new (require("socket.io").Server)(server, settings);
const namespace = io.of(options.namespace);

namespace.on("connection", (socket) => {
  say({ on: "connect", query: new URLSearchParams(socket.handshake.query).toString(), transport: socket.conn.transport.name });
  socket.on("disconnect", (reason) => say({ on: "disconnect", reason }));
  socket.onAny?.((event, ...data) => {
    const acknowledge = typeof data.at(-1) === "function" ? data.pop() : null;
    say({ on: event, data: data[0], asked: acknowledge !== null });
    if (!options["no-ack"]) acknowledge?.();
  });
});

server.listen(Number(options.port), "127.0.0.1", () => say({ port: server.address().port }));
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => namespace.emit(...JSON.parse(line).emit))
  .on("close", () => process.exit(0));
