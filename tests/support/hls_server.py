"""A server with the live HLS routes and real cameras, on a free port."""

import asyncio
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.camera_settings import CameraSettings
from gateway.service import CaptureService
from hls.live.service import LiveService
from tests.support.partial_app import app_with_routes
from web.api.routes import hls
from web.gateway import Gateway
from web.http_runner import http_runner
from web.settings import load_settings

SOURCE_ENGINE = "tests.support.sources.engine:SourceEngine"

NODE_MODULES = Path(__file__).parents[1] / "node_modules"

HLS_JS = NODE_MODULES / "hls.js" / "dist"
"""The reference player, installed by ``npm ci --prefix tests``."""

PLAYER = """<!doctype html><meta charset="utf-8"><title>hls.js</title>
<script src="/hls.js/hls.min.js"></script><video muted playsinline></video>
<script>
const video = document.querySelector("video");
window.faults = [];
const options = new URLSearchParams(location.search);
const lowLatencyMode = !options.has("plain");
window.hls = new Hls({ lowLatencyMode, liveSyncOnStallIncrease: 0 });
// hls.js raises the playback rate only with more than a second of buffer, which it never has at the live edge.
if (lowLatencyMode) setInterval(() => {
  const late = hls.latency - hls.targetLatency > 0.1;
  const ahead = video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : 0;
  video.playbackRate = late && ahead > 0.4 ? 1.05 : 1;
}, 200);
hls.on(Hls.Events.ERROR, (_, data) => faults.push({ type: data.type, details: data.details, fatal: data.fatal }));
hls.loadSource(options.get("src"));
hls.attachMedia(video);
video.play();
</script>"""


PLAYERS = """<!doctype html><meta charset="utf-8"><title>players</title>
<script src="/hls.js/hls.min.js"></script>
<script src="/shaka-player/shaka-player.compiled.js"></script>
<script src="/video.js/video.min.js"></script>
<script>
window.fatal = {};
const start = {
  "hls.js": (video, src, fail) => {
    const hls = new Hls({ liveSyncOnStallIncrease: 0 });
    hls.on(Hls.Events.ERROR, (_, data) => data.fatal && fail(data.details));
    hls.loadSource(src);
    hls.attachMedia(video);
  },
  "shaka": async (video, src, fail) => {
    const player = new shaka.Player();
    await player.attach(video);
    const manifest = { availabilityWindowOverride: 300, hls: { sequenceMode: false } };
    player.configure({ streaming: { lowLatencyMode: true }, manifest });
    player.addEventListener("error", ({ detail }) => detail.severity === 2 && fail(detail.code));
    await player.load(src).catch((error) => fail(error.code));
  },
  "video.js": (video, src, fail) => {
    const player = videojs(video, { html5: { vhs: { llhls: true, overrideNative: true } } });
    const load = () => player.src({ src, type: "application/x-mpegURL" });
    // See docs/clients.md: after a restart it may end, and a page loads its source again.
    player.one("error", () => {
      player.on("error", () => fail(player.error().message));
      load();
    });
    load();
  },
};
window.play = (player, camera) => {
  const video = document.createElement("video");
  const id = video.id = `${player} ${camera}`;
  video.muted = video.autoplay = video.playsInline = true;
  document.body.append(video);
  start[player](video, `/hls/${camera}/index.m3u8`, (why) => { fatal[id] = String(why); });
};
window.find = (id) => [...document.querySelectorAll("video")].find((each) => each.id.startsWith(id));
window.state_of = (id) => {
  const { readyState, networkState, paused, currentTime, buffered, error } = find(id);
  const ranges = Array.from({ length: buffered.length }, (_, n) => [buffered.start(n), buffered.end(n)]);
  return { readyState, networkState, paused, currentTime, ranges, error: error?.message };
};
window.frames_of = (id) => find(id)?.getVideoPlaybackQuality().totalVideoFrames ?? 0;
</script>"""
"""hls.js, shaka and video.js side by side, in low-latency mode."""


class HlsServer:
    """A server of ``tables``, the cameras' settings; ``url`` has no trailing slash."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._tables = tables
        self._folder = tempfile.TemporaryDirectory()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._stack = AsyncExitStack()
        self.gateway: Gateway
        port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    @property
    def service(self) -> CaptureService:
        return self.gateway.service

    @property
    def live(self) -> LiveService:
        return self.gateway.live

    async def start(self) -> None:
        """Start the gateway, in place of the one before."""
        self.gateway = gateway = Gateway(load_settings(cameras=self._tables, data_dir=self._folder.name))
        app = app_with_routes(gateway, hls)
        app.router.add_get("/player", _player)
        app.router.add_get("/players", _players)
        for name in ("shaka-player", "video.js"):
            if (NODE_MODULES / name).is_dir():
                app.router.add_static(f"/{name}", NODE_MODULES / name / "dist")
        if HLS_JS.is_dir():  # only the tests with a browser need it, and install it
            app.router.add_static("/hls.js", HLS_JS)
        runner = http_runner(app, Counter(), shutdown_s=0.2)
        await runner.setup()
        await gateway.live.start()
        for camera in gateway.service.cameras.values():
            gateway.live.add_camera(camera)
        gateway.service.start()
        await web.SockSite(runner, self._listening.dup()).start()
        self._stack.push_async_callback(gateway.live.close)
        self._stack.push_async_callback(gateway.service.close)
        self._stack.push_async_callback(runner.cleanup)

    async def stop(self) -> None:
        """Stop the gateway. Its port stays open, as with a socket unit of systemd: connections wait."""
        await self._stack.aclose()

    async def refuse(self, seconds: float) -> None:
        """Refuse connections for some time, while the gateway is stopped."""
        address = self._listening.getsockname()
        self._listening.close()
        await asyncio.sleep(seconds)
        self._listening = socket.create_server(address)

    async def close(self) -> None:
        await self.stop()
        self._listening.close()
        self._folder.cleanup()


def source_camera(
    url: str = "packets://",
    *,
    start: str = "always",
    linger_s: float = 0.2,
    engine: str = SOURCE_ENGINE,
    record: str = "never",
) -> CameraSettings:
    """The settings of a camera with :class:`~tests.support.sources.engine.SourceEngine`, or with another engine."""
    return CameraSettings.model_validate(
        {
            "url": url,
            "capture_engine": engine,
            "record": record,
            "start": start,
            "capture_linger": linger_s,
            "connection_retry_delay": 0.05,
            "connection_retry_attempts": 1000,
        }
    )


@asynccontextmanager
async def hls_server(cameras: Mapping[str, CameraSettings]) -> AsyncIterator[HlsServer]:
    """Serve ``cameras``, and hls.js at ``/player?src=``."""
    tables = {
        camera_id: {**settings.model_dump(exclude_unset=True), "url": settings.url.get_secret_value()}
        for camera_id, settings in cameras.items()
    }
    server = HlsServer(tables)
    try:
        await server.start()
        yield server
    finally:
        await server.close()


async def _players(_: web.Request) -> web.Response:
    return web.Response(text=PLAYERS, content_type="text/html")


async def _player(_: web.Request) -> web.Response:
    return web.Response(text=PLAYER, content_type="text/html")
