"""WhipSender: a camera's packets to a WHIP server, by aiortc. On the event loop of a process of its own.

Rules:

1. H.264 passes as it is. Parameter sets that a keyframe does not bring are put before it.
2. G.711 and Opus pass as they are where the server takes them, and are encoded as Opus otherwise, like other sound.
   Where the server takes none, or it cannot be encoded, video goes alone.
3. What the camera has sent before the connection was there is sent at no more than :data:`CATCH_UP` times its speed.
4. A server's request for a keyframe is not answered: the camera's next one comes when it comes.
"""

import asyncio
import contextlib
import re
from fractions import Fraction
from typing import Any

import aioice.ice
import aiortc.codecs
import aiortc.rtcrtpsender
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpCodecCapability, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

from gateway.clock import CLOCK_RATE
from gateway.codec.parameter_sets import find_parameter_sets
from gateway.media import Packet, StreamInfo
from gateway.webrtc.audio import AudioSource
from gateway.webrtc.sdp.codecs import AudioCodec, native_codec, profile_level_id

CATCH_UP = 4

HISTORY_PACKETS = 2048
"""For retransmission. aiortc keeps 128, less than one keyframe. A power of two, as sequence numbers wrap there."""

ICE_FAILED = ("failed", "closed")

_PROFILE = re.compile(r"(?i)(?<=profile-level-id=)[0-9a-f]{6}")

_NAMES = {AudioCodec.OPUS: "audio/opus", AudioCodec.PCMA: "audio/PCMA", AudioCodec.PCMU: "audio/PCMU"}


class SendError(Exception):
    """Why it cannot be sent, or not any longer: a sentence without secrets."""


class _Track(MediaStreamTrack):
    """Coded frames for one sender of aiortc: one is waited for, another is being sent."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._queue: asyncio.Queue[av.Packet[Any]] = asyncio.Queue(1)

    async def recv(self) -> "av.Packet[Any]":
        """The next frame."""
        if self.readyState != "live":
            raise MediaStreamError
        return await self._queue.get()

    @property
    def is_full(self) -> bool:
        """Whether :meth:`put` would wait."""
        return self._queue.full()

    async def put(self, data: bytes, pts: int, rate_hz: int) -> None:
        """Send a frame; waits while the one before is not taken."""
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, rate_hz)
        await self._queue.put(packet)


class WhipSender:
    """Call :meth:`offer`, :meth:`connect`, then :meth:`write`. ``is_local``: the server is on this machine."""

    def __init__(self, info: StreamInfo, *, is_local: bool) -> None:
        self._info = info
        self._video, self._audio = _Track("video"), _Track("audio")
        self._audio_source: AudioSource | None = None
        self._first_90k: int | None = None
        self._began_s = 0.0
        self._ended = asyncio.Event()
        _set_up_aiortc(info, is_local=is_local)
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("connectionstatechange", self._on_state)

    async def offer(self) -> str:
        """What the server is offered."""
        video = self._peer.addTransceiver(self._video, direction="sendonly")
        capabilities = aiortc.codecs.get_capabilities("video").codecs
        video.setCodecPreferences([each for each in capabilities if each.mimeType in ("video/H264", "video/rtx")])
        if self._info.audio is not None:
            names = dict.fromkeys((_NAMES[native_codec(self._info.audio)], "audio/opus"))
            audio = self._peer.addTransceiver(self._audio, direction="sendonly")
            known = {each.mimeType: each for each in aiortc.codecs.get_capabilities("audio").codecs}
            preferences: list[RTCRtpCodecCapability] = [known[name] for name in names]
            audio.setCodecPreferences(preferences)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        profile = profile_level_id(self._info.video)
        return re.sub("(?<=profile-level-id=)42001f", profile, self._peer.localDescription.sdp)

    async def connect(self, answer: str) -> None:
        """Take the server's answer, and connect. Raises :class:`SendError`."""
        answer = _PROFILE.sub(lambda found: "42e01f" if found[0].lower() == "42e01f" else "42001f", answer)
        try:
            self._take_sound(answer)
            await self._peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except SendError:
            raise
        except Exception as error:
            # The parser raises what it comes across (ValueError, KeyError, IndexError, AssertionError).
            raise SendError(f"its answer cannot be used: {type(error).__name__}") from None
        await self._until_connected()

    def _take_sound(self, answer: str) -> None:
        sections = {each.kind: each for each in SessionDescription.parse(answer).media}
        video, audio = sections.get("video"), sections.get("audio")
        if video is None or not video.port or not any(each.mimeType == "video/H264" for each in video.rtp.codecs):
            raise SendError("it does not take H.264")
        if audio is not None and audio.port and audio.direction in ("recvonly", "sendrecv") and audio.rtp.codecs:
            names = {name.lower(): codec for codec, name in _NAMES.items()}
            codec = names.get(audio.rtp.codecs[0].mimeType.lower())
            self._audio_source = AudioSource(codec) if codec is not None else None

    async def _until_connected(self) -> None:
        while self._peer.connectionState != "connected":
            if self._ended.is_set():
                raise SendError("no connection by ICE and DTLS: is its UDP port reachable?")
            await asyncio.sleep(0.02)
        self._began_s = asyncio.get_running_loop().time()

    def _on_state(self) -> None:
        if self._peer.connectionState in ICE_FAILED:
            self._ended.set()

    async def write(self, packets: list[Packet]) -> None:
        """Send packets. Raises :class:`SendError` where the connection has ended."""
        for packet in packets:
            if self._first_90k is None:
                if not (packet.is_video and packet.is_keyframe):
                    continue
                self._first_90k = packet.dts_90k
            at_90k = packet.pts_90k - self._first_90k
            if packet.is_video:
                await self._catch_up(at_90k)
                await self._put(self._video, self._with_sets(packet), at_90k, CLOCK_RATE)
            elif self._audio_source is not None and at_90k >= 0:
                for payload, at in self._audio_source.payloads(packet, at_90k):
                    if at >= 0:
                        await self._put(self._audio, payload, at, self._audio_source.codec.clock_rate)

    def _with_sets(self, packet: Packet) -> bytes:
        video = packet.info.video
        if packet.is_keyframe and find_parameter_sets(video.codec, packet.data) is None:
            return video.parameter_sets + packet.data
        return packet.data

    async def _catch_up(self, at_90k: int) -> None:
        """Rule 3."""
        ahead_s = at_90k / CLOCK_RATE / CATCH_UP - (asyncio.get_running_loop().time() - self._began_s)
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)

    async def _put(self, track: _Track, data: bytes, at: int, rate_hz: int) -> None:
        if not track.is_full and not self._ended.is_set():
            await track.put(data, at, rate_hz)
            return
        put = asyncio.ensure_future(track.put(data, at, rate_hz))
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((put, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not put.done() or self._ended.is_set():
            put.cancel()
            raise SendError("the connection was closed, or nothing answers any more")

    async def close(self) -> None:
        """Say goodbye."""
        with contextlib.suppress(Exception):
            await self._peer.close()


def _set_up_aiortc(info: StreamInfo, *, is_local: bool) -> None:
    """For the whole process. See :data:`HISTORY_PACKETS`."""
    vars(aiortc.rtcrtpsender)["RTP_HISTORY_SIZE"] = HISTORY_PACKETS
    if is_local:
        # aioice leaves it out, and a machine without a network has no other.
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
