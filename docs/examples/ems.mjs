// An EMS: captures cameras, takes their frames, asks for a picture and the recordings, marks an event.
// node ems.mjs 5000 door yard
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, ...cameras] = process.argv.slice(process.argv.findIndex((word) => /^\d+$/.test(word)));
const server = createServer();
const io = new Server(server, { maxHttpBufferSize: 8e6 }); // frames of 4K fit
const client_id = "example"; // who wants the capture; each user of an EMS may have an id

io.on("connection", (gateway) => {
  if (gateway.handshake.query.type !== "service") return gateway.disconnect(true);
  console.log("connected");
  const ask = (event, data) => gateway.timeout(15000).emitWithAck(event, { client_id, ...data });

  gateway.on("capture_status_response", ({ camera_id, state, error_message }) =>
    console.log("status", camera_id, state, error_message ?? ""),
  );
  gateway.on("video_frame_from_service", ({ frame_data, metadata }, acknowledge) => {
    console.log("frame", metadata.camera_id, metadata.sequence, `${metadata.width}x${metadata.height}`, frame_data.length);
    acknowledge?.(); // when it is dealt with: a slow EMS then gets newer frames, not more
  });
  gateway.on("service_heartbeat", ({ version, cameras }) => console.log("heartbeat", version, JSON.stringify(cameras)));
  gateway.on("event_changed", ({ kind, event }, acknowledge) => {
    console.log("event", kind, event?.camera_id, event?.label);
    acknowledge?.(); // a change that is not acknowledged is sent again after a reconnect
  });

  // The gateway keeps these starts over a reconnect and a restart. To repeat them does no harm.
  Promise.all(
    cameras.map(async (camera_id) => {
      const status = await ask("capture_start_request", { camera_id, frame_rate: 5, width: 320, quality: 70 });
      if (status.error) return console.log("refused", camera_id, status.message);
      const { frame_data, message } = await ask("snapshot_request", { camera_id });
      console.log("snapshot", camera_id, frame_data?.length ?? message);
      const { segments, message: why } = await ask("segments_list_request", { camera_id, limit: 10 });
      console.log("segments", camera_id, segments?.length ?? why);
      const { event } = await ask("event_create_request", { camera_id, label: "example", duration_s: 0 });
      console.log("marked", camera_id, event?.id);
    }),
  ).catch((error) => console.error(error.message));
});

server.listen(Number(port), () => console.log("listening", server.address().port));
