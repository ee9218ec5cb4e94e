#!/usr/bin/python3
"""A camera with a loudspeaker: GStreamer's ONVIF RTSP server, whose back channel writes down what it hears.

It runs under the system's Python, where Debian installs ``gi``; :class:`tests.support.talk.TalkCamera` starts it. Its
first line on standard output is a JSON object, ``{"port": …, "guarded_port": …}``; it ends when its standard input
closes, so that it cannot outlive the tests.

Every mount has H.264 and G.711 A-law, and a back channel where it says so, in the formats of its name. What is heard is
in ``DIRECTORY/NAME.raw``: mono, 16 bits, 16 kHz. The guarded port has the same mounts, with Digest (``admin``,
``p@ss:word``).

    /pcmu /pcma /aac /opus /g726
    /deaf      without a back channel
"""

import argparse
import json
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

USER, PASSWORD = "admin", "p@ss:word"
ROLE = "talker"

VIDEO = (
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=15/1"
    " ! timeoverlay ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=15 bitrate=300"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=-1"
)
SOUND = "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! alawenc ! rtppcmapay name=pay1 pt=8"

FORMATS = {
    "pcmu": ("payload=0, clock-rate=8000, encoding-name=PCMU", "rtppcmudepay ! mulawdec"),
    "pcma": ("payload=8, clock-rate=8000, encoding-name=PCMA", "rtppcmadepay ! alawdec"),
    "aac": (
        'payload=97, clock-rate=16000, encoding-name=MPEG4-GENERIC, encoding-params=(string)1, mode=(string)"AAC-hbr",'
        ' config=(string)"1408", profile-level-id=(string)1, streamtype=(string)5, sizelength=(string)13,'
        " indexlength=(string)3, indexdeltalength=(string)3",
        "rtpmp4gdepay ! aacparse ! avdec_aac",
    ),
    "opus": ("payload=98, clock-rate=48000, encoding-name=OPUS", "rtpopusdepay ! opusdec"),
    "g726": ("payload=99, clock-rate=8000, encoding-name=G726-32", "rtpg726depay force-aal2=false ! avdec_g726"),
}


def back_channel(name: str, directory: Path) -> str:
    caps, decode = FORMATS[name]
    caps = caps.replace('"', '\\"')
    return (
        f'( capsfilter caps="application/x-rtp, media=audio, {caps}" name=depay_backchannel ! {decode} ! audioconvert'
        " ! audioresample ! audio/x-raw,format=S16LE,rate=16000,channels=1"
        f" ! filesink append=true async=false sync=false buffer-mode=unbuffered location={directory / name}.raw )"
    )


def serve(directory: Path, *, is_guarded: bool) -> GstRtspServer.RTSPOnvifServer:
    server = GstRtspServer.RTSPOnvifServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    if is_guarded:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", ROLE)
        auth.add_digest(USER, PASSWORD, token)
        server.set_auth(auth)
    for name in (*FORMATS, "deaf"):
        factory = GstRtspServer.RTSPOnvifMediaFactory.new()
        factory.set_launch(f"( {VIDEO} {SOUND} )")
        if name in FORMATS:
            factory.set_backchannel_launch(back_channel(name, directory))
        factory.set_shared(False)
        factory.set_media_gtype(GstRtspServer.RTSPOnvifMedia)
        if is_guarded:
            role = Gst.Structure.new_empty(ROLE)
            role.set_value("media.factory.access", True)
            role.set_value("media.factory.construct", True)
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_role_from_structure(role)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(f"/{name}", factory)
    if not server.attach(None):
        sys.exit("the port cannot be bound")
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    Gst.init(None)
    opened, guarded = serve(directory, is_guarded=False), serve(directory, is_guarded=True)
    print(json.dumps({"port": opened.get_bound_port(), "guarded_port": guarded.get_bound_port()}), flush=True)
    loop = GLib.MainLoop()

    def leave(*_: object) -> bool:
        loop.quit()
        return False

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, leave)
    loop.run()


if __name__ == "__main__":
    main()
