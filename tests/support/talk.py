"""A camera with a loudspeaker, people who talk to it, and what it has heard."""

import asyncio
import json
import subprocess
import time
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest.mock import patch
from urllib.parse import quote

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from tests.support.rtsp import SYSTEM_PYTHON

SCRIPT = Path(__file__).with_name("talk_camera.py")

RATE_HZ = 16_000
"""Of what a camera has heard."""

TONE_HZ = 400

USER = ("admin", "p@ss:word")


TRIES = 5
"""GStreamer 1.22 never starts the loudspeaker of one session in thirty on a busy machine: its log has the packets come
in, and no more. Then a person would press the button again."""

HEARD_S = 4.0


async def is_heard(condition: Callable[[], bool]) -> bool:
    """Whether a camera hears somebody; false: begin again, see :data:`TRIES`."""
    until = time.monotonic() + HEARD_S
    while time.monotonic() < until:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return False


class TalkCamera:
    """``tests/support/talk_camera.py``; its mounts are listed there. A context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self.port = self.guarded_port = 0

    def url(self, name: str) -> str:
        """The URL of a mount."""
        return f"rtsp://127.0.0.1:{self.port}/{name}"

    def guarded_url(self, name: str, user: str = USER[0], password: str = USER[1]) -> str:
        """The same, with Digest."""
        return f"rtsp://{quote(user)}:{quote(password)}@127.0.0.1:{self.guarded_port}/{name}"

    def heard(self, name: str) -> np.ndarray:
        """The samples that a mount's loudspeaker has played, from -1 to 1."""
        path = self._directory / f"{name}.raw"
        data = path.read_bytes() if path.exists() else b""
        return np.array(array("h", data[: len(data) // 2 * 2]), dtype=np.float64) / 32768

    def has_heard(self, name: str, hz: float = TONE_HZ, seconds: float = 0.2) -> bool:
        """Whether it has played a tone of this frequency for as long, in all, and nothing that is louder."""
        samples, size = self.heard(name), RATE_HZ // 50
        frames = samples[: len(samples) // size * size].reshape(-1, size)
        loud = frames[np.sqrt((frames**2).mean(axis=1)) > 0.02]
        return len(loud) / 50 >= seconds and abs(pitch(loud.reshape(-1)) - hz) < hz / 10

    def forget(self, name: str) -> None:
        """Forget what was heard."""
        (self._directory / f"{name}.raw").unlink(missing_ok=True)

    def kill(self) -> None:
        """It loses its power."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        command = [SYSTEM_PYTHON, str(SCRIPT), str(self._directory)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} did not start; run it by hand to see why")
        ports = json.loads(line)
        self.port, self.guarded_port = ports["port"], ports["guarded_port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate()


def pitch(samples: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """The loudest frequency."""
    if not len(samples):
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    spectrum[: len(samples) * 100 // rate_hz] = 0
    return float(np.argmax(spectrum)) * rate_hz / len(samples)


class Tone(AudioStreamTrack):
    """A microphone in front of a tuning fork, as long as it ``is_on``."""

    def __init__(self, hz: float = TONE_HZ) -> None:
        super().__init__()
        self.is_on = True
        self._hz = hz
        self._at = 0

    async def recv(self) -> av.AudioFrame:
        size, rate_hz = 960, 48_000
        await asyncio.sleep(0.019)
        times = (np.arange(size) + self._at) / rate_hz
        level = 0.4 if self.is_on else 0.0
        samples = (level * 32767 * np.sin(2 * np.pi * self._hz * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, self._at, Fraction(1, rate_hz)
        self._at += size
        return frame


async def talk_offer(peer: RTCPeerConnection, track: Tone, codecs: tuple[str, ...] = ()) -> str:
    """An offer that sends a voice, in these codecs (``audio/PCMU``…), or all that aiortc has."""
    transceiver = peer.addTransceiver(track, direction="sendonly")
    if codecs:
        known = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([each for each in known if each.mimeType in codecs])
    return await local_offer(peer)


async def watch_offer(peer: RTCPeerConnection, track: Tone | None) -> str:
    """An offer of a viewer that sends a voice as well, or may later."""
    peer.addTransceiver("video", direction="recvonly")
    peer.addTransceiver(track or "audio", direction="sendrecv")
    return await local_offer(peer)


async def local_offer(peer: RTCPeerConnection) -> str:
    # aioice leaves out the loopback address, the only one that a test may rely on.
    with patch("aioice.ice.get_host_addresses", return_value=["127.0.0.1"]):
        await peer.setLocalDescription(await peer.createOffer())
    return peer.localDescription.sdp


def new_peer() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def connect(peer: RTCPeerConnection, answer: str) -> None:
    """Take the answer; returns when media can flow."""
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    async with asyncio.timeout(60):
        while peer.connectionState != "connected":
            await asyncio.sleep(0.01)
