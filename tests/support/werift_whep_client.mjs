// A third-party WHEP client: werift, a WebRTC stack in TypeScript.
//
//   node werift_whep_client.mjs URL POLICY SECTION...
//
// The policy is max-compat, max-bundle or disable; a section is audio, video, inactive-audio, inactive-video or data.
// It says on standard output, one JSON object a line, what pion_client says: first {"status", "offer", "answer"}, then
// five times a second {"kinds": {"video": {"packets"}}, "keyframes"}. It leaves with DELETE when standard input ends.

import { RTCPeerConnection, RTCRtpCodecParameters } from "werift";

const REPORT_MS = 200;
const NAL_IDR = 5;
const NAL_STAP_A = 24;
const NAL_FU_A = 28;

const [endpoint, bundlePolicy, ...sections] = process.argv.slice(2);
const seen = { kinds: {}, keyframes: 0, state: "new" };
const feedback = [{ type: "nack" }, { type: "nack", parameter: "pli" }];
const peer = new RTCPeerConnection({
  iceServers: [],
  bundlePolicy,
  iceAdditionalHostAddresses: ["127.0.0.1"],
  codecs: {
    video: [
      new RTCRtpCodecParameters({
        mimeType: "video/H264",
        clockRate: 90_000,
        rtcpFeedback: feedback,
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
      }),
    ],
    audio: [
      new RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48_000, channels: 2 }),
      new RTCRtpCodecParameters({ mimeType: "audio/PCMA", clockRate: 8000, channels: 1 }),
    ],
  },
});

/** Whether a payload begins an IDR picture (RFC 6184 §5.6 to 5.8). */
function hasIdr(payload) {
  const type = payload[0] & 0x1f;
  if (type === NAL_FU_A) return (payload[1] & 0x80) !== 0 && (payload[1] & 0x1f) === NAL_IDR;
  if (type !== NAL_STAP_A) return type === NAL_IDR;
  for (let at = 1; at + 2 < payload.length; at += 2 + payload.readUInt16BE(at)) {
    if ((payload[at + 2] & 0x1f) === NAL_IDR) return true;
  }
  return false;
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

peer.connectionStateChange.subscribe((state) => {
  seen.state = state;
});
for (const section of sections) {
  if (section === "data") {
    peer.createDataChannel("x");
    continue;
  }
  const kind = section.replace("inactive-", "");
  const transceiver = peer.addTransceiver(kind, { direction: kind === section ? "recvonly" : "inactive" });
  transceiver.onTrack.subscribe((track) => {
    track.onReceiveRtp.subscribe((packet) => {
      seen.kinds[kind] ??= { packets: 0, mime: track.codec?.mimeType };
      seen.kinds[kind].packets++;
      if (kind === "video" && hasIdr(packet.payload)) seen.keyframes++;
    });
  });
}
await peer.setLocalDescription(await peer.createOffer());
const offer = peer.localDescription.sdp;
const reply = await fetch(endpoint, { method: "POST", body: offer, headers: { "Content-Type": "application/sdp" } });
const answer = await reply.text();
say({ status: reply.status, offer, answer });
await peer.setRemoteDescription({ type: "answer", sdp: answer });
const timer = setInterval(() => say(seen), REPORT_MS);
process.stdin.resume();
process.stdin.once("end", async () => {
  clearInterval(timer);
  await fetch(new URL(reply.headers.get("Location"), endpoint), { method: "DELETE" });
  await peer.close();
  process.exit(0);
});
