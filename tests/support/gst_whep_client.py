#!/usr/bin/python3
"""A third-party WHEP client: GStreamer's webrtcbin, which gathers with libnice and decodes with libav.

    /usr/bin/python3 gst_whep_client.py URL [--frames N]

It runs under the system's Python, where Debian installs ``gi``. It watches until N frames are decoded, leaves with
DELETE and prints one JSON object: ``{"status", "offer", "answer", "frames", "width", "height", "left"}``. It gives up
after 15 s.
"""

import argparse
import json
import sys
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

GIVE_UP_MS = 15_000
H264 = "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96"
"""As such clients write it: without packetization-mode."""


class Client:
    def __init__(self, url: str, frames: int) -> None:
        self.url = url
        self.wanted = frames
        self.resource = ""
        self.seen = {"frames": 0}
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline()
        self.peer = Gst.ElementFactory.make("webrtcbin")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.peer)
        self.peer.connect("on-negotiation-needed", self.offer)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("pad-added", self.watch)
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(H264))

    def run(self) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(GIVE_UP_MS, self.loop.quit)
        self.loop.run()
        if self.resource:
            with urllib.request.urlopen(urllib.request.Request(self.resource, method="DELETE")) as reply:
                self.seen["left"] = reply.status
        self.pipeline.set_state(Gst.State.NULL)

    def offer(self, peer: Gst.Element) -> None:
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, None))

    def offered(self, promise: Gst.Promise, _: object) -> None:
        reply = promise.get_reply()  # keeps what is in it alive
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(self, peer: Gst.Element, _: object) -> None:
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self) -> bool:
        offer = self.peer.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
        with urllib.request.urlopen(request) as reply:
            answer = reply.read().decode()
            self.resource = urljoin(self.url, reply.headers["Location"])
            self.seen |= {"status": reply.status, "offer": offer, "answer": answer}
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def watch(self, _: Gst.Element, pad: Gst.Pad) -> None:
        decode = Gst.parse_bin_from_description(
            "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink sync=false signal-handoffs=true", True
        )
        self.pipeline.add(decode)
        decode.get_by_name("sink").connect("handoff", self.decoded)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def decoded(self, _sink: Gst.Element, _buffer: Gst.Buffer, pad: Gst.Pad) -> None:
        size = pad.get_current_caps().get_structure(0)
        self.seen["frames"] += 1
        self.seen |= {"width": size.get_value("width"), "height": size.get_value("height")}
        if self.seen["frames"] >= self.wanted:
            GLib.idle_add(self.loop.quit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--frames", type=int, default=10)
    options = parser.parse_args()
    Gst.init(None)
    client = Client(options.url, options.frames)
    client.run()
    json.dump(client.seen, sys.stdout)


if __name__ == "__main__":
    main()
