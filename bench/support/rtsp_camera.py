#!/usr/bin/python3
"""An RTSP camera at 30 fps for benchmarks, by GStreamer. It runs under the system's Python, where Debian installs gi.

    /usr/bin/python3 bench/support/rtsp_camera.py [noise]

1280x720 with a moving ball, or 640x360 of noise that takes all of its 4 Mbit/s. Its first line on standard output is
its URL; it ends when its standard input closes.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURES = {
    "ball": "pattern=ball ! video/x-raw,width=1280,height=720",
    "noise": "pattern=snow ! video/x-raw,width=640,height=360",
}
PICTURE = PICTURES[sys.argv[1] if len(sys.argv) > 1 else "ball"]
LAUNCH = (
    f"( videotestsrc is-live=true {PICTURE},format=I420,framerate=30/1"
    " ! timeoverlay ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=60 bitrate=4000"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(LAUNCH)
factory.set_shared(True)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(f"rtsp://127.0.0.1:{server.get_bound_port()}/cam", flush=True)
loop = GLib.MainLoop()
GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
loop.run()
