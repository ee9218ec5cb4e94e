"""WHEP clients of other projects, each with its own WebRTC stack, and one way to look at what they get.

========  =====================================================================================================
aiortc    Python, in this process; decodes
Pion      Go, ``tests/support/pion_client``; counts keyframes
werift    TypeScript, ``tests/support/werift_whep_client.mjs``; counts keyframes
webrtcbin GStreamer, ``tests/support/gst_whep_client.py``; decodes
Chromium  decodes
Firefox   Debian's has no H.264 decoder for WebRTC. The test calls the H.264 VP8: Firefox receives and decrypts the
          packets, asks for others again, plays the sound, and shows no picture
========  =====================================================================================================

Each offers audio before video. With a max-bundle policy the video section is then bundle-only, with port zero. All but
the browsers can make other offers, see :func:`offering`.
"""

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urljoin

import aiohttp
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from tests.support.browser import chromium
from tests.support.firefox import firefox
from tests.support.node import NODE
from tests.support.rtsp import SYSTEM_PYTHON

SUPPORT = Path(__file__).parent
PION = SUPPORT.parents[1] / ".tools/bin/pion-whep-client"
"""Built by ``make test``."""

JOIN = """
async (endpoint, hasChannel, disguise) => {
  // Watch, and keep the peer for COUNTS. `disguise`: for a browser without H.264, call it VP8.
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, muted: true, playsInline: true, srcObject: new MediaStream() });
  document.body.append(video);
  peer.ontrack = ({ track }) => video.srcObject.addTrack(track);
  for (const kind of ["audio", "video"]) peer.addTransceiver(kind, { direction: "recvonly" });
  if (hasChannel) peer.createDataChannel("x");
  await peer.setLocalDescription();
  const offer = peer.localDescription.sdp;
  const body = disguise ? offer.replaceAll("VP8/90000", "H264/90000") : offer;
  const reply = await fetch(endpoint, { method: "POST", body, headers: { "Content-Type": "application/sdp" } });
  let sdp = await reply.text();
  if (reply.status !== 201) throw new Error(`${reply.status} ${sdp}\\n${offer}`);
  if (disguise) sdp = sdp.replaceAll("H264/90000", "VP8/90000");
  await peer.setRemoteDescription({ type: "answer", sdp });
  (window.watching ??= {})[endpoint] = peer;
}
"""

COUNTS = """
async (endpoint) => {
  const peer = window.watching[endpoint];
  const counts = { tracks: peer.getReceivers().filter(({ track }) => !track.muted).length };
  for (const report of (await peer.getStats()).values()) {
    if (report.type !== "inbound-rtp") continue;
    counts[report.kind] = report.packetsReceived;
    if (report.kind === "video") counts.pictures = report.framesDecoded ?? 0;
  }
  return counts;
}
"""


@dataclass
class Watching:
    """One camera as a client sees it. ``counts`` returns packets of ``video`` and ``audio``, and ``pictures``."""

    counts: Callable[[], Awaitable[Counter[str]]]


Client = Callable[[Sequence[str]], AbstractAsyncContextManager[list[Watching]]]
"""Watches some WHEP endpoints at a time, until the end of the context. Each second offer has a data channel, too."""


