"""RTSP cameras in a process of their own: one with a clock in its picture, or many that play coded frames in a loop.

    python -m bench.support.rtsp_cameras clock [--sound] [--gop FRAMES]
    python -m bench.support.rtsp_cameras loop [--cameras 20] [--bit-rate 750000] [--sound] [--gop FRAMES]
        [--address 127.0.0.1]

1280x720 at 29 fps, RTP over TCP, a sender report each second. Timestamps are exact. A picture of the
clock is drawn, encoded and sent in one go, for all clients. Each picture of a loop begins with an SEI message that says
when it was given to the sockets (:func:`sent_at_s`), and its number (:func:`picture_numbers`): no two pictures are the
same, and all clients get the same picture. The first line on standard output is a JSON list of the cameras'
URLs; the process ends when its standard input closes.
"""

import argparse
import asyncio
import json
import re
import secrets
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction

from gateway.capture.engines.h264_encoder import H264Encoder
from gateway.capture.engines.test_pattern import ClockPattern
from gateway.clock import CLOCK_RATE, SYSTEM_CLOCK
from gateway.rtsp.messages import Headers, Message, Request, Response, StreamParser
from gateway.rtsp.packetize import h264
from gateway.webrtc.rtp.rtcp import ntp
from tests.support.sources.encoded_loop import encode_loop

FPS = 29
"""No divisor of a display's 60 Hz. At 30 fps, the time from the arrival of a picture to the next refresh would be the
same for all pictures of a run, and another one in the next run: chance, up to 17 ms. So all phases count alike."""
WIDTH, HEIGHT = 1280, 720

PAYLOAD_BYTES = 1400
"""As cameras on Ethernet send it."""

SOUND_BYTES, SOUND_RATE_HZ = 160, 8000
"""20 ms of G.711, and its clock."""

QUEUE_MAX_BYTES = 8 * 1024 * 1024
"""A client that does not read gets no more than this."""

_SENT_AT = bytes.fromhex("8d0f1f2e5a9b4c6f9d3a7c1e2b4f6a8d")
"""The UUID of the SEI message."""

_SENT_AT_DIGITS = 16
"""Microseconds of the monotonic clock, as text: digits need no emulation prevention."""

_NUMBER_DIGITS = 8

_NUMBERED = re.compile(re.escape(_SENT_AT) + rb"\d{%d}(\d{%d})" % (_SENT_AT_DIGITS, _NUMBER_DIGITS))

Encode = Callable[[int], bytes]
"""The n-th picture in Annex B, made now."""


def sent_at_s(annex_b: bytes) -> float | None:
    """When a picture was given to the sockets, in seconds of the monotonic clock; ``None`` if it does not say so."""
    place = annex_b.find(_SENT_AT, 0, 256)
    if place < 0:
        return None
    start = place + len(_SENT_AT)
    return int(annex_b[start : start + _SENT_AT_DIGITS]) / 1e6


def picture_numbers(data: bytes) -> list[int]:
    """The numbers of all pictures in RTP payloads, in Annex B or in an MP4 file, in the order of their bytes."""
    return [int(found) for found in _NUMBERED.findall(data)]


def _stamp(number: int) -> bytes:
    """A NAL unit with user_data_unregistered (H.264 §D.1.7): the time, and the number of the picture."""
    body = _SENT_AT + b"%0*d" % (_SENT_AT_DIGITS, int(time.monotonic() * 1e6)) + b"%0*d" % (_NUMBER_DIGITS, number)
    return b"\x06\x05" + bytes((len(body),)) + body + b"\x80"


class RtpTrack:
    """Numbers and times of one track, as interleaved frames on its channels."""

    def __init__(self, number: int, payload_type: int, clock_rate: int) -> None:
        self._channel = 2 * number
        self._payload_type = payload_type
        self._clock_rate = clock_rate
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._base = secrets.randbits(31)
        self._packets = self._bytes = 0

    def frame(self, payloads: list[bytes], ticks: int) -> bytes:
        """The packets of one frame."""
        parts: list[bytes] = []
        timestamp = (self._base + ticks) & 0xFFFFFFFF
        for place, payload in enumerate(payloads):
            marker = 0x80 if place == len(payloads) - 1 else 0
            self._sequence = (self._sequence + 1) & 0xFFFF
            header = struct.pack(
                "!BBHBBHII",
                0x24,
                self._channel,
                12 + len(payload),
                0x80,
                marker | self._payload_type,
                self._sequence,
                timestamp,
                self._ssrc,
            )
            parts += (header, payload)
            self._packets += 1
            self._bytes += len(payload)
        return b"".join(parts)

    def report(self, ticks: int, wall_90k: int) -> bytes:
        """A sender report (RFC 3550 §6.4.1)."""
        timestamp = (self._base + ticks) & 0xFFFFFFFF
        body = struct.pack("!IQIII", self._ssrc, ntp(wall_90k), timestamp, self._packets, self._bytes & 0xFFFFFFFF)
        packet = struct.pack("!BBH", 0x80, 200, 6) + body
        return struct.pack("!BBH", 0x24, self._channel + 1, len(packet)) + packet


