#!/usr/bin/python3
"""A third-party WHEP client: GStreamer's webrtcbin, which gathers with libnice and decodes with libav.

    /usr/bin/python3 gst_whep_client.py URL POLICY SECTION...

The policy is none, balanced, max-compat or max-bundle. A section is audio, video, inactive-audio, inactive-video or
data, which comes last in the offer. It runs under the system's Python, where Debian installs ``gi``. It says on
standard output, one JSON object a line, what pion_client says: first ``{"status", "offer", "answer"}``, then five times
a second ``{"kinds": {"video": {"packets"}}, "frames", "width", "height"}``, where ``frames`` are decoded pictures. It
leaves with DELETE when standard input ends.
"""

import json
import sys
import threading
import urllib.request
from typing import Any
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

REPORT_MS = 200
VIDEO = (
    "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96;"
    "application/x-rtp,media=video,encoding-name=H265,clock-rate=90000,payload=97"
)
"""As such clients write it: without packetization-mode, profile and level."""
PCMA = "application/x-rtp,media=audio,encoding-name=PCMA,clock-rate=8000,payload=8"
DECODE = {
    "H264": "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink sync=false signal-handoffs=true",
    "H265": "rtph265depay ! h265parse ! avdec_h265 ! fakesink name=sink sync=false signal-handoffs=true",
    "PCMA": "rtppcmadepay ! alawdec ! fakesink name=sink sync=false signal-handoffs=true",
}


class Client:
    def __init__(self, url: str, policy: str, *sections: str) -> None:
        self.url = url
        self.has_channel = "data" in sections
        self.resource = ""
        self.has_offered = self.is_posting = False
        self.seen: dict[str, Any] = {"kinds": {}, "frames": 0}
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline()
        self.peer = Gst.ElementFactory.make("webrtcbin")
        Gst.util_set_object_arg(self.peer, "bundle-policy", policy)
        self.pipeline.add(self.peer)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("pad-added", self.watch)
        directions = GstWebRTC.WebRTCRTPTransceiverDirection
        for section in sections:
            if section != "data":
                direction = directions.INACTIVE if section.startswith("inactive") else directions.RECVONLY
                caps = Gst.Caps.from_string(VIDEO if section.endswith("video") else PCMA)
                self.peer.emit("add-transceiver", direction, caps)
        self.peer.connect("on-negotiation-needed", self.offer)

    def run(self) -> None:
        if self.has_channel:
            self.pipeline.set_state(Gst.State.READY)
            self.channel = self.peer.emit("create-data-channel", "x", None)
        self.pipeline.set_state(Gst.State.PLAYING)
        threading.Thread(target=self.wait_for_end, daemon=True).start()
        self.loop.run()
        if self.resource:
            urllib.request.urlopen(urllib.request.Request(self.resource, method="DELETE")).close()
        self.pipeline.set_state(Gst.State.NULL)

    def wait_for_end(self) -> None:
        sys.stdin.read()
        GLib.idle_add(self.loop.quit)

    def say(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    def offer(self, peer: Gst.Element) -> None:
        if not self.has_offered:  # it is needed once for each transceiver
            self.has_offered = True
            peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, None))

    def offered(self, promise: Gst.Promise, _: object) -> None:
        reply = promise.get_reply()  # keeps what is in it alive
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(self, peer: Gst.Element, _: object) -> None:
        if (
            not self.is_posting
            and peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE
        ):
            self.is_posting = True
            GLib.idle_add(self.post)

    def post(self) -> bool:
        offer = self.peer.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
        with urllib.request.urlopen(request) as reply:
            answer = reply.read().decode()
            self.resource = urljoin(self.url, reply.headers["Location"])
            self.say({"status": reply.status, "offer": offer, "answer": answer})
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())
        GLib.timeout_add(REPORT_MS, self.report)
        return False

    def report(self) -> bool:
        self.say(self.seen)
        return True

    def watch(self, _: Gst.Element, pad: Gst.Pad) -> None:
        caps = pad.get_current_caps().get_structure(0)
        kind = caps.get_string("media")
        self.seen["kinds"][kind] = {"packets": 0}
        decode = Gst.parse_bin_from_description(DECODE[caps.get_string("encoding-name")], True)
        self.pipeline.add(decode)
        decode.get_by_name("sink").connect("handoff", self.decoded, kind)
        decode.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self.received, kind)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def received(self, _: Gst.Pad, __: Gst.PadProbeInfo, kind: str) -> Gst.PadProbeReturn:
        self.seen["kinds"][kind]["packets"] += 1
        return Gst.PadProbeReturn.OK

    def decoded(self, _sink: Gst.Element, _buffer: Gst.Buffer, pad: Gst.Pad, kind: str) -> None:
        if kind == "video":
            size = pad.get_current_caps().get_structure(0)
            self.seen["frames"] += 1
            self.seen |= {"width": size.get_value("width"), "height": size.get_value("height")}


if __name__ == "__main__":
    Gst.init(None)
    Client(*sys.argv[1:]).run()
