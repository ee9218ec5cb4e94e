// Newest JPEG frames of a camera: node frames.mjs http://127.0.0.1:8000 3
import { io } from "socket.io-client";

const [url, wanted] = process.argv.slice(-2);
const control = io(url);
const frames = io(url, { forceNew: true }); // a second connection, so that frames do not delay commands
let seen = 0;

frames.on("video_frame_from_service", ({ frame_data, metadata }, acknowledge) => {
  console.log(metadata.timestamp, metadata.sequence, frame_data.length);
  acknowledge(); // requests the next frame
  if (++seen === Number(wanted)) process.exit();
});
frames.on("connect", () => frames.emit("frames_subscribe", { frame_rate: 5, width: 160 })); // also after a reconnect
control.on("capture_status_response", (status) => console.log(status.camera_id, status.state));
