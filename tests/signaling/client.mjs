// The official JavaScript client against a gateway: node client.mjs URL. One JSON object on standard output tells all.
import { io } from "socket.io-client";

const url = process.argv[2];
const told = { statuses: [], frames: [], transports: [] };
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 100 });
const until = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
};

socket.on("capture_status_response", (status) => told.statuses.push(status));
socket.on("video_frame_from_service", (frame, acknowledge) => {
  const data = Buffer.from(frame.frame_data);
  told.frames.push({ ...frame.metadata, size: data.length, magic: data.subarray(0, 2).toString("hex") });
  acknowledge();
});

await until(() => socket.connected);
const ask = (event, data) => socket.timeout(10000).emitWithAck(event, data);

told.started = await ask("capture_start_request", { client_id: "node", metadata: { camera_id: "yard", n: 1 } });
told.refused = await ask("capture_start_request", { client_id: 5 });
told.unknown = await ask("make_coffee", {});
told.subscribed = await ask("frames_subscribe", { camera_id: "yard", frame_rate: 25, width: 80 });
await until(() => told.frames.length >= 5);
told.transport = socket.io.engine.transport.name;

// The line is cut, and the client comes back by itself.
const before = socket.id;
socket.io.engine.close();
await until(() => socket.connected && socket.id !== before);
const seen = told.frames.length;
const asked = Date.now();
await ask("frames_subscribe", { camera_id: "yard", frame_rate: 25 });
await until(() => told.frames.length > seen);
told.resumed = { ...told.frames[seen], waitedMs: Date.now() - asked };
await ask("capture_start_request", { client_id: "node", metadata: { camera_id: "yard" } });
told.stopped = await ask("capture_stop_request", { client_id: "node", metadata: { camera_id: "yard" } });
told.unsubscribed = await ask("frames_unsubscribe", { camera_id: "yard" });
socket.disconnect();
console.log(JSON.stringify(told));
