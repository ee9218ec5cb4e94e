"""A server with the live HLS routes and real cameras, on a free port."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.camera_settings import CameraSettings
from gateway.service import CaptureService
from hls.live.service import LiveService
from tests.support.partial_app import app_with_routes
from web.api.routes import hls
from web.gateway import Gateway
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
    player.configure({ streaming: { lowLatencyMode: true }, manifest: { hls: { sequenceMode: false } } });
    player.addEventListener("error", ({ detail }) => detail.severity === 2 && fail(detail.code));
    await player.load(src).catch((error) => fail(error.code));
  },
  "video.js": (video, src, fail) => {
    const player = videojs(video, { html5: { vhs: { llhls: true, overrideNative: true } } });
    player.on("error", () => fail(player.error().message));
    player.src({ src, type: "application/x-mpegURL" });
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
window.frames_of = (id) => find(id)?.getVideoPlaybackQuality().totalVideoFrames ?? 0;
</script>"""
"""hls.js, shaka and video.js side by side, in low-latency mode."""


@dataclass(frozen=True)
class HlsServer:
    """``url`` has no trailing slash."""

    url: str
    service: CaptureService
    live: LiveService


def source_camera(
    url: str = "packets://", *, start: str = "always", linger_s: float = 0.2, engine: str = SOURCE_ENGINE
) -> CameraSettings:
    """The settings of a camera with :class:`~tests.support.sources.engine.SourceEngine`, or with another engine."""
    return CameraSettings.model_validate(
        {
            "url": url,
            "capture_engine": engine,
            "record": "never",
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
    gateway = Gateway(load_settings(cameras=tables))
    service, live = gateway.service, gateway.live
    app = app_with_routes(gateway, hls)
    app.router.add_get("/player", _player)
    app.router.add_get("/players", _players)
    for name in ("shaka-player", "video.js"):
        if (NODE_MODULES / name).is_dir():
            app.router.add_static(f"/{name}", NODE_MODULES / name / "dist")
    if HLS_JS.is_dir():  # only the tests with a browser need it, and install it
        app.router.add_static("/hls.js", HLS_JS)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    for camera in service.cameras.values():
        live.add_camera(camera)
    service.start()
    try:
        yield HlsServer(f"http://127.0.0.1:{runner.addresses[0][1]}", service, live)
    finally:
        await runner.cleanup()
        await live.close()
        await service.close()


async def _players(_: web.Request) -> web.Response:
    return web.Response(text=PLAYERS, content_type="text/html")


async def _player(_: web.Request) -> web.Response:
    return web.Response(text=PLAYER, content_type="text/html")
