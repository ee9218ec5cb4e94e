#!/usr/bin/python3
"""A real RTSP camera for the suite: GStreamer's RTSP server with live, small and cheap pictures.

It runs under the system's Python, where Debian installs ``gi``; :mod:`tests.support.rtsp` starts it. Its first line on
standard output is a JSON object with the real ports, ``{"port": …, "guarded_port": …}``; it ends when its standard
input closes, so that it cannot outlive the tests.

Every mount is 320x240 at 25 fps with a running clock in the picture, of its own for each client, over TCP or UDP:

    /cam       H.264 constrained baseline, 2 s GOP, G.711 A-law
    /video     the same without audio
    /aac       H.264 and AAC
    /large     H.264, 640x480, 1 s GOP
    /high      H.264 High
    /bframes   H.264 Main with two B-frames between each two others
    /sdponly   H.264 whose SPS and PPS are in the SDP alone
    /gop10     H.264, 10 s GOP
    /gop1      H.264, 1 s GOP
    /hevc      H.265
    /resize    H.264 that changes between 320x240 and 480x360 every two seconds
    /mjpeg     Motion JPEG, no H.264 at all
    /audio     G.711 alone
    /halfdead  H.264 and G.711 A-law; the video ends after a second, the audio goes on
    /udp       H.264 over UDP only: TCP is refused with 461
    /ts        H.264 in MPEG-TS

The guarded port requires digest authentication and has /cam and /video; see ``USERS``. With ``--certificate FILE``
(PEM, with its key) there is a ``tls_port``, too: the guarded port over TLS."""

import argparse
import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

USERS = {"viewer": "p@ss:word", "op/er#1": "a/b#c%20d?e f", "plain": "plain"}
ROLE = "viewer"
FPS = 25

ALAW = "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! alawenc ! rtppcmapay name=pay1 pt=8"
AAC = (
    "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2"
    " ! avenc_aac ! rtpmp4gpay name=pay1 pt=97"
)
PICTURE = (
    "videotestsrc is-live=true pattern=smpte ! videoscale"
    f" ! capsfilter name=size caps=video/x-raw,format=I420,width=320,height=240,framerate={FPS}/1"
    " ! timeoverlay font-desc=monospace,24"
)


def h264(
    gop_s: float = 2, profile: str = "constrained-baseline", tune: str = "tune=zerolatency", in_band: int = -1
) -> str:
    return (
        f"{PICTURE} ! x264enc {tune} speed-preset=ultrafast threads=1 key-int-max={round(gop_s * FPS)} bitrate=400"
        f" ! video/x-h264,profile={profile} ! rtph264pay name=pay0 pt=96 config-interval={in_band}"
    )


OPEN = {
    "/cam": f"( {h264()} {ALAW} )",
    "/video": f"( {h264()} )",
    "/aac": f"( {h264()} {AAC} )",
    "/large": f"( {h264(gop_s=1).replace('width=320,height=240', 'width=640,height=480')} )",
    "/high": f"( {h264(profile='high', tune='tune=zerolatency dct8x8=true cabac=true')} )",
    "/bframes": f"( {h264(profile='main', tune='bframes=2 b-adapt=false rc-lookahead=4 sync-lookahead=0')} )",
    "/sdponly": f"( {h264(in_band=0)} )",
    "/gop10": f"( {h264(gop_s=10)} )",
    "/gop1": f"( {h264(gop_s=1)} )",
    "/hevc": f"( {PICTURE} ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max={2 * FPS} bitrate=400"
    " ! rtph265pay name=pay0 pt=96 config-interval=-1 )",
    "/resize": f"( {h264()} )",
    "/mjpeg": f"( {PICTURE} ! jpegenc ! rtpjpegpay name=pay0 pt=26 )",
    "/audio": f"( {ALAW.replace('pay1', 'pay0')} )",
    "/halfdead": f"( {h264().replace('! rtph264pay', '! valve name=tap ! rtph264pay')} {ALAW} )",
    "/udp": f"( {h264()} )",
    "/ts": f"( {h264().partition(' ! rtph264pay')[0]} ! h264parse config-interval=-1 ! mpegtsmux alignment=7"
    " ! rtpmp2tpay name=pay0 pt=33 )",
}
GUARDED = {"/cam": OPEN["/cam"], "/video": OPEN["/video"]}
SIZES = ((320, 240), (480, 360))


def keep_resizing(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
    size = media.get_element().get_by_name("size")
    state = {"index": 0}

    def resize() -> bool:
        if media.get_status() in (GstRtspServer.RTSPMediaStatus.UNPREPARED, GstRtspServer.RTSPMediaStatus.ERROR):
            return False
        state["index"] ^= 1
        width, height = SIZES[state["index"]]
        caps = f"video/x-raw,format=I420,width={width},height={height},framerate={FPS}/1"
        size.set_property("caps", Gst.Caps.from_string(caps))
        return True

    GLib.timeout_add(2000, resize)


def shut_soon(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
    tap = media.get_element().get_by_name("tap")

    def shut() -> bool:
        tap.set_property("drop", True)
        return False

    GLib.timeout_add(1000, shut)


def serve(
    port: int, mounts: dict[str, str], users: dict[str, str], certificate: str | None = None
) -> GstRtspServer.RTSPServer:
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    if users:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", ROLE)
        for user, password in users.items():
            auth.add_digest(user, password, token)
        if certificate:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
        server.set_auth(auth)
    for path, launch in mounts.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(launch)
        # A shared medium that its last client leaves is closed under the next one, which is answered 454 or 503.
        factory.set_shared(False)
        if users:
            role = Gst.Structure.new_empty(ROLE)
            role.set_value("media.factory.access", True)
            role.set_value("media.factory.construct", True)
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_role_from_structure(role)
            factory.set_permissions(permissions)
        if path == "/halfdead":
            factory.connect("media-configure", shut_soon)
        if path == "/udp":
            factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        if path == "/resize":
            factory.connect("media-configure", keep_resizing)
        server.get_mount_points().add_factory(path, factory)
    if not server.attach(None):
        sys.exit(f"port {port} cannot be bound")
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--guarded-port", type=int, default=0)
    parser.add_argument("--certificate")
    ports = parser.parse_args()
    Gst.init(None)
    opened = serve(ports.port, OPEN, {})
    guarded = serve(ports.guarded_port, GUARDED, USERS)
    bound = {"port": opened.get_bound_port(), "guarded_port": guarded.get_bound_port()}
    if ports.certificate:
        secured = serve(0, GUARDED, USERS, ports.certificate)
        bound["tls_port"] = secured.get_bound_port()
    print(json.dumps(bound), flush=True)
    loop = GLib.MainLoop()

    def leave(*_: object) -> bool:
        loop.quit()
        return False

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, leave)
    loop.run()


if __name__ == "__main__":
    main()
