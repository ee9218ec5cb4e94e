"""A WebRTC server in a process of its own, for the benches: ours, or stock aiortc passing packets through.

    python -m bench.support.webrtc_server liveedge|aiortc [--url RTSP] [--gop FRAMES]

Both are fed in the same way: by an RTSP camera, or by a loop of 4 Mbit/s. Prints its address, serves WHEP until it is
told to stop. ``GET /delays`` (liveedge, with ``--delays``) gives, for each frame since the last time, how long it took
from the hub to the last packet's ``sendmsg`` for the last viewer, in ms; the CPU of the first sending, in ms; whether
it is a keyframe; and how often viewers were behind the live edge meanwhile (replays, frames dropped).
"""

import argparse
import time
from fractions import Fraction
from typing import Any

import av
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings
from gateway.capture import engine_factory
from gateway.clock import SYSTEM_CLOCK
from gateway.hub import Subscription
from gateway.media import Packet
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.rtp.packets import Frame
from gateway.webrtc.rtp.video_sender import VideoSender
from gateway.webrtc.server import WebRtcServer
from tests.support.sources.encoded_loop import EncodedLoop, encode_loop, encoded_loop_camera
from web.middleware.errors import errors_as_json

VIEWERS_MAX = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=["liveedge", "aiortc"])
    parser.add_argument("--url", help="an RTSP camera; else a loop is played")
    parser.add_argument("--gop", type=int, default=60, help="the loop's keyframe interval in frames")
    parser.add_argument("--delays", action="store_true", help="measure each frame, which costs CPU")
    options = parser.parse_args()
    camera = _rtsp(options.url) if options.url else encoded_loop_camera(realistic(options.gop))
    app = web.Application(middlewares=[errors_as_json])
    app.cleanup_ctx.append(lambda _: _hold(camera))
    if options.server == "liveedge":
        app.cleanup_ctx.append(lambda application: _liveedge(application, camera))
        app.router.add_post("/whep", _join)
        app.router.add_get("/", _page)
        if options.delays:
            app["delays"] = Delays()
            app.router.add_get("/delays", _delays)
    else:
        _aiortc(app, camera)
    web.run_app(app, host="127.0.0.1", port=0, print=_announce, handler_cancellation=True)


def realistic(gop: int) -> EncodedLoop:
    """4 Mbit/s at 30 fps with keyframes of 50 to 80 KB, as a camera has them."""
    return encode_loop(1280, 720, fps=30, gop=gop, gops=max(1, 120 // gop), bit_rate=4_600_000, buffer_s=0.25)


def _rtsp(url: str) -> Camera:
    settings = CameraSettings.model_validate({"url": url, "start": "on-demand", "record": "never"})
    return Camera("bench", settings, engine_factory("pyav"), SYSTEM_CLOCK, lambda _: None)


def _announce(text: str) -> None:
    address = next((word for word in text.split() if word.startswith("http://")), None)
    if address is not None:
        print(address, flush=True)


async def _hold(camera: Camera) -> Any:
    camera.hold("bench")
    await camera.wait_for_keyframe(30)
    yield
    await camera.aclose()


async def _liveedge(app: web.Application, camera: Camera) -> Any:
    server = WebRtcServer(
        udp_port=0, listen=("127.0.0.1",), viewers_per_camera=VIEWERS_MAX, viewers_per_address=VIEWERS_MAX
    )
    await server.start()
    app["join"] = lambda sdp: server.join(camera, sdp, client_address="127.0.0.1")
    if "delays" in app:
        app["delays"].server = server
    yield
    await server.close()


async def _join(request: web.Request) -> web.Response:
    viewer = await request.app["join"](await request.text())
    return web.Response(status=201, text=viewer.answer_sdp, content_type="application/sdp")


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>bench</title>", content_type="text/html")


class Delays:
    """When each frame came to the fan-out, and when its last packet left."""

    server: WebRtcServer

    def __init__(self) -> None:
        self._frames: dict[int, list[float]] = {}
        """By number: when it came, when it was last sent as a whole, CPU ms, 1 for a keyframe."""
        self._behind = 0
        take, send, frames = CameraFanout.on_packet, VideoSender._send, self._frames

        def timed_take(fanout: CameraFanout, packet: Packet) -> None:
            came, cpu = time.perf_counter(), time.thread_time()
            frames[fanout._frames] = entry = [came, 0.0, 0.0, float(packet.is_keyframe)]
            take(fanout, packet)
            entry[2] = (time.thread_time() - cpu) * 1000

        def timed_send(sender: VideoSender, frame: Frame) -> bool:
            done = send(sender, frame)
            if done and frame.number in frames:
                frames[frame.number][1] = time.perf_counter()
            return done

        CameraFanout.on_packet = timed_take  # type: ignore[method-assign,assignment]
        VideoSender._send = timed_send  # type: ignore[method-assign,assignment]

    def take(self) -> dict[str, Any]:
        """All frames since the last time but for the newest, which may not have left."""
        stats = [viewer.stats() for viewer in self.server.viewers.values()]
        behind = sum(item.replays + item.frames_dropped for item in stats)
        frames = list(self._frames.values())[:-1]
        result = {
            "frames": [((left - came) * 1000, cpu, key) for came, left, cpu, key in frames if left],
            "behind": behind - self._behind,
        }
        self._frames.clear()
        self._behind = behind
        return result


async def _delays(request: web.Request) -> web.Response:
    delays: Delays = request.app["delays"]
    return web.json_response(delays.take())


class _Passthrough(MediaStreamTrack):
    """What aiortc's documentation does for packets that need no encoding."""

    kind = "video"

    def __init__(self, subscription: Subscription) -> None:
        super().__init__()
        self._subscription = subscription

    async def recv(self) -> Any:
        packet = await self._subscription.get()
        result = av.Packet(packet.data)
        result.pts, result.time_base = packet.pts_90k, _TIME_BASE
        return result


_TIME_BASE = Fraction(1, 90_000)


def _aiortc(app: web.Application, camera: Camera) -> None:
    peers: set[RTCPeerConnection] = set()

    async def join(request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.add(peer)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        transceiver = peer.getTransceivers()[0]
        transceiver.sender.replaceTrack(_Passthrough(camera.hub.subscribe()))
        transceiver.direction = "sendonly"
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(status=201, text=peer.localDescription.sdp, content_type="application/sdp")

    app.router.add_post("/whep", join)


if __name__ == "__main__":
    main()
