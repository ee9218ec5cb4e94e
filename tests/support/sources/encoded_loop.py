"""A camera that plays H.264 or AV1, encoded once, in a loop and in real time."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import av
import numpy as np

from gateway.camera import Camera
from gateway.camera_settings import CameraSettings
from gateway.capture.engine import CaptureEngine, CaptureSource
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.codec import av1
from gateway.errors import CameraEndedError
from gateway.media import AudioInfo, MediaKind, Packet, StreamInfo, VideoInfo
from tests.support.av1_encoder import encode


@dataclass(frozen=True)
class EncodedLoop:
    """Frames to repeat: Annex B, whether it is a keyframe, and how many frames later it is shown."""

    video: VideoInfo
    fps: int
    frames: tuple[tuple[bytes, bool, int], ...]


@lru_cache(maxsize=4)
def av1_loop(width: int = 640, height: int = 360, fps: int = 15, gop: int = 15) -> EncodedLoop:
    """As :func:`encode_loop`, in AV1: its frames are larger than a packet."""
    frames = []
    for number, picture in enumerate(_pictures(width, height, gop)):
        frames.append(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p"))
        frames[-1].pts = number
    coded = encode(frames, width, height, fps, gop, preset="13", crf="30")
    found = av1.sequence_header(bytes(coded[0]))
    assert found is not None
    video = VideoInfo("av1", found.codec_string, width, height, found.obu, Fraction(fps))
    return EncodedLoop(video, fps, tuple((bytes(each), each.is_keyframe, 0) for each in coded))


def _pictures(width: int, height: int, count: int) -> Iterator[Any]:
    """A moving, bright, noisy picture, again and again."""
    noise = np.random.default_rng(7).integers(-24, 24, (height, width, 3), dtype=np.int16)
    for number in range(count):
        picture = np.full((height, width, 3), 96, dtype=np.int16)
        picture += np.roll(noise, (number * 7, number * 13), (0, 1))
        left = number * 8 % (width - 32)
        picture[height // 4 : height // 2, left : left + 32] = 230
        yield picture.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class AudioLoop:
    """Audio frames to repeat; each lasts ``frame_90k`` ticks."""

    audio: AudioInfo
    frame_90k: int
    frames: tuple[bytes, ...]


@lru_cache(maxsize=8)
def encode_loop(
    width: int = 320,
    height: int = 180,
    *,
    fps: int = 30,
    gop: int = 30,
    gops: int = 1,
    bit_rate: int = 400_000,
    profile: str = "baseline",
    b_frames: int = 0,
    buffer_s: float = 1.0,
) -> EncodedLoop:
    """A moving, bright, noisy picture; the noise makes the encoder need all of ``bit_rate``.

    ``buffer_s`` of the bit rate is the most that a keyframe takes; a camera's keyframe has about 0.2.
    """
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.bit_rate = bit_rate
    encoder.gop_size = gop
    rate = f"vbv-maxrate={bit_rate // 1000}:vbv-bufsize={round(bit_rate * buffer_s / 1000)}"
    encoder.options = {
        "preset": "ultrafast",
        "profile": profile,
        "threads": "1",
        "x264-params": f"scenecut=0:keyint={gop}:min-keyint={gop}:bframes={b_frames}:rc-lookahead=0:{rate}",
    }
    coded: list[av.Packet[av.VideoStream]] = []
    for number, picture in enumerate(_pictures(width, height, gop * gops)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        coded += encoder.encode(frame)
    coded += encoder.encode(None)
    delay = max(place - (packet.pts or 0) for place, packet in enumerate(coded))
    frames = [
        (bytes(packet), packet.is_keyframe, (packet.pts or 0) + delay - place) for place, packet in enumerate(coded)
    ]
    units = [unit.rstrip(b"\0") for unit in frames[0][0].split(b"\0\0\1")]
    sets = b"".join(b"\0\0\0\1" + unit for unit in units if unit and unit[0] & 0x1F in (7, 8))
    video = VideoInfo("h264", f"avc1.{sets[5:8].hex()}", width, height, sets, Fraction(fps), bool(b_frames))
    return EncodedLoop(video, fps, tuple(frames))


class EncodedLoopEngine(CaptureEngine):
    """Plays the loop that ``showing`` has under the URL's host. When a test replaces it, the camera restarts.

    For a gateway in another process, the URL describes the loop: ``loop://NAME?fps=15&gop=15&bit_rate=1500000``.
    """

    showing: ClassVar[dict[str, tuple[EncodedLoop, AudioLoop | None]]] = {}

    def __init__(self, source: CaptureSource, clock: Clock) -> None:
        super().__init__(source, clock)
        self._stop = threading.Event()
        parts = urlsplit(source.url)
        self._name = parts.netloc
        if parts.query:
            asked = {name: float(value) if "." in value else int(value) for name, value in parse_qsl(parts.query)}
            self.showing.setdefault(self._name, (encode_loop(**asked), None))

    def interrupt(self) -> None:
        self._stop.set()

    def packets(self) -> Iterator[Packet]:
        showing = self.showing.get(self._name)
        if showing is None:
            raise CameraEndedError("there is nothing to play")
        playing, sound = showing
        info = StreamInfo(playing.video, sound.audio if sound else None)
        began, wall_90k, run = time.monotonic(), self.clock.wall_90k(), self.source.run
        step = 90_000 // playing.fps
        number = sounded = 0
        while not self._stop.wait(max(0.0, began + number / playing.fps - time.monotonic())):
            if self.showing.get(self._name) is not showing:
                raise CameraEndedError("the loop was replaced")
            data, is_keyframe, later = playing.frames[number % len(playing.frames)]
            at = number * step
            yield Packet(MediaKind.VIDEO, data, at + later * step, at, step, is_keyframe, wall_90k + at, info, run)
            number += 1
            while sound and sounded * sound.frame_90k <= at:
                heard = sounded * sound.frame_90k
                payload = sound.frames[sounded % len(sound.frames)]
                yield Packet(MediaKind.AUDIO, payload, heard, heard, sound.frame_90k, True, wall_90k + heard, info, run)
                sounded += 1


def encoded_loop_camera(
    playing: EncodedLoop, sound: AudioLoop | None = None, camera_id: str = "loop", **settings: object
) -> Camera:
    """A camera that plays a loop while a viewer holds it."""
    EncodedLoopEngine.showing[camera_id] = (playing, sound)
    values: dict[str, object] = {
        "url": f"loop://{camera_id}",
        "connection_retry_delay": 0.2,
        "start": "on-demand",
        "record": "never",
        "capture_linger": 0.0,
        **settings,
    }
    return Camera(camera_id, CameraSettings.model_validate(values), EncodedLoopEngine, SYSTEM_CLOCK, lambda _: None)
