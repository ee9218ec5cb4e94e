"""A WebRTC server in a process of its own, for the benches: ours, or stock aiortc passing packets through.

    python -m bench.support.webrtc_server liveedge|aiortc [--gop FRAMES] [--bit-rate BPS]

Both are fed by the same film camera in the same way. Prints its address, serves WHEP until it is told to stop. ``GET
/delays`` (liveedge) gives the number of viewers at the live edge, and for each packet how long it took from the hub to
the last viewer's ``sendmsg``, in ms: of the clock, and of CPU.
"""

import argparse
import json
import time
from fractions import Fraction
from typing import Any

import av
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av.frame import Frame

from gateway.camera import Camera
from gateway.hub import Subscription
from gateway.media import Packet
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.server import WebRtcServer
from tests.support.cinema import film, film_camera
from web.errors import errors_as_json

VIEWERS_MAX = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=["liveedge", "aiortc"])
    parser.add_argument("--gop", type=int, default=60)
    parser.add_argument("--bit-rate", type=int, default=4_000_000)
    options = parser.parse_args()
    playing = film(1280, 720, fps=30, gop=options.gop, bit_rate=options.bit_rate)
    camera = film_camera(playing)
    app = web.Application(middlewares=[errors_as_json])
    app.cleanup_ctx.append(lambda _: _hold(camera))
    if options.server == "liveedge":
        app.cleanup_ctx.append(lambda application: _liveedge(application, camera))
        app.router.add_post("/whep", _join)
        app.router.add_get("/", _page)
        app.router.add_get("/delays", _delays)
    else:
        _aiortc(app, camera)
    web.run_app(app, host="127.0.0.1", port=0, print=_announce, handler_cancellation=True)


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
    app["delays"] = []
    app["at_live_edge"] = lambda: sum(len(fanout) - len(fanout._behind) for fanout in server._fanouts.values())
    send_live = CameraFanout.on_packet

    def timed(fanout: CameraFanout, packet: Packet) -> None:
        began, began_cpu = time.perf_counter(), time.thread_time()
        send_live(fanout, packet)
        app["delays"].append(((time.perf_counter() - began) * 1000, (time.thread_time() - began_cpu) * 1000))

    CameraFanout.on_packet = timed  # type: ignore[method-assign,assignment]
    yield
    await server.close()


async def _join(request: web.Request) -> web.Response:
    viewer = await request.app["join"](await request.text())
    return web.Response(status=201, text=viewer.answer_sdp, content_type="application/sdp")


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>bench</title>", content_type="text/html")


async def _delays(request: web.Request) -> web.Response:
    delays, request.app["delays"][:] = list(request.app["delays"]), []
    at_live_edge = request.app["at_live_edge"]()
    return web.Response(text=json.dumps([at_live_edge, delays]), content_type="application/json")


class _Passthrough(MediaStreamTrack):
    """What aiortc's documentation does for packets that need no encoding."""

    kind = "video"

    def __init__(self, subscription: Subscription) -> None:
        super().__init__()
        self._subscription = subscription

    async def recv(self) -> Frame | Any:
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