class CameraStream:
    """One camera: its pictures, and the clients that play it."""

    def __init__(self, encode: Encode, *, is_stamped: bool, has_sound: bool) -> None:
        self.clients: set[asyncio.WriteTransport] = set()
        self._encode = encode
        self._is_stamped = is_stamped
        self._video = RtpTrack(0, 96, CLOCK_RATE)
        self._sound = RtpTrack(1, 8, SOUND_RATE_HZ) if has_sound else None
        self._sounded = 0

    def description(self) -> bytes:
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=control:*", "m=video 0 RTP/AVP 96"]
        lines += ["a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", "a=control:track0"]
        if self._sound is not None:
            lines += ["m=audio 0 RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=control:track1"]
        return ("\r\n".join(lines) + "\r\n").encode()

    def send(self, number: int) -> None:
        """Make and send the n-th picture, and the sound up to it."""
        units = h264.access_unit(self._encode(number))
        if self._is_stamped:
            units.insert(0, _stamp(number))
        data = [self._video.frame(h264.payloads(units, PAYLOAD_BYTES), number * CLOCK_RATE // FPS)]
        while self._sound is not None and self._sounded * FPS <= number * SOUND_RATE_HZ:
            data.append(self._sound.frame([b"\xd5" * SOUND_BYTES], self._sounded))
            self._sounded += SOUND_BYTES
        if number % FPS == 0:
            wall_90k = SYSTEM_CLOCK.wall_90k()
            data.append(self._video.report(number * CLOCK_RATE // FPS, wall_90k))
            if self._sound is not None:
                data.append(self._sound.report(number * SOUND_RATE_HZ // FPS, wall_90k))
        block = b"".join(data)
        for client in self.clients:
            if client.get_write_buffer_size() < QUEUE_MAX_BYTES:
                client.write(block)


class RtspServerConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, cameras: list[CameraStream]) -> None:
        self._cameras = cameras
        self._parser = StreamParser(lambda channel, frame: None, self._answer)
        self._transport: asyncio.Transport | None = None
        self._playing: CameraStream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._playing is not None and self._transport is not None:
            self._playing.clients.discard(self._transport)

    def _answer(self, message: Message) -> None:
        assert self._transport is not None
        if not isinstance(message, Request):
            return
        found = re.search(r"/cam(\d+)", message.uri)
        camera = self._cameras[int(found[1])] if found else self._cameras[0]
        headers = [("CSeq", str(message.cseq)), ("Session", "1;timeout=60")]
        body, status = b"", 200
        if message.method == "OPTIONS":
            headers.append(("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"))
        elif message.method == "DESCRIBE":
            headers += [("Content-Type", "application/sdp"), ("Content-Base", f"{message.uri.rstrip('/')}/")]
            body = camera.description()
        elif message.method == "SETUP":
            number = 1 if message.uri.endswith("track1") else 0
            channels = f"{2 * number}-{2 * number + 1}"
            # Others would be a second figure: both peers can be told to use TCP.
            status = 200 if "TCP" in (message.headers.get("Transport") or "") else 461
            headers.append(("Transport", f"RTP/AVP/TCP;unicast;interleaved={channels}"))
        self._transport.write(Response(status, "OK", Headers(headers), body).encode())
        if message.method == "PLAY":
            self._playing = camera
            camera.clients.add(self._transport)


def clock_pictures(gop: int) -> Encode:
    """Pictures with the time at which they are made."""
    encoder = H264Encoder(WIDTH, HEIGHT, Fraction(FPS), gop / FPS)
    pattern = ClockPattern(WIDTH, HEIGHT)

    def encode(number: int) -> bytes:
        wall_90k = SYSTEM_CLOCK.wall_90k()
        planes = pattern.draw(datetime.fromtimestamp(wall_90k / CLOCK_RATE, UTC), wall_90k // 90)
        return next(encoder.encode(planes, number * CLOCK_RATE // FPS, wall_90k)).data

    return encode


def loop_pictures(frames: list[bytes], first: int) -> Encode:
    """The frames of a loop, from the ``first`` on: the keyframes of several cameras come at different times."""
    return lambda number: frames[(first + number) % len(frames)]


async def serve(cameras: list[CameraStream], address: str) -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: RtspServerConnection(cameras), address, 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps([f"rtsp://{address}:{port}/cam{number}" for number in range(len(cameras))]), flush=True)
    ending = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    began = time.monotonic()
    step = 1 / FPS / len(cameras)
    number = 0
    while not ending.done():
        # Cameras are not in step: each sends at its own moment of the frame's duration.
        for place, camera in enumerate(cameras):
            await asyncio.sleep(max(0.0, began + number / FPS + place * step - time.monotonic()))
            camera.send(number)
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["clock", "loop"])
    parser.add_argument("--cameras", type=int, default=1, help="of a loop")
    parser.add_argument("--bit-rate", type=int, default=4_000_000, help="of a loop")
    parser.add_argument("--gop", type=int, default=60, help="frames from keyframe to keyframe")
    parser.add_argument("--sound", action="store_true", help="with G.711")
    parser.add_argument("--address", default="127.0.0.1", help="where to listen")
    options = parser.parse_args()
    if options.kind == "clock":
        cameras = [CameraStream(clock_pictures(options.gop), is_stamped=False, has_sound=options.sound)]
    else:
        coded = encode_loop(WIDTH, HEIGHT, fps=FPS, gop=options.gop, bit_rate=options.bit_rate, buffer_s=0.25)
        frames = [data for data, _, _ in coded.frames]
        cameras = [
            CameraStream(
                loop_pictures(frames, place * len(frames) // options.cameras), is_stamped=True, has_sound=options.sound
            )
            for place in range(options.cameras)
        ]
    asyncio.run(serve(cameras, options.address))


if __name__ == "__main__":
    main()