def offering(name: str, policy: str, *sections: str) -> Client:
    """A client that makes offers of one kind.

    ``policy`` is its bundle policy, in its own words. ``sections`` are ``audio``, ``video``, ``inactive-audio``,
    ``inactive-video`` and ``data``, in the order in which it adds them. For all but the browsers.
    """
    command = PROGRAMS.get(name)

    @asynccontextmanager
    async def watch(endpoints: Sequence[str]) -> AsyncIterator[list[Watching]]:
        async with contextlib.AsyncExitStack() as stack:
            peers = []
            for number, endpoint in enumerate(endpoints):
                wanted = [*sections, *["data"] * (number % 2 and "data" not in sections)]
                if command is None:
                    peer = aiortc_peer(endpoint, policy, wanted)
                else:
                    peer = _process(*command, endpoint, policy, *wanted)
                peers.append(await stack.enter_async_context(peer))
            yield peers

    return watch


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[Watching]:
    """One process of a client. It must leave by itself when its standard input ends."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=2**20)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    newest: dict[str, Any] = {}
    complaints = asyncio.create_task(process.stderr.read())

    async def read(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            newest.update(json.loads(line))

    reading = asyncio.create_task(read(process.stdout))

    async def counts() -> Counter[str]:
        if reading.done():
            raise AssertionError(f"{command[0]} has ended: {(await complaints).decode()[-2000:]}\n{newest}")
        found = Counter({kind: int(media["packets"]) for kind, media in newest.get("kinds", {}).items()})
        found["pictures"] = int(newest.get("frames", newest.get("keyframes", 0)))
        return found

    try:
        yield Watching(counts)
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.gather(reading, complaints)
    assert process.returncode == 0, complaints.result().decode()[-2000:]


@asynccontextmanager
async def aiortc_peer(
    endpoint: str, policy: str = "max-bundle", sections: Sequence[str] = ("video", "audio"), token: str | None = None
) -> AsyncIterator[Watching]:
    """A viewer of aiortc at a WHEP endpoint, until the block ends."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy(policy)))
    seen: Counter[str] = Counter()
    tasks: list[asyncio.Task[None]] = []

    async def count(track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                seen.update([track.kind, "pictures"] if track.kind == "video" else [track.kind])

    peer.on("track", lambda track: tasks.append(asyncio.create_task(count(track))))
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        for section in sections:
            if section == "data":
                peer.createDataChannel("x")
                # Otherwise the channel is the last one in the offer.
                await peer.setLocalDescription(await peer.createOffer())
            else:
                kind = section.removeprefix("inactive-")
                peer.addTransceiver(kind, direction="recvonly" if kind == section else "inactive")
        await peer.setLocalDescription(await peer.createOffer())
    headers = {"Content-Type": "application/sdp"} | ({"Authorization": f"Bearer {token}"} if token else {})
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(endpoint, data=peer.localDescription.sdp) as reply:
            answer, location = await reply.text(), reply.headers.get("Location", "")
            joined = str(reply.url)
            assert reply.status == 201, answer
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

        async def counts() -> Counter[str]:
            return seen

        try:
            yield Watching(counts)
        finally:
            async with http.delete(urljoin(joined, location)) as reply:
                assert reply.status == 200
            await peer.close()
            await asyncio.gather(*tasks)


Evaluate = Callable[..., Awaitable[Any]]


async def _in_page(evaluate: Evaluate, endpoints: Sequence[str], *, disguise: bool) -> list[Watching]:
    def watching(endpoint: str) -> Watching:
        async def counts() -> Counter[str]:
            return Counter(await evaluate(COUNTS, endpoint))

        return Watching(counts)

    for number, endpoint in enumerate(endpoints):
        await evaluate(JOIN, endpoint, bool(number % 2), disguise)
    return [watching(endpoint) for endpoint in endpoints]


@asynccontextmanager
async def _chromium(endpoints: Sequence[str]) -> AsyncIterator[list[Watching]]:
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(urljoin(endpoints[0], "/health"))

        async def evaluate(function: str, *arguments: Any) -> Any:
            return await page.evaluate(f"(all) => ({function})(...all)", arguments)

        yield await _in_page(evaluate, endpoints, disguise=False)


@asynccontextmanager
async def _firefox(endpoints: Sequence[str]) -> AsyncIterator[list[Watching]]:
    async with firefox({"media.peerconnection.ice.loopback": True, "media.autoplay.default": 0}) as tab:
        await tab.goto(urljoin(endpoints[0], "/health"))
        yield await _in_page(tab.evaluate, endpoints, disguise=True)


PROGRAMS: dict[str, Sequence[str]] = {
    "pion": (str(PION),),
    "werift": (NODE, str(SUPPORT / "werift_whep_client.mjs")),
    "webrtcbin": (SYSTEM_PYTHON, str(SUPPORT / "gst_whep_client.py")),
}

CLIENTS: dict[str, Client] = {
    "aiortc": offering("aiortc", "max-bundle", "audio", "video"),
    "pion": offering("pion", "max-bundle", "audio", "video"),
    "werift": offering("werift", "max-compat", "audio", "video"),
    "webrtcbin": offering("webrtcbin", "max-bundle", "audio", "video"),
    "chromium": _chromium,
    "firefox": _firefox,
}

NO_PICTURES = frozenset({"firefox"})
"""Clients without an H.264 decoder that cannot count pictures either."""
