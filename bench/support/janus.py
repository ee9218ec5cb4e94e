"""Janus for comparison, where Debian's package is installed: RTSP in, WebRTC out, and nothing else.

Its configuration is in ``bench/support/janus/``. Viewers are handles of one session, driven by its HTTP interface.
"""

import asyncio
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from bench.support import webrtc_load as load
from tests.support.rtsp import free_port

CONFIGURATION = Path(__file__).with_name("janus")
MOUNT = 1
START_S = 40.0
"""Its first attempt at a camera often fails. It repeats it after 5 s without media."""

FRESH_MS = 1000
"""The camera runs if its last media is younger. Before that, the offer of Janus has no video."""


def library() -> Path | None:
    """The folder of Janus' plugins; ``None`` if Janus is not installed."""
    found = sorted(Path("/usr/lib").glob("*/janus/plugins/libjanus_streaming.so"))
    return found[0].parents[1] if found and shutil.which("janus") else None


@contextmanager
def server(url: str) -> Iterator[load.Server]:
    """Run Janus with this RTSP camera until the block ends."""
    plugins = library()
    if plugins is None:
        raise SystemExit("Janus is not installed (apt-get install janus)")
    values = {
        "library": plugins,
        "other_plugins": _others(plugins / "plugins", "libjanus_streaming.so"),
        "other_transports": _others(plugins / "transports", "libjanus_http.so"),
        "mount": MOUNT,
        "url": url,
        "port": free_port(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for template in CONFIGURATION.glob("*.jcfg"):
            Path(folder, template.name).write_text(Template(template.read_text()).substitute(values))
        command = ["janus", "-F", folder, "-C", f"{folder}/janus.jcfg"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        try:
            # libnice leaves out the loopback address if there are others.
            load.gather_on(*load.own_addresses(True, False))
            yield load.Server(process, f"http://127.0.0.1:{values['port']}/janus")
        finally:
            load.gather_on("127.0.0.1")
            load.end(process)


def _others(folder: Path, wanted: str) -> str:
    return ",".join(item.name for item in sorted(folder.glob("*.so")) if item.name != wanted)


class Session:
    """One Janus session: every viewer is a handle of it."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self._http = http
        self._url = address
        self._events: dict[int, asyncio.Queue[Any]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Wait until Janus is up and has its camera."""
        async with asyncio.timeout(START_S):
            while True:
                try:
                    created = await self._call(janus="create")
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.2)
        self._url += f"/{created['data']['id']}"
        self._poller = asyncio.create_task(self._poll())
        handle: int = (await self._call(janus="attach", plugin="janus.plugin.streaming"))["data"]["id"]
        async with asyncio.timeout(START_S):
            while not await self._has_media(handle):
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """End the polling."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])

    async def join(self) -> load.Viewer:
        """Watch the mount."""
        handle: int = (await self._call(janus="attach", plugin="janus.plugin.streaming"))["data"]["id"]
        events = self._events[handle] = asyncio.Queue()
        await self._call(f"/{handle}", janus="message", body={"request": "watch", "id": MOUNT})
        async with asyncio.timeout(START_S):
            while "jsep" not in (event := await events.get()):
                pass
        viewer = load.Viewer(RTCPeerConnection(RTCConfiguration(iceServers=[])))
        await viewer.peer.setRemoteDescription(RTCSessionDescription(event["jsep"]["sdp"], "offer"))
        await viewer.peer.setLocalDescription(await viewer.peer.createAnswer())
        load.count(viewer)
        jsep = {"type": "answer", "sdp": viewer.peer.localDescription.sdp}
        await self._call(f"/{handle}", janus="message", body={"request": "start"}, jsep=jsep)
        return viewer

    async def _has_media(self, handle: int) -> bool:
        reply = await self._call(f"/{handle}", janus="message", body={"request": "info", "id": MOUNT})
        media = reply.get("plugindata", {}).get("data", {}).get("info", {}).get("media", [])
        return any(item.get("age_ms", FRESH_MS) < FRESH_MS for item in media)

    async def _call(self, path: str = "", **body: object) -> Any:
        async with self._http.post(f"{self._url}{path}", json={**body, "transaction": uuid.uuid4().hex}) as reply:
            return await reply.json()

    async def _poll(self) -> None:
        while True:
            async with self._http.get(f"{self._url}?maxev=10") as reply:
                for event in await reply.json():
                    queue = self._events.get(event.get("sender", 0))
                    if queue is not None:
                        queue.put_nowait(event)
