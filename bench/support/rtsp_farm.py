"""Many cheap RTSP cameras in one process, for benchmarks: H.264 from a clip that is encoded once, over TCP.

    python -m bench.support.rtsp_farm [--size 1280x720] [--fps 30] [--kilobits 750] [--gop 60] [--sound]

Any path is a camera; each connection begins at another frame of the clip and at another phase of the frame interval, as
independent cameras do. With ``--sound`` they send G.711 µ-law too, a packet each 20 ms. Its first line on standard
output is its port; it ends when its standard input closes.
"""

import argparse
import asyncio
import itertools
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np

from tests.support.rtp import payloads
from tests.support.sources.encoded_loop import encode_loop

SOUND_S = 0.02

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"
)
_SDP_SOUND = "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:track1\r\n"


@contextmanager
def farm(*arguments: str) -> Iterator[int]:
    """Run the cameras with these arguments until the block ends; yield their port."""
    command = [sys.executable, "-m", "bench.support.rtsp_farm", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.terminate()
        process.wait()


def clip(width: int, height: int, fps: int, kilobits: int, gop: int) -> list[list[tuple[bytes, bool]]]:
    """The RTP payloads of each frame, each with its marker."""
    loop = encode_loop(width, height, fps=fps, gop=gop, bit_rate=kilobits * 1000, buffer_s=0.5)
    frames = []
    for data, _, _ in loop.frames:
        units = [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1") if unit.strip(b"\0")]
        parts = [part for unit in units[:-1] for part in payloads(unit, 0, marker=False)]
        parts += payloads(units[-1], 0, marker=True)
        frames.append([(part.data, part.marker) for part in parts])
    return frames


def tone() -> list[bytes]:
    """A second of a tone in packets of G.711."""
    encoder = av.CodecContext.create("pcm_mulaw", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    encoder.time_base = Fraction(1, 8000)
    wave = (np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000) * 12000).astype(np.int16)
    packets = []
    for number in range(50):
        frame = av.AudioFrame.from_ndarray(wave[number * 160 : number * 160 + 160].reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts = 8000, number * 160
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


class Farm:
    """The cameras; each connection is one."""

    def __init__(self, frames: list[list[tuple[bytes, bool]]], fps: int, *, sound: bool) -> None:
        self._clip = frames
        self._fps = fps
        self._tone = tone() if sound else []
        self._numbers = itertools.count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: answer requests, and play after PLAY."""
        number = next(self._numbers)
        player: asyncio.Task[None] | None = None
        try:
            while True:
                while (first := await reader.readexactly(1)) == b"$":
                    await reader.readexactly(int.from_bytes((await reader.readexactly(3))[1:], "big"))
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                method, uri = head.split(" ", 2)[:2]
                writer.write(self._answer(method, uri, head))
                if method == "PLAY" and player is None:
                    player = asyncio.create_task(self._play(writer, number))
                if method == "TEARDOWN":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if player is not None:
                player.cancel()
            writer.close()

    def _answer(self, method: str, uri: str, head: str) -> bytes:
        found = re.search(r"(?i)^cseq: *(\d+)", head, re.MULTILINE)
        lines = ["RTSP/1.0 200 OK", f"CSeq: {found[1] if found else 0}"]
        body = ""
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        elif method == "DESCRIBE":
            body = _SDP + (_SDP_SOUND if self._tone else "")
            lines += [f"Content-Base: {uri}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            track = int(uri.endswith("track1"))
            lines += [f"Transport: RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}", "Session: 1"]
        else:
            lines.append("Session: 1")
        return "\r\n".join([*lines, "", body]).encode()

    async def _play(self, writer: asyncio.StreamWriter, number: int) -> None:
        loop = asyncio.get_running_loop()
        # The golden ratio spreads any number of cameras evenly.
        phase = number * 0.618034 % 1
        began = loop.time() + phase / self._fps
        video, sound = self._video(int(phase * len(self._clip))), self._sound()
        video_number = sound_number = 0
        while True:
            video_at, sound_at = video_number / self._fps, sound_number * SOUND_S if self._tone else float("inf")
            await asyncio.sleep(max(0.0, began + min(video_at, sound_at) - loop.time()))
            if video_at <= sound_at:
                writer.write(next(video))
                video_number += 1
            else:
                writer.write(next(sound))
                sound_number += 1
            await writer.drain()

    def _video(self, first: int) -> Iterator[bytes]:
        # A camera begins with a keyframe; the GOP after it is cut short, so that keyframes of cameras do not coincide.
        sequence = 0
        for place, number in enumerate(itertools.chain((0,), itertools.count(first or 1))):
            packets = []
            for payload, marker in self._clip[number % len(self._clip)]:
                packets.append(_interleaved(0, 96 | 0x80 * marker, sequence, place * 90_000 // self._fps, payload))
                sequence += 1
            yield b"".join(packets)

    def _sound(self) -> Iterator[bytes]:
        for number in itertools.count():
            yield _interleaved(2, 0, number, number * 160, self._tone[number % len(self._tone)])


def _interleaved(channel: int, second: int, sequence: int, timestamp: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7 + channel)
    return struct.pack("!BBH", 0x24, channel, len(header) + len(payload)) + header + payload


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--kilobits", type=int, default=750)
    parser.add_argument("--gop", type=int, default=60)
    parser.add_argument("--sound", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    frames = clip(width, height, options.fps, options.kilobits, options.gop)
    cameras = Farm(frames, options.fps, sound=options.sound)
    server = await asyncio.start_server(cameras.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
