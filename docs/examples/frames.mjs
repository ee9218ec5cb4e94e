// Newest JPEG frames of a camera: node frames.mjs http://127.0.0.1:8000 3
import { io } from "socket.io-client";

const [url, wanted] = process.argv.slice(-2);
const control = io(url);
const frames = io(url, { forceNew: true }); // a line of its own: a frame on a slow one delays no command
let seen = 0;

frames.on("video_frame_from_service", ({ frame_data, metadata }, acknowledge) => {
  console.log(metadata.timestamp, metadata.sequence, frame_data.length);
  acknowledge(); // the next one comes after this
  if (++seen === Number(wanted)) process.exit();
});
frames.on("connect", () => frames.emit("frames_subscribe", { frame_rate: 5, width: 160 })); // after a reconnect as well
control.on("capture_status_response", (status) => console.log(status.camera_id, status.state));
