"""Viewers of a camera with numbered pictures, by WebRTC and by HLS: what they get is kept in a :class:`Seen`."""

import asyncio
import contextlib
import re
import time
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription, rtcrtpreceiver

from bench.support.history import Seen
from bench.support.rtsp_cameras import picture_numbers
from bench.support.webrtc_load import offer, widen

POLL_S = 0.5

_seen: dict[Any, Seen] = {}
"""By the receiver of aiortc."""

_handle = rtcrtpreceiver.RTCRtpReceiver._handle_rtp_packet


class _NoDecoder:
    def decode(self, frame: object) -> list[Any]:
        return []


async def _note(receiver: Any, packet: Any, arrival_time_ms: int) -> None:
    seen = _seen.get(receiver)
    if seen is not None:
        seen.add(time.monotonic(), picture_numbers(packet.payload))
    await _handle(receiver, packet, arrival_time_ms)


rtcrtpreceiver.RTCRtpReceiver._handle_rtp_packet = _note  # type: ignore[method-assign,assignment]
rtcrtpreceiver.get_decoder = lambda codec: _NoDecoder()  # type: ignore[attr-defined,assignment,return-value]


class WebRtcViewer:
    """A viewer by WHEP at one node, which is not tried again."""

    def __init__(self, node: str) -> None:
        self.seen = Seen(node, "webrtc")
        self._peer: RTCPeerConnection | None = None

    @property
    def is_connected(self) -> bool:
        return self._peer is not None and self._peer.connectionState == "connected"

    async def join(self, http: aiohttp.ClientSession, url: str) -> None:
        """Join; raises ``AssertionError`` where the node refuses."""
        peer = self._peer = await offer()
        _seen[peer.getTransceivers()[0].receiver] = self.seen
        widen(peer)
        body = peer.localDescription.sdp
        async with http.post(url, data=body, headers={"Content-Type": "application/sdp"}) as reply:
            answer = await reply.text()
            assert reply.status == 201, f"{reply.status}: {answer[:300]}"
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        if self._peer is not None:
            _seen.pop(self._peer.getTransceivers()[0].receiver, None)
            await self._peer.close()


class HlsViewer:
    """A player of live HLS at one node: it reads the media playlist and each complete segment, in order."""

    def __init__(self, node: str) -> None:
        self.seen = Seen(node, "hls")
        self.errors = 0
        """Requests that failed, after the first that did not."""
        self._task: asyncio.Task[None] | None = None

    async def join(self, http: aiohttp.ClientSession, url: str) -> None:
        self._task = asyncio.create_task(self._play(http, url))

    async def _play(self, http: aiohttp.ClientSession, url: str) -> None:
        known: set[str] = set()
        is_first = True
        while True:
            try:
                text = (await self._get(http, url)).decode()
                found = [line for line in text.splitlines() if re.match(r"[^#\s]", line)]
                new = [each for each in found if each not in known]
                for place in new[-1:] if is_first else new:
                    data = await self._get(http, urljoin(url, place))
                    self.seen.add(time.monotonic(), picture_numbers(data))
                known |= set(found)
                is_first = is_first and not found
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.errors += not is_first
            await asyncio.sleep(POLL_S)

    async def _get(self, http: aiohttp.ClientSession, url: str) -> bytes:
        async with http.get(url, timeout=aiohttp.ClientTimeout(total=5)) as reply:
            reply.raise_for_status()
            return await reply.read()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
