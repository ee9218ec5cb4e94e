"""A WebRTC server in its own process, for benchmarks: that of liveedge, or stock aiortc that passes packets through.

    python -m bench.support.webrtc_server liveedge|aiortc [--url RTSP] [--gop FRAMES] [--delays]

Both get the packets of the same camera: an RTSP camera, or 4 Mbit/s that were encoded before. The process prints its
address and serves WHEP at ``/whep`` until it is terminated. With ``--delays``, liveedge also has:

- ``POST /outputs/attach`` and ``POST /outputs/detach``: start or stop LL-HLS and the archive for the camera.
- ``GET /delays``: see :meth:`~bench.support.frame_delays.FrameDelays.take`; with the number of LL-HLS parts since
  ``attach``, and the bytes that the recorder has written since.
"""

import argparse
import tempfile
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from bench.support.frame_delays import FrameDelays
from gateway.camera import Camera
from gateway.hub import Subscription
from gateway.service import CaptureService
from gateway.webrtc.server import WebRtcServer
from hls.archive.service import Archive
from hls.live.segment import LivePart
from hls.live.segment_buffer import SegmentBuffer
from hls.live.service import LiveService
from tests.support.partial_app import errors_as_json
from tests.support.sources.encoded_loop import EncodedLoop, EncodedLoopEngine, encode_loop
from web.settings import Settings, load_settings

CAMERA_ID = "bench"
VIEWERS_MAX = 1000
KEYFRAME_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", choices=["liveedge", "aiortc"])
    parser.add_argument("--url", help="an RTSP camera; without it, the camera is made of coded frames")
    parser.add_argument("--gop", type=int, default=60, help="keyframe interval of the coded frames")
    parser.add_argument("--delays", action="store_true", help="measure each frame, which costs CPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = camera_settings(Path(folder), options)
        service = CaptureService(settings.camera_settings())
        app = web.Application(middlewares=[errors_as_json])
        app.cleanup_ctx.append(lambda _: _captured(service))
        if options.server == "liveedge":
            _liveedge(app, service.camera(), FrameDelays() if options.delays else None)
            if options.delays:
                app.cleanup_ctx.append(lambda application: _outputs(application, settings, service))
        else:
            _aiortc(app, service.camera())
        web.run_app(app, host="127.0.0.1", port=0, print=_announce, handler_cancellation=True)


def camera_settings(data_dir: Path, options: argparse.Namespace) -> Settings:
    """One camera: at ``--url``, or 4 Mbit/s at 30 fps with keyframes of 50 to 80 KB, as a real camera has.

    liveedge captures with its default engine, aiortc with the one that an application of aiortc uses.
    """
    camera = {"url": options.url, "engine": "auto" if options.server == "liveedge" else "pyav"}
    if options.url is None:
        EncodedLoopEngine.showing[CAMERA_ID] = (realistic(options.gop), None)
        camera = {"url": f"loop://{CAMERA_ID}", "engine": "tests.support.sources.encoded_loop:EncodedLoopEngine"}
    return load_settings(
        data_dir=data_dir, cameras={CAMERA_ID: camera}, start="on-demand", record="capture", archive_min_free_bytes=0
    )


def realistic(gop: int) -> EncodedLoop:
    """The coded frames of :func:`camera_settings`."""
    return encode_loop(1280, 720, fps=30, gop=gop, gops=max(1, 120 // gop), bit_rate=4_600_000, buffer_s=0.25)


def _announce(text: str) -> None:
    address = next((word for word in text.split() if word.startswith("http://")), None)
    if address is not None:
        print(address, flush=True)


async def _captured(service: CaptureService) -> AsyncIterator[None]:
    """Capture the camera while the server runs."""
    camera = service.camera()
    camera.hold("bench")
    await camera.wait_for_keyframe(KEYFRAME_S)
    yield
    await service.close()


def _liveedge(app: web.Application, camera: Camera, delays: FrameDelays | None) -> None:
    server: WebRtcServer | None = None

    async def serve(_: web.Application) -> AsyncIterator[None]:
        nonlocal server
        server = WebRtcServer(
            udp_port=0, listen=("127.0.0.1",), viewers_per_camera=VIEWERS_MAX, viewers_per_client=VIEWERS_MAX
        )
        await server.start()
        if delays is not None:
            delays.server = server
            app[DELAYS] = delays
        yield
        await server.close()

    async def join(request: web.Request) -> web.Response:
        assert server is not None
        viewer = await server.join(camera, await request.text(), client_address="127.0.0.1")
        return web.Response(status=201, text=viewer.answer_sdp, content_type="application/sdp")

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>bench</title>", content_type="text/html")

    app.cleanup_ctx.append(serve)
    app.router.add_post("/whep", join)
    app.router.add_get("/", page)


DELAYS = web.AppKey("delays", FrameDelays)


async def _outputs(app: web.Application, settings: Settings, service: CaptureService) -> AsyncIterator[None]:
    """Add the routes for LL-HLS and the archive, and ``/delays``. At first neither is attached."""
    camera = service.camera()
    live, archive = LiveService(service), Archive(settings, service)
    await archive.start()
    await archive.remove_camera(camera.id)
    parts = 0
    add_part = SegmentBuffer.add_part

    def counted(buffer: SegmentBuffer, part: LivePart) -> None:
        nonlocal parts
        parts += 1
        add_part(buffer, part)

    SegmentBuffer.add_part = counted  # type: ignore[method-assign,assignment]

    async def attach(_: web.Request) -> web.Response:
        nonlocal parts
        parts = 0
        live.add_camera(camera)
        archive.add_camera(camera)
        return web.Response(status=204)

    async def detach(_: web.Request) -> web.Response:
        await live.remove_camera(camera.id)
        await archive.remove_camera(camera.id)
        return web.Response(status=204)

    async def delays(_: web.Request) -> web.Response:
        recorder = archive.recorders().get(camera.id)
        written = recorder.bytes_written if recorder is not None else 0
        return web.json_response({**app[DELAYS].take(), "parts": parts, "bytes_written": written})

    app.router.add_post("/outputs/attach", attach)
    app.router.add_post("/outputs/detach", detach)
    app.router.add_get("/delays", delays)
    yield
    await live.close()
    await archive.close()


class _Passthrough(MediaStreamTrack):
    """Coded packets for aiortc's sender, as aiortc's documentation does it."""

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
